// Few rows times a weight matrix: bound by reading the weight, so each weight is read once for all rows.
#pragma once

#include "parallel.h"

namespace enfold::kernels::ENFOLD_ISA {

// How a weight of type T meets an activation: products accumulate in fp32 lanes, `step` weights a time. An output is the
// same sum in the same order whatever the number of rows.
template <class T>
struct Dot {
  using X = float;
  using Lanes = V;
  static constexpr int step = W;
  static Lanes weight(const T *p) { return load(p); }
  static Lanes weight(const T *p, int n) { return load_n(p, n); }
  static Lanes row(const X *p) { return load(p); }
  static Lanes row(const X *p, int n) { return load_n(p, n); }
  static V add(V sum, Lanes x, Lanes w) { return fma(x, w, sum); }
};

#ifdef __AVX512BF16__
template <>
struct Dot<bf16> {
  using X = bf16;
  using Lanes = __m512i;
  static constexpr int step = 32;
  static Lanes weight(const bf16 *p) { return _mm512_loadu_si512(p); }
  static Lanes weight(const bf16 *p, int n) { return _mm512_maskz_loadu_epi16((1u << n) - 1, p); }
  static Lanes row(const X *p) { return weight(p); }
  static Lanes row(const X *p, int n) { return weight(p, n); }
  static V add(V sum, Lanes x, Lanes w) { return {_mm512_dpbf16_ps(sum.v, (__m512bh)x, (__m512bh)w)}; }
};
#endif

constexpr int kOutputs = 4;  // weight rows a panel
#if defined(__AVX512F__)
constexpr int kRows = 4;  // activation rows a pass: 16 sums, 4 weights and 4 rows fit 32 registers
#else
constexpr int kRows = 2;
#endif

template <class T>
struct Panel {
  const T *weight[kOutputs];
  const T *ahead[kOutputs];  // the next panel's rows; those of this pass are fetched while this one is summed
};

template <class T, int R, int Ahead>
inline void pass(const Panel<T> &panel, int fetched, const typename Dot<T>::X *x, int64_t x_row, int64_t K,
                 float sums[][kOutputs]) {
  using D = Dot<T>;
  V total[R][kOutputs];
  for (int r = 0; r < R; ++r)
    for (int o = 0; o < kOutputs; ++o) total[r][o] = set1(0);
  int64_t k = 0;
  for (; k + D::step <= K; k += D::step) {
    typename D::Lanes w[kOutputs];
    for (int o = 0; o < kOutputs; ++o) w[o] = D::weight(panel.weight[o] + k);
    for (int a = 0; a < Ahead; ++a) __builtin_prefetch(panel.ahead[fetched + a] + k);
    for (int r = 0; r < R; ++r) {
      const typename D::Lanes row = D::row(x + r * x_row + k);
      for (int o = 0; o < kOutputs; ++o) total[r][o] = D::add(total[r][o], row, w[o]);
    }
  }
  if (k < K) {
    const int n = int(K - k);
    for (int r = 0; r < R; ++r) {
      const typename D::Lanes row = D::row(x + r * x_row + k, n);
      for (int o = 0; o < kOutputs; ++o) total[r][o] = D::add(total[r][o], row, D::weight(panel.weight[o] + k, n));
    }
  }
  for (int r = 0; r < R; ++r) sum4(total[r][0], total[r][1], total[r][2], total[r][3], sums[r]);
}

template <class T, int R>
inline void pass_ahead(int ahead, const Panel<T> &panel, int fetched, const typename Dot<T>::X *x, int64_t x_row,
                       int64_t K, float sums[][kOutputs]) {
  switch (ahead) {
    case 4: return pass<T, R, 4>(panel, fetched, x, x_row, K, sums);
    case 2: return pass<T, R, 2>(panel, fetched, x, x_row, K, sums);
    case 1: return pass<T, R, 1>(panel, fetched, x, x_row, K, sums);
    default: return pass<T, R, 0>(panel, fetched, x, x_row, K, sums);
  }
}

template <class T>
void linear_rows(const Linear &a, const typename Dot<T>::X *x, int64_t x_row, int64_t first, int64_t last) {
  const T *weight = static_cast<const T *>(a.weight), *bias = static_cast<const T *>(a.bias);
  T *out = static_cast<T *>(a.out);
  const int64_t passes = (a.M + kRows - 1) / kRows;
  const int ahead = passes == 1 ? 4 : passes <= 3 ? 2 : 1;
  for (int64_t n = first; n < last; n += kOutputs) {
    const int live = last - n < kOutputs ? int(last - n) : kOutputs;
    Panel<T> panel;
    for (int o = 0; o < kOutputs; ++o) {
      panel.weight[o] = weight + (n + (o < live ? o : live - 1)) * a.K;
      // Addresses beyond the last row would only be prefetched, but the arithmetic must stay inside the matrix.
      panel.ahead[o] = n + kOutputs + o < last ? panel.weight[o] + kOutputs * a.K : panel.weight[o];
    }
    float constant[kOutputs] = {};
    if (bias)
      for (int o = 0; o < live; ++o) constant[o] = to_float(bias[n + o]);
    int fetched = 0;
    for (int64_t m = 0; m < a.M; m += kRows) {
      const int rows = a.M - m < kRows ? int(a.M - m) : kRows;
      const typename Dot<T>::X *xm = x + m * x_row;
      const int now = fetched < kOutputs ? ahead : 0;
      float sums[kRows][kOutputs];
      switch (rows) {
        case 1: pass_ahead<T, 1>(now, panel, fetched, xm, x_row, a.K, sums); break;
        case 2: pass_ahead<T, 2>(now, panel, fetched, xm, x_row, a.K, sums); break;
#if defined(__AVX512F__)
        case 3: pass_ahead<T, 3>(now, panel, fetched, xm, x_row, a.K, sums); break;
        default: pass_ahead<T, 4>(now, panel, fetched, xm, x_row, a.K, sums); break;
#endif
      }
      fetched += now;
      for (int r = 0; r < rows; ++r)
        for (int o = 0; o < live; ++o) out[(m + r) * a.N + n + o] = from_float<T>(sums[r][o] + constant[o]);
    }
  }
}

template <class T>
void linear_typed(const Linear &a) {
  using X = typename Dot<T>::X;
  const X *x = static_cast<const X *>(a.x);
  int64_t x_row = a.x_row;
  if constexpr (sizeof(X) != sizeof(T)) {
    const T *narrow = static_cast<const T *>(a.x);
    X *wide = static_cast<X *>(scratch(size_t(a.M) * size_t(a.K) * sizeof(X)));
    for (int64_t m = 0; m < a.M; ++m) {
      int64_t k = 0;
      for (; k + W <= a.K; k += W) store(wide + m * a.K + k, load(narrow + m * a.x_row + k));
      if (k < a.K) store_n(wide + m * a.K + k, load_n(narrow + m * a.x_row + k, int(a.K - k)), int(a.K - k));
    }
    x = wide;
    x_row = a.K;
  }
  const int64_t row_bytes = a.K * int64_t(sizeof(T)) + 1;
  const int threads = useful_threads(a.threads, a.N * row_bytes * (a.M < 4 ? 1 : a.M / 2), 1 << 16);
  // A piece of at least 64 KB, and about eight a thread.
  int64_t grain = a.N / (8 * int64_t(threads)), least = (1 << 16) / row_bytes;
  grain = grain > least ? grain : least;
  grain = (grain + kOutputs - 1) / kOutputs * kOutputs;
  if (grain < kOutputs) grain = kOutputs;
  spread(a.N, grain, threads, [&](int64_t first, int64_t last) { linear_rows<T>(a, x, x_row, first, last); });
}

inline void linear(const Linear &a) {
  switch (a.type) {
    case Type::f32: return linear_typed<float>(a);
    case Type::bf16: return linear_typed<bf16>(a);
    case Type::f16: return linear_typed<f16>(a);
  }
}

}  // namespace enfold::kernels::ENFOLD_ISA
