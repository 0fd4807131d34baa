// One vector of fp32 lanes, `V`, in the widest form that this translation unit is compiled for. Everything is inside a
// namespace named after the instruction set: an inline function compiled with AVX-512 must never be the copy that the
// linker keeps for the others.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace enfold::kernels::ENFOLD_ISA {

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}
inline float to_float(f16 x) {
  const uint32_t sign = uint32_t(x.bits & 0x8000) << 16, rest = uint32_t(x.bits & 0x7fff);
  float out;
  if (rest >= 0x7c00) {  // infinity and NaN
    const uint32_t bits = sign | 0x7f800000 | (rest & 0x3ff) << 13;
    std::memcpy(&out, &bits, 4);
    return out;
  }
  // The exponent is re-biased by a multiplication, which makes subnormals come out right too.
  const uint32_t bits = rest << 13;
  std::memcpy(&out, &bits, 4);
  out *= 0x1p112f;
  return sign ? -out : out;
}

template <class T>
inline T from_float(float x);
template <>
inline float from_float<float>(float x) {
  return x;
}
template <>
inline bf16 from_float<bf16>(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (x != x) return {uint16_t(bits >> 16 | 0x40)};
  return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
template <>
inline f16 from_float<f16>(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return {uint16_t(sign | 0x7e00)};
  if (size >= 0x477ff000) return {uint16_t(sign | 0x7c00)};  // rounds beyond 65504
  if (size < 0x38800000) {                                   // subnormal: let an fp32 addition do the rounding
    float y;
    std::memcpy(&y, &size, 4);
    y += 0.5f;
    uint32_t rounded;
    std::memcpy(&rounded, &y, 4);
    return {uint16_t(sign | (rounded - 0x3f000000))};
  }
  return {uint16_t(sign | ((size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13))};
}

#if defined(__AVX512F__)

constexpr int W = 16;
struct V {
  __m512 v;
};
inline __mmask16 first(int n) { return __mmask16((1u << n) - 1); }

inline V set1(float x) { return {_mm512_set1_ps(x)}; }
inline V load(const float *p) { return {_mm512_loadu_ps(p)}; }
inline V load_n(const float *p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
inline __m512 widen(__m256i x, bf16) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
inline __m512 widen(__m256i x, f16) { return _mm512_cvtph_ps(x); }
template <class T>
inline V load(const T *p) {
  return {widen(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)), T{})};
}
template <class T>
inline V load_n(const T *p, int n) {
  return {widen(_mm256_maskz_loadu_epi16(first(n), p), T{})};
}
inline __m256i narrow(V x, bf16) {
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}
inline __m256i narrow(V x, f16) { return _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline void store(float *p, V x) { _mm512_storeu_ps(p, x.v); }
inline void store_n(float *p, V x, int n) { _mm512_mask_storeu_ps(p, first(n), x.v); }
template <class T>
inline void store(T *p, V x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), narrow(x, T{}));
}
template <class T>
inline void store_n(T *p, V x, int n) {
  _mm256_mask_storeu_epi16(p, first(n), narrow(x, T{}));
}
inline V operator+(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
inline V operator-(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline V operator*(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline V operator/(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
inline V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// A NaN in b comes out; one in a doesn't.
inline V max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }
inline V min(V a, V b) { return {_mm512_min_ps(a.v, b.v)}; }
inline V round(V x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline V scale2(V x, V n) { return {_mm512_scalef_ps(x.v, n.v)}; }
inline V with_sign(V x, V sign) {
  const __m512i top = _mm512_set1_epi32(int(0x80000000));
  const __m512i a = _mm512_andnot_si512(top, _mm512_castps_si512(x.v));
  return {_mm512_castsi512_ps(_mm512_or_si512(a, _mm512_and_si512(top, _mm512_castps_si512(sign.v))))};
}
inline V where_less(V a, V b, V yes, V no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
// Lanes 2i and 2i + 1 change places.
inline V swapped(V x) { return {_mm512_permute_ps(x.v, 0xb1)}; }
// a - b in even lanes, a + b in odd ones.
inline V subtract_add(V a, V b) { return {_mm512_fmaddsub_ps(a.v, _mm512_set1_ps(1.0f), b.v)}; }
inline __m256 halves(V x) { return _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1)); }

#elif defined(__AVX2__)

constexpr int W = 8;
struct V {
  __m256 v;
};

inline V set1(float x) { return {_mm256_set1_ps(x)}; }
inline V load(const float *p) { return {_mm256_loadu_ps(p)}; }
inline __m256i first(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline V load_n(const float *p, int n) { return {_mm256_maskload_ps(p, first(n))}; }
inline __m256 widen(__m128i x, bf16) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
inline __m256 widen(__m128i x, f16) { return _mm256_cvtph_ps(x); }
template <class T>
inline V load(const T *p) {
  return {widen(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)), T{})};
}
template <class T>
inline V load_n(const T *p, int n) {
  T part[W] = {};
  for (int i = 0; i < n; ++i) part[i] = p[i];
  return load(part);
}
inline __m128i narrow(V x, bf16) {
  const __m256i bits = _mm256_castps_si256(x.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i out = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(out), _mm256_extracti128_si256(out, 1));
}
inline __m128i narrow(V x, f16) { return _mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline void store(float *p, V x) { _mm256_storeu_ps(p, x.v); }
inline void store_n(float *p, V x, int n) { _mm256_maskstore_ps(p, first(n), x.v); }
template <class T>
inline void store(T *p, V x) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(p), narrow(x, T{}));
}
template <class T>
inline void store_n(T *p, V x, int n) {
  T part[W];
  store(part, x);
  for (int i = 0; i < n; ++i) p[i] = part[i];
}
inline V operator+(V a, V b) { return {_mm256_add_ps(a.v, b.v)}; }
inline V operator-(V a, V b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline V operator*(V a, V b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline V operator/(V a, V b) { return {_mm256_div_ps(a.v, b.v)}; }
inline V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline V max(V a, V b) { return {_mm256_max_ps(a.v, b.v)}; }
inline V min(V a, V b) { return {_mm256_min_ps(a.v, b.v)}; }
inline V round(V x) { return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline __m256 power2(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
// x · 2ⁿ in two factors, so that neither leaves the range of normal numbers for |n| < 250.
inline V scale2(V x, V n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(whole, 1);
  return {_mm256_mul_ps(_mm256_mul_ps(x.v, power2(half)), power2(_mm256_sub_epi32(whole, half)))};
}
inline V with_sign(V x, V sign) {
  const __m256 top = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(top, x.v), _mm256_and_ps(top, sign.v))};
}
inline V where_less(V a, V b, V yes, V no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
inline V swapped(V x) { return {_mm256_permute_ps(x.v, 0xb1)}; }
inline V subtract_add(V a, V b) { return {_mm256_addsub_ps(a.v, b.v)}; }
inline __m256 halves(V x) { return x.v; }

#else

constexpr int W = 4;
typedef float Lanes __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(16)));
struct V {
  Lanes v;
};

inline V set1(float x) { return {Lanes{x, x, x, x}}; }
inline V load(const float *p) {
  V out;
  std::memcpy(&out, p, sizeof out);
  return out;
}
inline V load(const bf16 *p) {
  typedef uint16_t Shorts __attribute__((vector_size(8)));
  typedef uint32_t Words __attribute__((vector_size(16)));
  Shorts narrow;
  std::memcpy(&narrow, p, sizeof narrow);
  const Words wide = __builtin_convertvector(narrow, Words) << 16;
  V out;
  std::memcpy(&out, &wide, sizeof out);
  return out;
}
inline V load(const f16 *p) {
  return {Lanes{to_float(p[0]), to_float(p[1]), to_float(p[2]), to_float(p[3])}};
}
template <class T>
inline V load_n(const T *p, int n) {
  V out = set1(0);
  for (int i = 0; i < n; ++i) out.v[i] = to_float(p[i]);
  return out;
}
inline void store(float *p, V x) { std::memcpy(p, &x, sizeof x); }
template <class T>
inline void store(T *p, V x) {
  for (int i = 0; i < W; ++i) p[i] = from_float<T>(x.v[i]);
}
template <class T>
inline void store_n(T *p, V x, int n) {
  for (int i = 0; i < n; ++i) p[i] = from_float<T>(x.v[i]);
}
inline V operator+(V a, V b) { return {a.v + b.v}; }
inline V operator-(V a, V b) { return {a.v - b.v}; }
inline V operator*(V a, V b) { return {a.v * b.v}; }
inline V operator/(V a, V b) { return {a.v / b.v}; }
inline V fma(V a, V b, V c) {
#if defined(__ARM_FEATURE_FMA)
  V out;
  for (int i = 0; i < W; ++i) out.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return out;
#else
  return {a.v * b.v + c.v};
#endif
}
inline V max(V a, V b) { return {a.v > b.v ? a.v : b.v}; }
inline V min(V a, V b) { return {a.v < b.v ? a.v : b.v}; }
inline V round(V x) {
  V out;
  for (int i = 0; i < W; ++i) out.v[i] = std::nearbyintf(x.v[i]);
  return out;
}
inline V scale2(V x, V n) {
  const Ints number = n.v == n.v;
  const Lanes finite = number ? n.v : Lanes{};
  const Ints whole = __builtin_convertvector(finite, Ints), half = whole >> 1;
  const Ints a = (half + 127) << 23, b = (whole - half + 127) << 23;
  Lanes fa, fb;
  std::memcpy(&fa, &a, sizeof a);
  std::memcpy(&fb, &b, sizeof b);
  return {x.v * fa * fb};
}
inline V with_sign(V x, V sign) {
  for (int i = 0; i < W; ++i) x.v[i] = __builtin_copysignf(x.v[i], sign.v[i]);
  return x;
}
inline V where_less(V a, V b, V yes, V no) { return {a.v < b.v ? yes.v : no.v}; }
inline V swapped(V x) { return {Lanes{x.v[1], x.v[0], x.v[3], x.v[2]}}; }
inline V subtract_add(V a, V b) {
  const Lanes less = a.v - b.v, more = a.v + b.v;
  return {Lanes{less[0], more[1], less[2], more[3]}};
}

#endif

// Four numbers, a quarter, half or whole vector.
#if defined(__AVX2__)
using Four = __m128;
// The sums of four vectors' lanes, each in the same order.
inline Four sum4(V a, V b, V c, V d) {
  const __m256 abcd = _mm256_hadd_ps(_mm256_hadd_ps(halves(a), halves(b)), _mm256_hadd_ps(halves(c), halves(d)));
  return _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1));
}
inline void store4(float *p, Four x) { _mm_storeu_ps(p, x); }
#if defined(__AVX512F__)
inline V join(const Four *x) {
  const __m256 low = _mm256_set_m128(x[1], x[0]), high = _mm256_set_m128(x[3], x[2]);
  return {_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)};
}
#else
inline V join(const Four *x) { return {_mm256_set_m128(x[1], x[0])}; }
#endif
#else
using Four = Lanes;
inline float sum_lanes(V x) { return (x.v[0] + x.v[1]) + (x.v[2] + x.v[3]); }
inline Four sum4(V a, V b, V c, V d) { return Lanes{sum_lanes(a), sum_lanes(b), sum_lanes(c), sum_lanes(d)}; }
inline void store4(float *p, Four x) { std::memcpy(p, &x, sizeof x); }
inline V join(const Four *x) { return {*x}; }
#endif

inline float sum(V x) {
  float out[4];
  store4(out, sum4(x, x, x, x));
  return out[0];
}
inline float largest(V x) {
  float lanes[W];
  store(lanes, x);
  float out = lanes[0];
  for (int i = 1; i < W; ++i) out = lanes[i] > out ? lanes[i] : out;
  return out;
}

// x as it would be after being stored in T and read again.
template <class T>
inline V rounded(V x) {
  T kept[W];
  store(kept, x);
  return load(kept);
}
template <>
inline V rounded<float>(V x) {
  return x;
}
#if defined(__AVX2__)
template <>
inline V rounded<bf16>(V x) {
  return {widen(narrow(x, bf16{}), bf16{})};
}
template <>
inline V rounded<f16>(V x) {
  return {widen(narrow(x, f16{}), f16{})};
}
#endif

// eˣ to about one unit in the last place: x = n ln 2 + r with |r| ≤ ln 2 / 2, and a degree-6 minimax polynomial in r.
inline V exp(V x) {
  x = min(set1(89.0f), max(set1(-104.0f), x));
  const V n = round(x * set1(1.44269504f));
  V r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  V p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(p, r * r, r + set1(1.0f));
  return scale2(p, n);
}

inline V absolute(V x) { return with_sign(x, set1(0)); }

// tanh x = x · rational for small |x|, where 1 - 2 / (e²ˣ + 1) would cancel.
inline V tanh(V x) {
  const V a = absolute(x);
  const V large = set1(1.0f) - set1(2.0f) / (exp(a + a) + set1(1.0f));
  const V z = x * x;
  V p = set1(-5.70498872745e-3f);
  p = fma(p, z, set1(2.06390887954e-2f));
  p = fma(p, z, set1(-5.37397155531e-2f));
  p = fma(p, z, set1(1.33314422036e-1f));
  p = fma(p, z, set1(-3.33332819422e-1f));
  const V small = fma(p * z, x, x);
  return where_less(a, set1(0.625f), small, with_sign(large, x));
}

}  // namespace enfold::kernels::ENFOLD_ISA
