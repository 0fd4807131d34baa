// Rows times a weight matrix of bytes. Each output has a scale of its own, and so have each 64 inputs of a row, found as
// the row comes by (their largest magnitude becomes 127): some channels of a language model are a thousand times as large
// as the others, and one scale a row would leave the others a step or two. The products of 64 inputs are summed in
// integers.
//
//   weight  [⌈N/32⌉][⌈K/4⌉][32][4] bytes, each w + 128: what 32 outputs multiply by four inputs lies side by side
//   rows    [⌈K/4⌉][4] inputs, zeros behind the last
#pragma once

#include "activations.h"
#include "parallel.h"

namespace enfold::kernels::ENFOLD_ISA {

constexpr int kBlock = 32;     // outputs of a block of the weight
constexpr int kTogether = 64;  // inputs that share a scale

// How four bytes of weight meet four inputs, `lanes` outputs at a time.
#if defined(__AVX512VNNI__)

struct Bytes {
  using Input = int8_t;
  static constexpr int lanes = 16, wide = 2, rows = 6;  // 12 sums of each kind, 2 weights and inputs fit 32 registers
  using Sums = __m512i;
  using Weights = __m512i;
  using Inputs = __m512i;
  static Sums all(int32_t x) { return _mm512_set1_epi32(x); }
  static Weights weights(const uint8_t *p) { return _mm512_loadu_si512(p); }
  static Inputs inputs(const Input *p) {
    int32_t four;
    std::memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
  static Sums add(Sums sums, Weights w, Inputs x) { return _mm512_dpbusd_epi32(sums, w, x); }
  static V numbers(Sums sums) { return {_mm512_cvtepi32_ps(sums)}; }
};
inline void put(int8_t *group, int i, int value) { group[i] = int8_t(value); }

#elif defined(__AVX2__)

// Without an instruction for four bytes at once, the first and third are multiplied as 16-bit numbers, and then the
// second and fourth: inputs lie in that order. (The instruction that multiplies bytes in pairs saturates.)
struct Bytes {
  using Input = int16_t;
#if defined(__AVX512F__)
  static constexpr int lanes = 16, wide = 2, rows = 4;
  using Sums = __m512i;
  struct Weights {
    __m512i even, odd;
  };
  using Inputs = Weights;
  static Sums all(int32_t x) { return _mm512_set1_epi32(x); }
  static Weights weights(const uint8_t *p) {
    const __m512i bytes = _mm512_loadu_si512(p);
    return {_mm512_and_si512(bytes, _mm512_set1_epi16(255)), _mm512_srli_epi16(bytes, 8)};
  }
  static Inputs inputs(const Input *p) {
    int32_t pairs[2];
    std::memcpy(pairs, p, 8);
    return {_mm512_set1_epi32(pairs[0]), _mm512_set1_epi32(pairs[1])};
  }
  static Sums add(Sums sums, Weights w, Inputs x) {
    sums = _mm512_add_epi32(sums, _mm512_madd_epi16(w.even, x.even));
    return _mm512_add_epi32(sums, _mm512_madd_epi16(w.odd, x.odd));
  }
  static V numbers(Sums sums) { return {_mm512_cvtepi32_ps(sums)}; }
#else
  static constexpr int lanes = 8, wide = 2, rows = 2;
  using Sums = __m256i;
  struct Weights {
    __m256i even, odd;
  };
  using Inputs = Weights;
  static Sums all(int32_t x) { return _mm256_set1_epi32(x); }
  static Weights weights(const uint8_t *p) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
    return {_mm256_and_si256(bytes, _mm256_set1_epi16(255)), _mm256_srli_epi16(bytes, 8)};
  }
  static Inputs inputs(const Input *p) {
    int32_t pairs[2];
    std::memcpy(pairs, p, 8);
    return {_mm256_set1_epi32(pairs[0]), _mm256_set1_epi32(pairs[1])};
  }
  static Sums add(Sums sums, Weights w, Inputs x) {
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(w.even, x.even));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(w.odd, x.odd));
  }
  static V numbers(Sums sums) { return {_mm256_cvtepi32_ps(sums)}; }
#endif
};
inline void put(int16_t *group, int i, int value) { group[(i & 1) * 2 + i / 2] = int16_t(value); }

#else

struct Bytes {
  using Input = int8_t;
  static constexpr int lanes = 4, wide = 4, rows = 1;
  using Sums = Ints;
  struct Weights {
    Ints of[4];  // the k-th weight of each output
  };
  using Inputs = const Input *;
  static Sums all(int32_t x) { return Sums{x, x, x, x}; }
  static Weights weights(const uint8_t *p) {
    Weights w;
    for (int k = 0; k < 4; ++k) w.of[k] = Ints{p[k], p[4 + k], p[8 + k], p[12 + k]};
    return w;
  }
  static Inputs inputs(const Input *p) { return p; }
  static Sums add(Sums sums, Weights w, Inputs x) {
    for (int k = 0; k < 4; ++k) sums += w.of[k] * int32_t(x[k]);
    return sums;
  }
  static V numbers(Sums sums) { return {__builtin_convertvector(sums, Lanes)}; }
};
inline void put(int8_t *group, int i, int value) { group[i] = int8_t(value); }

#endif

// Rows as whole numbers: inputs, and for each 64 of them what one is worth and 128 times their sum (each weight carries
// 128 too much).
struct Quantised {
  Bytes::Input *inputs;
  float *scale;
  int32_t *excess;
  int64_t row, shares;  // inputs of a row, a multiple of 4; scales of a row
};

// W numbers, rounded and within ±127, as inputs; their sum.
inline int32_t keep_inputs(Bytes::Input *inputs, V x, int n) {
#if defined(__AVX512VNNI__)
  const __m512i whole = _mm512_cvtps_epi32(x.v);
  _mm_mask_storeu_epi8(inputs, first(n), _mm512_cvtepi32_epi8(whole));
  return _mm512_reduce_add_epi32(whole);
#else
  float lanes[W];
  store(lanes, x);
  int32_t total = 0;
  for (int i = 0; i < n; ++i) {
    put(inputs + i / 4 * 4, i % 4, int(lanes[i]));
    total += int(lanes[i]);
  }
  return total;
#endif
}

template <class T>
void quantise_row(const T *x, int64_t K, const Quantised &q, int64_t m) {
  Bytes::Input *inputs = q.inputs + m * q.row;
  std::memset(inputs + K / 4 * 4, 0, size_t(q.row - K / 4 * 4) * sizeof *inputs);
  for (int64_t share = 0; share < q.shares; ++share) {
    const int64_t start = share * kTogether;
    const int count = K - start < kTogether ? int(K - start) : kTogether;
    V held[kTogether / W], most = set1(0), strange = set1(0);  // 0 · x is a NaN for what is no finite number
    for (int i = 0; i < count; i += W) {
      const V now = count - i < W ? load_n(x + start + i, count - i) : load(x + start + i);
      held[i / W] = now;
      most = max(most, absolute(now));
      strange = fma(now, set1(0), strange);
    }
    const bool finite = sum(strange) == 0;
    const float top = finite ? largest(most) : 0, inverse = 127 / top;  // beyond the range for next to nothing
    const bool counts = inverse <= 3e38f;
    int32_t total = 0;
    for (int i = 0; i < count; i += W)
      total += keep_inputs(inputs + start + i, counts ? round(held[i / W] * set1(inverse)) : set1(0),
                           count - i < W ? count - i : W);
    q.scale[m * q.shares + share] = finite ? top / 127 : std::nanf("");
    q.excess[m * q.shares + share] = 128 * total;
  }
}

// R rows, from m on, by the outputs of a block; their sums, but for the outputs' scales.
template <int R, bool Ahead>
inline void block_pass(const uint8_t *block, const Quantised &q, int64_t m, float *sums) {
  constexpr int vectors = kBlock / Bytes::lanes, wide = Bytes::wide;
  for (int first = 0; first < vectors; first += wide) {
    V whole[R][wide];
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < wide; ++i) whole[r][i] = set1(0);
    const uint8_t *w = block + first * Bytes::lanes * 4;
    const Bytes::Input *x = q.inputs + m * q.row;
    int64_t left = q.row / 4;
    for (int64_t share = m * q.shares; left > 0; ++share, left -= kTogether / 4) {
      Bytes::Sums total[R][wide];
      for (int r = 0; r < R; ++r)
        for (int i = 0; i < wide; ++i) total[r][i] = Bytes::all(-q.excess[share + r * q.shares]);
      const int groups = left < kTogether / 4 ? int(left) : kTogether / 4;
      for (int group = 0; group < groups; ++group, w += kBlock * 4, x += 4) {
        if (Ahead && first == 0)
          for (int line = 0; line < 2; ++line) __builtin_prefetch(w + kAhead / 2 + 64 * line, 0, 2);
        Bytes::Weights weights[wide];
        for (int i = 0; i < wide; ++i) weights[i] = Bytes::weights(w + i * Bytes::lanes * 4);
        for (int r = 0; r < R; ++r) {
          const Bytes::Inputs inputs = Bytes::inputs(x + r * q.row);
          for (int i = 0; i < wide; ++i) total[r][i] = Bytes::add(total[r][i], weights[i], inputs);
        }
      }
      for (int r = 0; r < R; ++r) {
        const V scale = set1(q.scale[share + r * q.shares]);
        for (int i = 0; i < wide; ++i) whole[r][i] = fma(Bytes::numbers(total[r][i]), scale, whole[r][i]);
      }
    }
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < wide; ++i) store(sums + r * kBlock + (first + i) * Bytes::lanes, whole[r][i]);
  }
}

template <int R>
inline void block_rows(bool ahead, int rows, const uint8_t *block, const Quantised &q, int64_t m, float *sums) {
  if (rows == R) {
    if (ahead) return block_pass<R, true>(block, q, m, sums);
    return block_pass<R, false>(block, q, m, sums);
  }
  if constexpr (R > 1) block_rows<R - 1>(ahead, rows, block, q, m, sums);
}

// Sums become outputs: scale, bias, one rounding, then the activation.
template <class T>
inline void emit_int8(const LinearInt8 &a, const float *sums, int64_t m, int64_t n) {
  const int live = a.N - n < kBlock ? int(a.N - n) : kBlock;
  const T *bias = static_cast<const T *>(a.bias);
  T *out = static_cast<T *>(a.out) + m * a.N + n;
  for (int i = 0; i < live; i += W) {
    const int left = live - i < W ? live - i : W;
    const bool whole = left == W;
    V y = load(sums + i) * (whole ? load(a.scale + n + i) : load_n(a.scale + n + i, left));
    if (bias) y = y + (whole ? load(bias + n + i) : load_n(bias + n + i, left));
    if (a.activation != Activation::none) y = activate(a.activation, rounded<T>(y));
    whole ? store(out + i, y) : store_n(out + i, y, left);
  }
}

template <class T>
void linear_int8_typed(const LinearInt8 &a) {
  if (a.M == 0 || a.N == 0) return;
  const int64_t row = (a.K + 3) / 4 * 4, shares = (a.K + kTogether - 1) / kTogether, blocks = (a.N + kBlock - 1) / kBlock;
  char *memory = static_cast<char *>(scratch(size_t(a.M) * (8 * size_t(shares) + size_t(row) * sizeof(Bytes::Input))));
  const Quantised q{reinterpret_cast<Bytes::Input *>(memory + 8 * a.M * shares), reinterpret_cast<float *>(memory),
                    reinterpret_cast<int32_t *>(memory + 4 * a.M * shares), row, shares};
  const T *x = static_cast<const T *>(a.x);
  spread(a.M, 16, useful_threads(a.threads, a.M * a.K, 1 << 16), [&](int64_t first, int64_t last) {
    for (int64_t m = first; m < last; ++m) quantise_row(x + m * a.x_row, a.K, q, m);
  });
  // As many rows as stay in the second-level cache go by each block of weights.
  const int threads = useful_threads(a.threads, a.N * a.K * (a.M < 4 ? 4 : a.M), 1 << 19);
  int64_t near = kRowBytes / (row * int64_t(sizeof(Bytes::Input)) + 1) / Bytes::rows * Bytes::rows;
  if (near < 4 * Bytes::rows) near = 4 * Bytes::rows;
  const int64_t parts = (a.M + near - 1) / near;
  near = ((a.M + parts - 1) / parts + Bytes::rows - 1) / Bytes::rows * Bytes::rows;
  const int64_t wanted = threads == 1 ? 1 : (12 * threads + parts - 1) / parts;
  int64_t grain = blocks / wanted;
  const int64_t least = (1 << 19) / (kBlock * a.K * (a.M < 4 ? 4 : near < a.M ? near : a.M) + 1);
  grain = (grain > least ? grain : least) + 1;
  const int64_t pieces = (blocks + grain - 1) / grain;
  spread(parts * pieces, 1, threads, [&](int64_t first_task, int64_t last_task) {
    float sums[Bytes::rows * kBlock];
    for (int64_t task = first_task; task < last_task; ++task) {
      const int64_t m_first = task / pieces * near, m_last = m_first + near < a.M ? m_first + near : a.M;
      const int64_t b_first = task % pieces * grain, b_last = b_first + grain < blocks ? b_first + grain : blocks;
      for (int64_t b = b_first; b < b_last; ++b) {
        for (int64_t m = m_first; m < m_last; m += Bytes::rows) {
          const int rows = m_last - m < Bytes::rows ? int(m_last - m) : Bytes::rows;
          block_rows<Bytes::rows>(m == m_first, rows, a.weight + b * kBlock * row, q, m, sums);
          for (int r = 0; r < rows; ++r) emit_int8<T>(a, sums + r * kBlock, m + r, b * kBlock);
        }
      }
    }
  });
}

inline void linear_int8(const LinearInt8 &a) {
  switch (a.type) {
    case Type::f32: return linear_int8_typed<float>(a);
    case Type::bf16: return linear_int8_typed<bf16>(a);
    case Type::f16: return linear_int8_typed<f16>(a);
  }
}

}  // namespace enfold::kernels::ENFOLD_ISA
