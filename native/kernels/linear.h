// Rows times a weight matrix as it lies in memory. A few rows are bound by reading the weight, so each weight is read
// once for all of them; many rows run at the pace of the multipliers.
#pragma once

#include "activations.h"
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
constexpr int64_t kAhead = 16384;        // bytes between the weights in use and those being fetched
constexpr int64_t kRowBytes = 384 << 10;  // of activations that are kept near
constexpr int64_t kPieceWork = 1 << 17;  // multiplications

template <class T, int R, int Ahead>
inline void pass(const T *const panel[], const char *ahead, const typename Dot<T>::X *x, int64_t x_row, int64_t K,
                 Four *sums) {
  using D = Dot<T>;
  V total[R][kOutputs];
  for (int r = 0; r < R; ++r)
    for (int o = 0; o < kOutputs; ++o) total[r][o] = set1(0);
  int64_t k = 0;
  for (; k + D::step <= K; k += D::step) {
    typename D::Lanes w[kOutputs];
    for (int o = 0; o < kOutputs; ++o) w[o] = D::weight(panel[o] + k);
    for (int a = 0; a < Ahead; ++a) __builtin_prefetch(ahead + 64 * a, 0, 2);
    ahead += 64 * Ahead;
    for (int r = 0; r < R; ++r) {
      const typename D::Lanes row = D::row(x + r * x_row + k);
      for (int o = 0; o < kOutputs; ++o) total[r][o] = D::add(total[r][o], row, w[o]);
    }
  }
  if (k < K) {
    const int n = int(K - k);
    for (int r = 0; r < R; ++r) {
      const typename D::Lanes row = D::row(x + r * x_row + k, n);
      for (int o = 0; o < kOutputs; ++o) total[r][o] = D::add(total[r][o], row, D::weight(panel[o] + k, n));
    }
  }
  for (int r = 0; r < R; ++r) sums[r] = sum4(total[r][0], total[r][1], total[r][2], total[r][3]);
}

template <class T, int R>
inline void pass_ahead(int ahead, const T *const panel[], const char *fetch, const typename Dot<T>::X *x, int64_t x_row,
                       int64_t K, Four *sums) {
  switch (ahead) {
    case 4: return pass<T, R, 4>(panel, fetch, x, x_row, K, sums);
    case 2: return pass<T, R, 2>(panel, fetch, x, x_row, K, sums);
    case 1: return pass<T, R, 1>(panel, fetch, x, x_row, K, sums);
    default: return pass<T, R, 0>(panel, fetch, x, x_row, K, sums);
  }
}

// Up to kRows × kOutputs sums become outputs: bias, one rounding (as a linear layer alone would), then the activation.
template <class T>
inline void emit(const Linear &a, Four *sums, const float *constant, T *out, int rows, int live) {
  T done[kRows][kOutputs];
  for (int i = 0; i < kRows * kOutputs; i += W) {
    V y = join(sums + i / kOutputs) + load(constant + i);
    if (a.activation != Activation::none) y = activate(a.activation, rounded<T>(y));
    store(done[0] + i, y);
  }
  for (int r = 0; r < rows; ++r) {
    if (live == kOutputs)
      std::memcpy(out + r * a.N, done[r], sizeof done[r]);
    else
      for (int o = 0; o < kOutputs; ++o)
        if (o < live) out[r * a.N + o] = done[r][o];
  }
}

// Rows [m_first, m_last) by outputs [n_first, n_last).
template <class T>
void linear_tile(const Linear &a, const typename Dot<T>::X *x, int64_t x_row, int64_t m_first, int64_t m_last,
                 int64_t n_first, int64_t n_last) {
  const T *weight = static_cast<const T *>(a.weight), *bias = static_cast<const T *>(a.bias);
  T *out = static_cast<T *>(a.out);
  // Consecutive panels are one run of memory. The panel at least kAhead bytes on is fetched while this one is summed,
  // in the order it lies in, a share by each pass: without that, short rows leave half of the bandwidth unused.
  const int64_t row_bytes = a.K * int64_t(sizeof(T)), far = (kAhead / (row_bytes + 1) / kOutputs + 1) * kOutputs;
  const int64_t passes = (m_last - m_first + kRows - 1) / kRows;
  const int ahead = passes == 1 ? 4 : passes <= 3 ? 2 : 1;
  for (int64_t n = n_first; n < n_last; n += kOutputs) {
    const int live = n_last - n < kOutputs ? int(n_last - n) : kOutputs;
    const T *panel[kOutputs];
    for (int o = 0; o < kOutputs; ++o) panel[o] = weight + (n + (o < live ? o : live - 1)) * a.K;
    const bool more = n + far + kOutputs <= n_last;
    const char *later = reinterpret_cast<const char *>(weight + (n + (more ? far : 0)) * a.K);
    float constant[kRows * kOutputs] = {};
    if (bias)
      for (int i = 0; i < kRows * kOutputs; ++i)
        if (i % kOutputs < live) constant[i] = to_float(bias[n + i % kOutputs]);
    int fetched = 0;
    for (int64_t m = m_first; m < m_last; m += kRows) {
      const int rows = m_last - m < kRows ? int(m_last - m) : kRows;
      const typename Dot<T>::X *xm = x + m * x_row;
      const int now = more && fetched < kOutputs ? ahead : 0;
      const char *fetch = later + fetched * row_bytes;
      fetched += now;
      Four sums[kRows] = {};
      switch (rows) {
        case 1: pass_ahead<T, 1>(now, panel, fetch, xm, x_row, a.K, sums); break;
        case 2: pass_ahead<T, 2>(now, panel, fetch, xm, x_row, a.K, sums); break;
#if defined(__AVX512F__)
        case 3: pass_ahead<T, 3>(now, panel, fetch, xm, x_row, a.K, sums); break;
        default: pass_ahead<T, 4>(now, panel, fetch, xm, x_row, a.K, sums); break;
#endif
      }
      emit(a, sums, constant, out + m * a.N + n, rows, live);
    }
  }
}

template <class T>
void linear_typed(const Linear &a) {
  if (a.M == 0 || a.N == 0) return;
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
  const int threads = useful_threads(a.threads, a.N * a.K * (a.M < 8 ? 8 : a.M), 1 << 18);
  // A block of rows stays in the second-level cache while all weights of its piece go by.
  int64_t block = kRowBytes / (a.K * int64_t(sizeof(X)) + 1) / kRows * kRows;
  if (block < 32) block = 32;
  const int64_t blocks = (a.M + block - 1) / block;
  block = ((a.M + blocks - 1) / blocks + kRows - 1) / kRows * kRows;
  // Pieces of outputs: about twelve a thread in all, so that nobody waits long for the last one, none so small that
  // starting it costs.
  const int64_t wanted = threads == 1 ? 1 : (12 * threads + blocks - 1) / blocks;
  int64_t grain = a.N / wanted, least = kPieceWork / (a.K * (a.M < 8 ? 8 : block < a.M ? block : a.M) + 1);
  grain = grain > least ? grain : least;
  grain = (grain / kOutputs + 1) * kOutputs;
  const int64_t pieces = (a.N + grain - 1) / grain;
  spread(blocks * pieces, 1, threads, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      const int64_t m = task / pieces * block, n = task % pieces * grain;
      linear_tile<T>(a, x, x_row, m, m + block < a.M ? m + block : a.M, n, n + grain < a.N ? n + grain : a.N);
    }
  });
}

inline void linear(const Linear &a) {
  switch (a.type) {
    case Type::f32: return linear_typed<float>(a);
    case Type::bf16: return linear_typed<bf16>(a);
    case Type::f16: return linear_typed<f16>(a);
  }
}

}  // namespace enfold::kernels::ENFOLD_ISA
