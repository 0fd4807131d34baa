#pragma once

#include "simd.h"

namespace enfold::kernels::ENFOLD_ISA {

inline V silu(V x) { return x / (set1(1.0f) + exp(set1(0) - x)); }
// ½ (1 + tanh u) is the logistic function of 2u, which needs one exponential and cancels nowhere.
inline V gelu_tanh(V x) {
  const V u = set1(2 * 0.7978845608f) * fma(set1(0.044715f) * x * x, x, x);
  return x / (set1(1.0f) + exp(set1(0) - u));
}
// The odd rational approximation on [-4, 4] that Eigen uses: within 5e-7, and half the work of one with an exponential.
inline V erf(V x) {
  const V four = set1(4.0f), c = min(four, max(set1(-4.0f), x)), z = c * c;
  V p = set1(-2.72614225801306e-10f);
  p = fma(p, z, set1(2.77068142495902e-08f));
  p = fma(p, z, set1(-2.10102402082508e-06f));
  p = fma(p, z, set1(-5.69250639462346e-05f));
  p = fma(p, z, set1(-7.34990630326855e-04f));
  p = fma(p, z, set1(-2.95459980854025e-03f));
  p = fma(p, z, set1(-1.60960333262415e-02f));
  V q = set1(-1.45660718464996e-05f);
  q = fma(q, z, set1(-2.13374055278905e-04f));
  q = fma(q, z, set1(-1.68282697438203e-03f));
  q = fma(q, z, set1(-7.37332916720468e-03f));
  q = fma(q, z, set1(-1.42647390514189e-02f));
  return where_less(absolute(x), four, c * p / q, with_sign(set1(1.0f), x));
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
