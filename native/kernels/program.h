#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels.h"

namespace enfold::kernels {

// The operations of a decoding step, one row a sequence, in the order in which they run. Written once for a model, then
// run each step: what changes from step to step comes with `Step`, or is bound when it moves.
class Program {
 public:
  explicit Program(Type type) : type_(type) {}

  // Room for rows of `width` elements. The first buffer holds what goes in.
  int buffer(int64_t width);
  // A place for keys and values, and for the cosines and sines of a rotation.
  int store();
  int turns();

  // Rows are normed part by part: `count` parts of `width` elements from `offset` on.
  void norm(bool rms, int source, int residual, const void *weight, const void *bias, float eps, int target,
            int64_t offset, int64_t width, int64_t count);
  void copy(int source, int target, int64_t offset, int64_t width);
  void linear(int source, const void *weight, const float *scale, const void *bias, Activation activation, int target);
  void gated(int source, Activation activation, int target);
  void add(int source, int other, int target);
  void remember(int source, int store, int turns, bool neighbours, int target);
  // `window` 0: all keys are seen. `given`: the store has its own lengths (keys of a source).
  void attend(int source, int store, int64_t head, float scale, float softcap, int64_t window, bool biased, bool given,
              int target);

  void bind_store(int store, void *k, int64_t k_batch, int64_t k_head, int64_t k_slot, void *v, int64_t v_batch,
                  int64_t v_head, int64_t v_slot, int64_t B, int64_t heads, int64_t capacity, int64_t head_dim,
                  const int64_t *lengths);
  void bind_turns(int turns, const void *cos, const void *sin, int64_t rows, int64_t width, bool f32);

  struct Step {
    const void *x;
    void *out;
    int64_t M;
    const int64_t *positions, *slots, *lengths;  // [M]
    const float *bias;
    int64_t bias_batch, bias_head, bias_width;
    int threads;
  };
  // Whether every position, slot and length lies within what is bound.
  bool fits(const Step &step) const;
  void run(const Step &step, int result);

 private:
  enum class Kind { norm, copy, linear, gated, add, remember, attend };
  struct Op {
    Kind kind;
    int source = 0, other = -1, target = 0, store = -1, turns = -1;
    const void *weight = nullptr, *bias = nullptr;
    const float *scale = nullptr;
    Activation activation = Activation::none;
    int64_t offset = 0, width = 0, count = 1, window = 0;
    float number = 0, softcap = 0;
    bool rms = false, neighbours = false, biased = false, given = false;
  };
  struct Store {
    void *k = nullptr;
    int64_t k_batch = 0, k_head = 0, k_slot = 0;
    void *v = nullptr;
    int64_t v_batch = 0, v_head = 0, v_slot = 0, B = 0, heads = 0, capacity = 0, head_dim = 0;
    const int64_t *lengths = nullptr;
  };
  struct Turns {
    const void *cos = nullptr, *sin = nullptr;
    int64_t rows = 0, width = 0;
    bool f32 = false;
  };
  struct Free {
    void operator()(void *data) const { std::free(data); }
  };

  int64_t size() const { return type_ == Type::f32 ? 4 : 2; }
  char *at(int buffer, int64_t M) const { return memory_.get() + starts_[buffer] * M; }

  Type type_;
  std::vector<int64_t> widths_, starts_;  // elements of a row; bytes before the buffer, for each row
  int64_t bytes_ = 0;                     // of all buffers, for each row
  std::vector<Op> ops_;
  std::vector<Store> stores_;
  std::vector<Turns> turns_;
  std::unique_ptr<char, Free> memory_;
  int64_t rows_ = 0;
  std::vector<int64_t> first_;  // of windows
};

}  // namespace enfold::kernels
