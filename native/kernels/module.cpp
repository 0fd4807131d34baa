#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "kernels.h"
#include "program.h"

namespace nb = nanobind;
using namespace enfold::kernels;

namespace {

// Addresses arrive as integers: torch is no build dependency, and nothing is cheaper than a tensor's data_ptr().
template <class T>
T *at(uintptr_t address) {
  return reinterpret_cast<T *>(address);
}

// Other Python threads may run while a kernel does, if it is long enough for that to be worth a switch.
template <class Run>
void unlocked(int64_t work, const Run &run) {
  if (work < (1 << 18)) return run();
  nb::gil_scoped_release release;
  run();
}

// -1, or the first index whose value lies outside [0, limit).
int64_t outside(const int64_t *values, int64_t count, int64_t limit) {
  for (int64_t i = 0; i < count; ++i)
    if (values[i] < 0 || values[i] >= limit) return i;
  return -1;
}

void linear(uintptr_t x, int64_t x_row, uintptr_t weight, uintptr_t bias, uintptr_t out, int64_t M, int64_t N, int64_t K,
            int activation, int type, int threads) {
  const Linear a{at<void>(x), x_row, at<void>(weight), at<void>(bias), at<void>(out), M, N, K, Activation(activation), Type(type), threads};
  unlocked(M * N * K, [&] { table().linear(a); });
}

void linear_int8(uintptr_t x, int64_t x_row, uintptr_t weight, uintptr_t scale, uintptr_t bias, uintptr_t out, int64_t M,
                 int64_t N, int64_t K, int activation, int type, int threads) {
  const LinearInt8 a{at<void>(x), x_row, at<const uint8_t>(weight), at<const float>(scale), at<void>(bias), at<void>(out),
                     M, N, K, Activation(activation), Type(type), threads};
  unlocked(M * N * K, [&] { table().linear_int8(a); });
}

// Returns the first sequence whose length or start doesn't fit, or -1.
int64_t attend_decode(uintptr_t q, int64_t q_row, int64_t q_head, uintptr_t k, int64_t k_batch, int64_t k_head,
                      int64_t k_slot, uintptr_t v, int64_t v_batch, int64_t v_head, int64_t v_slot, uintptr_t lengths,
                      uintptr_t starts, uintptr_t bias, int64_t bias_batch, int64_t bias_head, uintptr_t sinks,
                      uintptr_t out, int64_t B,
                      int64_t H, int64_t Hkv, int64_t d, int64_t longest, float scale, float softcap, int type,
                      int threads) {
  const AttendDecode a{at<void>(q),         q_row,      q_head,    at<void>(k),          k_batch,
                       k_head,              k_slot,     at<void>(v), v_batch,            v_head,
                       v_slot,              at<const int64_t>(lengths), at<const int64_t>(starts),
                       at<const float>(bias), bias_batch, bias_head, at<const float>(sinks), at<void>(out), B,
                       H,                   Hkv,        d,         scale,                softcap,
                       Type(type),          threads};
  int64_t bad = outside(a.lengths, B, longest + 1), keys = 0;
  if (bad < 0 && a.starts) bad = outside(a.starts, B, longest + 1);
  if (bad >= 0) return bad;
  for (int64_t b = 0; b < B; ++b) keys += a.lengths[b];
  unlocked(keys * H * d, [&] { table().attend_decode(a); });
  return -1;
}

// Returns the first offset (or sequence) that doesn't fit, or -1.
int64_t attend_packed(uintptr_t q, int64_t q_row, int64_t q_head, uintptr_t k, int64_t k_batch, int64_t k_row,
                      int64_t k_head, uintptr_t v, int64_t v_batch, int64_t v_row, int64_t v_head, uintptr_t offsets,
                      uintptr_t lengths, int64_t capacity, uintptr_t bias, int64_t bias_head, int64_t bias_row,
                      int64_t bias_length, uintptr_t out, int64_t N, int64_t B, int64_t H, int64_t Hkv, int64_t d,
                      bool causal, int64_t window, uintptr_t sinks, float scale, float softcap, int type,
                      int threads) {
  const AttendPacked a{at<void>(q), q_row, q_head, at<void>(k), k_batch, k_row, k_head, at<void>(v), v_batch, v_row,
                       v_head, at<const int64_t>(offsets), at<const int64_t>(lengths), at<const float>(bias), bias_head,
                       bias_row, at<void>(out), B, H, Hkv, d, causal, window, at<const float>(sinks), scale, softcap,
                       Type(type), threads};
  if (a.offsets[0] != 0) return 0;
  int64_t work = 0;
  for (int64_t b = 1; b <= B; ++b) {
    const int64_t queries = a.offsets[b] - a.offsets[b - 1], length = a.lengths ? a.lengths[b - 1] : queries;
    if (queries < 0 || a.offsets[b] > N || (bias && length > bias_length)) return b;
    if (a.lengths && (length < queries || length > capacity)) return b;
    work += queries * length;
  }
  if (a.offsets[B] != N) return B;
  unlocked(work * H * d, [&] { table().attend_packed(a); });
  return -1;
}

void add(uintptr_t x, uintptr_t y, uintptr_t out, int64_t count, int type, int threads) {
  const Add a{at<void>(x), at<void>(y), at<void>(out), count, Type(type), threads};
  unlocked(count, [&] { table().add(a); });
}

template <void (*Table::*Op)(const Norm &)>
void norm(uintptr_t x, uintptr_t residual, uintptr_t weight, uintptr_t bias, uintptr_t out, int64_t M, int64_t D,
          float eps, int type, int threads) {
  const Norm a{at<void>(x), at<void>(residual), at<void>(weight), at<void>(bias), at<void>(out), M, D, eps, Type(type),
               threads};
  unlocked(M * D, [&] { (table().*Op)(a); });
}

void gated(uintptr_t x, int64_t x_row, uintptr_t out, int64_t M, int64_t F, int activation, int type, int threads) {
  const Gated a{at<void>(x), x_row, at<void>(out), M, F, Activation(activation), Type(type), threads};
  unlocked(4 * M * F, [&] { table().gated(a); });
}

// Returns 0, or 1, 2, 3 when a position, slot or sequence lies outside its table or cache; nothing is written then.
int rope_store(uintptr_t qkv, int64_t row, uintptr_t cos, int64_t cos_row, uintptr_t sin, int64_t sin_row,
               bool table_f32, bool neighbours, uintptr_t positions, uintptr_t slots, uintptr_t sequences, uintptr_t q_out, uintptr_t k,
               int64_t k_batch, int64_t k_head, int64_t k_slot, uintptr_t v, int64_t v_batch, int64_t v_head,
               int64_t v_slot, int64_t M, int64_t H, int64_t Hkv, int64_t d, int64_t R, int64_t P, int64_t capacity,
               int64_t B, int type, int threads) {
  const RopeStore a{at<void>(qkv), row,     at<void>(cos), at<void>(sin), cos_row, sin_row, table_f32, neighbours,
                    at<const int64_t>(positions), at<const int64_t>(slots), at<const int64_t>(sequences),
                    at<void>(q_out), at<void>(k), k_batch, k_head, k_slot, at<void>(v), v_batch, v_head, v_slot,
                    M, H, Hkv, d, R, Type(type), threads};
  if (R && a.positions && outside(a.positions, M, P) >= 0) return 1;
  if (outside(a.slots, M, capacity) >= 0) return 2;
  if (a.sequences && outside(a.sequences, M, B) >= 0) return 3;
  unlocked(M * (H + 2 * Hkv) * d, [&] { table().rope_store(a); });
  return 0;
}

// Returns the first offset that doesn't fit, or -1.
int64_t selective_scan(uintptr_t step, uintptr_t u, uintptr_t into, int64_t into_row, uintptr_t from, int64_t from_row,
                       uintptr_t decay, uintptr_t offsets, uintptr_t state, uintptr_t out, int64_t N, int64_t B,
                       int64_t C, int64_t S, int threads) {
  const SelectiveScan a{at<const float>(step), at<const float>(u), at<const float>(into), at<const float>(from), into_row,
                        from_row, at<const float>(decay), at<const int64_t>(offsets), at<float>(state), at<float>(out),
                        B, C, S, threads};
  if (a.offsets[0] != 0) return 0;
  for (int64_t b = 1; b <= B; ++b)
    if (a.offsets[b] < a.offsets[b - 1] || a.offsets[b] > N) return b;
  if (a.offsets[B] != N) return B;
  unlocked(N * C * S, [&] { table().selective_scan(a); });
  return -1;
}

void define_program(nb::module_ &m) {
  nb::class_<Program>(m, "Program")
      .def("__init__", [](Program *made, int type) { new (made) Program(Type(type)); })
      .def("buffer", &Program::buffer)
      .def("store", &Program::store)
      .def("turns", &Program::turns)
      .def("norm",
           [](Program &p, bool rms, int source, int residual, uintptr_t weight, uintptr_t bias, float eps, int target,
              int64_t offset, int64_t width, int64_t count) {
             p.norm(rms, source, residual, at<void>(weight), at<void>(bias), eps, target, offset, width, count);
           })
      .def("copy", &Program::copy)
      .def("linear",
           [](Program &p, int source, uintptr_t weight, uintptr_t scale, uintptr_t bias, int activation, int target) {
             p.linear(source, at<void>(weight), at<float>(scale), at<void>(bias), Activation(activation), target);
           })
      .def("gated", [](Program &p, int source, int activation, int target) {
        p.gated(source, Activation(activation), target);
      })
      .def("add", &Program::add)
      .def("remember", &Program::remember)
      .def("attend", &Program::attend)
      .def("bind_store",
           [](Program &p, int store, uintptr_t k, int64_t k_batch, int64_t k_head, int64_t k_slot, uintptr_t v,
              int64_t v_batch, int64_t v_head, int64_t v_slot, int64_t B, int64_t heads, int64_t capacity,
              int64_t head_dim, uintptr_t lengths) {
             p.bind_store(store, at<void>(k), k_batch, k_head, k_slot, at<void>(v), v_batch, v_head, v_slot, B, heads,
                          capacity, head_dim, at<const int64_t>(lengths));
           })
      .def("bind_turns",
           [](Program &p, int turns, uintptr_t cos, uintptr_t sin, int64_t rows, int64_t width, bool f32) {
             p.bind_turns(turns, at<void>(cos), at<void>(sin), rows, width, f32);
           })
      // False, and nothing is written, where something lies outside what is bound.
      .def("run", [](Program &p, int result, uintptr_t x, uintptr_t out, int64_t M, uintptr_t positions,
                     uintptr_t slots, uintptr_t lengths, uintptr_t bias, int64_t bias_batch, int64_t bias_head,
                     int64_t bias_width, int threads) {
        const Program::Step step{at<void>(x), at<void>(out), M, at<const int64_t>(positions), at<const int64_t>(slots),
                                 at<const int64_t>(lengths), at<const float>(bias), bias_batch, bias_head, bias_width,
                                 threads};
        if (!p.fits(step)) return false;
        nb::gil_scoped_release release;
        p.run(step, result);
        return true;
      });
}

}  // namespace

NB_MODULE(_kernels, m) {
  m.doc() = "CPU kernels for small batches of rows; enfold.nn.kernels is their face.";
  use("");
  m.def("level", [] { return table().name; }, "The instruction set in use.");
  m.def("use", use, "Choose an instruction set by name; the best that runs here for an empty one.");
  m.def("linear", linear);
  m.def("linear_int8", linear_int8);
  m.def("attend_decode", attend_decode);
  m.def("attend_packed", attend_packed);
  m.def("add", add);
  m.def("rms_norm", norm<&Table::rms_norm>);
  m.def("layer_norm", norm<&Table::layer_norm>);
  m.def("gated", gated);
  m.def("rope_store", rope_store);
  m.def("selective_scan", selective_scan);
  define_program(m);
}
