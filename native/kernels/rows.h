// Operations on each row by itself: norms, gated activations, rotary embedding.
#pragma once

#include "activations.h"
#include "parallel.h"

namespace enfold::kernels::ENFOLD_ISA {

// body(i, n) for the lanes of a row of D elements; n < W only at its end.
template <class Body>
inline void lanes(int64_t D, const Body &body) {
  int64_t i = 0;
  for (; i + W <= D; i += W) body(i, W);
  if (i < D) body(i, int(D - i));
}
template <class T>
inline V get(const T *p, int n) {
  return n == W ? load(p) : load_n(p, n);
}
template <class T>
inline void put(T *p, V x, int n) {
  n == W ? store(p, x) : store_n(p, x, n);
}

constexpr int64_t kShare = 1 << 18;  // elements that are worth a thread: some tens of microseconds

template <class T>
inline void add_row(const T *x, const T *y, T *out, int64_t count) {
  lanes(count, [&](int64_t i, int n) { put(out + i, get(x + i, n) + get(y + i, n), n); });
}

template <class T>
void rms_norm_row(const Norm &a, int64_t m) {
  const T *x = static_cast<const T *>(a.x) + m * a.D, *weight = static_cast<const T *>(a.weight);
  T *out = static_cast<T *>(a.out) + m * a.D;
  V squares[4] = {set1(0), set1(0), set1(0), set1(0)};
  int64_t i = 0;
  for (; i + 4 * W <= a.D; i += 4 * W)
    for (int j = 0; j < 4; ++j) {
      const V v = load(x + i + j * W);
      squares[j] = fma(v, v, squares[j]);
    }
  for (; i < a.D; i += W) {
    const V v = get(x + i, a.D - i < W ? int(a.D - i) : W);
    squares[0] = fma(v, v, squares[0]);
  }
  const float mean = sum((squares[0] + squares[1]) + (squares[2] + squares[3])) / float(a.D);
  const V inverse = set1(1.0f / __builtin_sqrtf(mean + a.eps));
  lanes(a.D, [&](int64_t i, int n) { put(out + i, get(weight + i, n) * rounded<T>(get(x + i, n) * inverse), n); });
}

template <class T>
void layer_norm_row(const Norm &a, int64_t m) {
  const T *x = static_cast<const T *>(a.x) + m * a.D;
  const T *weight = static_cast<const T *>(a.weight), *bias = static_cast<const T *>(a.bias);
  T *out = static_cast<T *>(a.out) + m * a.D;
  if (a.residual) {
    add_row(x, static_cast<const T *>(a.residual) + m * a.D, out, a.D);
    x = out;
  }
  V total[2] = {set1(0), set1(0)};
  int64_t i = 0;
  for (; i + 2 * W <= a.D; i += 2 * W)
    for (int j = 0; j < 2; ++j) total[j] = total[j] + load(x + i + j * W);
  for (; i < a.D; i += W) total[0] = total[0] + get(x + i, a.D - i < W ? int(a.D - i) : W);
  const V mean = set1(sum(total[0] + total[1]) / float(a.D));
  V squares[2] = {set1(0), set1(0)};
  for (i = 0; i + 2 * W <= a.D; i += 2 * W)
    for (int j = 0; j < 2; ++j) {
      const V v = load(x + i + j * W) - mean;
      squares[j] = fma(v, v, squares[j]);
    }
  for (; i < a.D; i += W) {
    const int n = a.D - i < W ? int(a.D - i) : W;
    float centred[W];
    store(centred, get(x + i, n) - mean);
    const V v = load_n(centred, n);
    squares[0] = fma(v, v, squares[0]);
  }
  const V inverse = set1(1.0f / __builtin_sqrtf(sum(squares[0] + squares[1]) / float(a.D) + a.eps));
  lanes(a.D, [&](int64_t i, int n) {
    V y = (get(x + i, n) - mean) * inverse;
    if (weight) y = y * get(weight + i, n);
    if (bias) y = y + get(bias + i, n);
    put(out + i, y, n);
  });
}

template <class Row>
inline void each_row(int64_t M, int64_t width, int threads, const Row &row) {
  threads = useful_threads(threads, M * width, kShare);
  const int64_t grain = threads == 1 ? M : (M + 4 * threads - 1) / (4 * threads);
  spread(M, grain < 1 ? 1 : grain, threads, [&](int64_t first, int64_t last) {
    for (int64_t m = first; m < last; ++m) row(m);
  });
}

template <class T>
void add_typed(const Add &a) {
  const int threads = useful_threads(a.threads, a.count, kShare);
  spread(a.count, threads == 1 ? a.count : (a.count / (4 * threads) / W + 1) * W, threads, [&](int64_t i, int64_t last) {
    add_row(static_cast<const T *>(a.x) + i, static_cast<const T *>(a.y) + i, static_cast<T *>(a.out) + i, last - i);
  });
}

inline void add(const Add &a) {
  switch (a.type) {
    case Type::f32: return add_typed<float>(a);
    case Type::bf16: return add_typed<bf16>(a);
    case Type::f16: return add_typed<f16>(a);
  }
}

inline void rms_norm(const Norm &a) {
  each_row(a.M, a.D, a.threads, [&](int64_t m) {
    switch (a.type) {
      case Type::f32: return rms_norm_row<float>(a, m);
      case Type::bf16: return rms_norm_row<bf16>(a, m);
      case Type::f16: return rms_norm_row<f16>(a, m);
    }
  });
}

inline void layer_norm(const Norm &a) {
  each_row(a.M, a.D, a.threads, [&](int64_t m) {
    switch (a.type) {
      case Type::f32: return layer_norm_row<float>(a, m);
      case Type::bf16: return layer_norm_row<bf16>(a, m);
      case Type::f16: return layer_norm_row<f16>(a, m);
    }
  });
}

template <class T>
void gated_row(const Gated &a, int64_t m) {
  const T *gate = static_cast<const T *>(a.x) + m * a.x_row, *up = gate + a.F;
  T *out = static_cast<T *>(a.out) + m * a.F;
  lanes(a.F, [&](int64_t i, int n) {
    put(out + i, rounded<T>(activate(a.activation, get(gate + i, n))) * get(up + i, n), n);
  });
}

inline void gated(const Gated &a) {
  each_row(a.M, 8 * a.F, a.threads, [&](int64_t m) {
    switch (a.type) {
      case Type::f32: return gated_row<float>(a, m);
      case Type::bf16: return gated_row<bf16>(a, m);
      case Type::f16: return gated_row<f16>(a, m);
    }
  });
}

// out = x · cos + quarter_turn(x) · sin, every product and the sum rounded to T as separate tensor operations would be.
template <class T, class C>
inline void rotate_halves(const T *x, const C *cos, const C *sin, T *out, int64_t R) {
  const int64_t half = R / 2;
  lanes(half, [&](int64_t i, int n) {
    const V a = get(x + i, n), b = get(x + half + i, n);
    const V cos_a = rounded<T>(get(cos + i, n)), cos_b = rounded<T>(get(cos + half + i, n));
    const V sin_a = rounded<T>(get(sin + i, n)), sin_b = rounded<T>(get(sin + half + i, n));
    put(out + i, rounded<T>(a * cos_a) - rounded<T>(b * sin_a), n);
    put(out + half + i, rounded<T>(b * cos_b) + rounded<T>(a * sin_b), n);
  });
}
template <class T, class C>
inline void rotate_neighbours(const T *x, const C *cos, const C *sin, T *out, int64_t R) {
  lanes(R, [&](int64_t i, int n) {
    const V a = get(x + i, n);
    const V across = rounded<T>(swapped(a) * rounded<T>(get(sin + i, n)));
    put(out + i, subtract_add(rounded<T>(a * rounded<T>(get(cos + i, n))), across), n);
  });
}
template <class T, class C>
inline void rotate(const RopeStore &a, const T *x, const C *cos, const C *sin, T *out) {
  a.neighbours ? rotate_neighbours(x, cos, sin, out, a.R) : rotate_halves(x, cos, sin, out, a.R);
  for (int64_t i = a.R; i < a.d; ++i) out[i] = x[i];
}

template <class T, class C>
void rope_store_row(const RopeStore &a, int64_t m) {
  const T *row = static_cast<const T *>(a.qkv) + m * a.row;
  const int64_t angle = a.positions ? a.positions[m] : m, slot = a.slots[m], b = a.sequences ? a.sequences[m] : m;
  const C *cos = a.R ? static_cast<const C *>(a.cos) + angle * a.cos_row : nullptr;
  const C *sin = a.R ? static_cast<const C *>(a.sin) + angle * a.sin_row : nullptr;
  T *q = static_cast<T *>(a.q_out) + m * a.H * a.d;
  T *k = static_cast<T *>(a.k) + b * a.k_batch + slot * a.k_slot;
  T *v = static_cast<T *>(a.v) + b * a.v_batch + slot * a.v_slot;
  for (int64_t h = 0; h < a.H; ++h) rotate(a, row + h * a.d, cos, sin, q + h * a.d);
  row += a.H * a.d;
  for (int64_t h = 0; h < a.Hkv; ++h) rotate(a, row + h * a.d, cos, sin, k + h * a.k_head);
  row += a.Hkv * a.d;
  for (int64_t h = 0; h < a.Hkv; ++h) std::memcpy(v + h * a.v_head, row + h * a.d, size_t(a.d) * sizeof(T));
}

inline void rope_store(const RopeStore &a) {
  each_row(a.M, (a.H + 2 * a.Hkv) * a.d, a.threads, [&](int64_t m) {
    switch (a.type) {
      case Type::f32: return rope_store_row<float, float>(a, m);
      case Type::bf16: return a.table_f32 ? rope_store_row<bf16, float>(a, m) : rope_store_row<bf16, bf16>(a, m);
      case Type::f16: return a.table_f32 ? rope_store_row<f16, float>(a, m) : rope_store_row<f16, f16>(a, m);
    }
  });
}

}  // namespace enfold::kernels::ENFOLD_ISA
