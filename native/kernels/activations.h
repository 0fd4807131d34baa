#pragma once

#include "simd.h"

namespace enfold::kernels::ENFOLD_ISA {

inline V silu(V x) { return x / (set1(1.0f) + exp(set1(0) - x)); }
inline V gelu_tanh(V x) {
  const V inner = set1(0.7978845608f) * fma(set1(0.044715f) * x * x, x, x);
  return set1(0.5f) * x * (set1(1.0f) + tanh(inner));
}
// Abramowitz and Stegun 7.1.26 reaches 1.5e-7, as torch's own vectorised erf does.
inline V erf(V x) {
  const V a = absolute(x);
  const V t = set1(1.0f) / fma(set1(0.3275911f), a, set1(1.0f));
  V p = fma(set1(1.061405429f), t, set1(-1.453152027f));
  p = fma(p, t, set1(1.421413741f));
  p = fma(p, t, set1(-0.284496736f));
  p = fma(p, t, set1(0.254829592f));
  return with_sign(set1(1.0f) - p * t * exp(set1(0) - a * a), x);
}
inline V gelu(V x) { return set1(0.5f) * x * (set1(1.0f) + erf(x * set1(0.7071067812f))); }

inline V activate(Activation activation, V x) {
  switch (activation) {
    case Activation::silu: return silu(x);
    case Activation::gelu: return gelu(x);
    case Activation::gelu_tanh: return gelu_tanh(x);
    case Activation::relu: return where_less(x, set1(0), set1(0), x);
    case Activation::none: break;
  }
  return x;
}

}  // namespace enfold::kernels::ENFOLD_ISA
