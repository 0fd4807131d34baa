#include "program.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace enfold::kernels {

int Program::buffer(int64_t width) {
  widths_.push_back(width);
  starts_.push_back(bytes_);
  bytes_ += (width * size() + 63) / 64 * 64;
  rows_ = 0;
  return int(widths_.size()) - 1;
}

int Program::store() {
  stores_.emplace_back();
  return int(stores_.size()) - 1;
}

int Program::turns() {
  turns_.emplace_back();
  return int(turns_.size()) - 1;
}

void Program::norm(bool rms, int source, int residual, const void *weight, const void *bias, float eps, int target,
                   int64_t offset, int64_t width, int64_t count) {
  Op op{Kind::norm};
  op.source = source, op.other = residual, op.target = target, op.weight = weight, op.bias = bias, op.number = eps;
  op.offset = offset, op.width = width, op.count = count, op.rms = rms;
  ops_.push_back(op);
}

void Program::copy(int source, int target, int64_t offset, int64_t width) {
  Op op{Kind::copy};
  op.source = source, op.target = target, op.offset = offset, op.width = width;
  ops_.push_back(op);
}

void Program::linear(int source, const void *weight, const float *scale, const void *bias, Activation activation,
                     int target) {
  Op op{Kind::linear};
  op.source = source, op.target = target, op.weight = weight, op.scale = scale, op.bias = bias;
  op.activation = activation;
  ops_.push_back(op);
}

void Program::gated(int source, Activation activation, int target) {
  Op op{Kind::gated};
  op.source = source, op.target = target, op.activation = activation;
  ops_.push_back(op);
}

void Program::add(int source, int other, int target) {
  Op op{Kind::add};
  op.source = source, op.other = other, op.target = target;
  ops_.push_back(op);
}

void Program::remember(int source, int store, int turns, bool neighbours, int target) {
  Op op{Kind::remember};
  op.source = source, op.store = store, op.turns = turns, op.neighbours = neighbours, op.target = target;
  ops_.push_back(op);
}

void Program::attend(int source, int store, int64_t head, float scale, float softcap, int64_t window, bool biased,
                     bool given, int target) {
  Op op{Kind::attend};
  op.source = source, op.store = store, op.width = head, op.number = scale, op.softcap = softcap, op.window = window;
  op.biased = biased, op.given = given, op.target = target;
  ops_.push_back(op);
}

void Program::bind_store(int store, void *k, int64_t k_batch, int64_t k_head, int64_t k_slot, void *v, int64_t v_batch,
                         int64_t v_head, int64_t v_slot, int64_t B, int64_t heads, int64_t capacity, int64_t head_dim,
                         const int64_t *lengths) {
  stores_.at(store) = {k, k_batch, k_head, k_slot, v, v_batch, v_head, v_slot, B, heads, capacity, head_dim, lengths};
}

void Program::bind_turns(int turns, const void *cos, const void *sin, int64_t rows, int64_t width, bool f32) {
  turns_.at(turns) = {cos, sin, rows, width, f32};
}

bool Program::fits(const Step &step) const {
  int64_t capacity = INT64_MAX, longest = 0, last = 0, slot = 0, first = 0;
  for (int64_t m = 0; m < step.M; ++m) {
    longest = std::max(longest, step.lengths[m]), last = std::max(last, step.positions[m]);
    slot = std::max(slot, step.slots[m]), first = std::min({first, step.positions[m], step.slots[m], step.lengths[m]});
  }
  for (const Op &op : ops_) {
    if (op.store < 0) continue;
    const Store &store = stores_[op.store];
    if (store.B != step.M) return false;
    if (op.kind == Kind::attend && op.biased && longest > step.bias_width) return false;
    if (op.given) {
      for (int64_t m = 0; m < step.M; ++m)
        if (store.lengths[m] < 0 || store.lengths[m] > store.capacity) return false;
    } else {
      capacity = std::min(capacity, store.capacity);
    }
    if (op.turns >= 0 && last >= turns_[op.turns].rows) return false;
  }
  return first >= 0 && longest <= capacity && slot < capacity;
}

void Program::run(const Step &step, int result) {
  const int64_t M = step.M;
  if (rows_ < M) {
    memory_.reset(static_cast<char *>(std::aligned_alloc(64, bytes_ * M)));
    if (!memory_) throw std::bad_alloc();
    rows_ = M;
  }
  const Table &run = table();
  const int64_t bytes = size();
  std::memcpy(at(0, M), step.x, widths_[0] * bytes * M);
  first_.resize(M);
  for (const Op &op : ops_) {
    char *source = at(op.source, M), *target = at(op.target, M);
    const int64_t in = widths_[op.source], out = widths_[op.target];
    switch (op.kind) {
      case Kind::norm: {
        const bool whole = op.width == in && op.width == out;
        const auto norm = op.rms ? run.rms_norm : run.layer_norm;
        for (int64_t m = 0; m < (whole ? 1 : M); ++m)
          norm({source + (m * in + op.offset) * bytes, op.other < 0 ? nullptr : at(op.other, M), op.weight, op.bias,
                target + (m * out + op.offset) * bytes, whole ? M : op.count, op.width, op.number, type_, step.threads});
        break;
      }
      case Kind::copy:
        for (int64_t m = 0; m < M; ++m)
          std::memcpy(target + (m * out + op.offset) * bytes, source + (m * in + op.offset) * bytes, op.width * bytes);
        break;
      case Kind::linear:
        if (op.scale)
          run.linear_int8({source, in, static_cast<const uint8_t *>(op.weight), op.scale, op.bias, target, M, out, in,
                           op.activation, type_, step.threads});
        else
          run.linear({source, in, op.weight, op.bias, target, M, out, in, op.activation, type_, step.threads});
        break;
      case Kind::gated:
        run.gated({source, in, target, M, out, op.activation, type_, step.threads});
        break;
      case Kind::add:
        run.add({source, at(op.other, M), target, in * M, type_, step.threads});
        break;
      case Kind::remember: {
        const Store &s = stores_[op.store];
        const Turns none, &t = op.turns < 0 ? none : turns_[op.turns];
        run.rope_store({source, in, t.cos, t.sin, t.width, t.width, t.f32, op.neighbours, step.positions, step.slots,
                        nullptr, target, s.k, s.k_batch, s.k_head, s.k_slot, s.v, s.v_batch, s.v_head, s.v_slot, M,
                        out / s.head_dim, s.heads, s.head_dim, t.width, type_, step.threads});
        break;
      }
      case Kind::attend: {
        const Store &s = stores_[op.store];
        const int64_t *starts = nullptr;
        if (op.window) {
          for (int64_t m = 0; m < M; ++m) first_[m] = std::max<int64_t>(0, step.lengths[m] - op.window);
          starts = first_.data();
        }
        run.attend_decode({source, in, op.width, s.k, s.k_batch, s.k_head, s.k_slot, s.v, s.v_batch, s.v_head, s.v_slot,
                           op.given ? s.lengths : step.lengths, starts, op.biased ? step.bias : nullptr,
                           step.bias_batch, step.bias_head, nullptr, target, M, in / op.width, s.heads, op.width,
                           op.number, op.softcap, type_, step.threads});
        break;
      }
    }
  }
  std::memcpy(step.out, at(result, M), widths_[result] * bytes * M);
}

}  // namespace enfold::kernels
