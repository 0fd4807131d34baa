// Recurrences along sequences that lie one after another in the same rows.
#pragma once

#include "parallel.h"

namespace enfold::kernels::ENFOLD_ISA {

// Channels [c, c + n) of one sequence, n <= W: what each of them remembers lies in the lanes of S vectors.
inline void scan_channels(const SelectiveScan &a, int64_t b, int64_t c, int n, float *memory) {
  float *held = memory, *decay = memory + a.S * W;
  float *state = a.state + (b * a.C + c) * a.S;
  for (int64_t s = 0; s < a.S; ++s)
    for (int i = 0; i < W; ++i) {
      held[s * W + i] = i < n ? state[i * a.S + s] : 0;
      decay[s * W + i] = i < n ? a.decay[(c + i) * a.S + s] : 0;
    }
  for (int64_t t = a.offsets[b]; t < a.offsets[b + 1]; ++t) {
    const float *step_row = a.step + t * a.C + c, *u_row = a.u + t * a.C + c;
    const float *into = a.into + t * a.into_row, *from = a.from + t * a.from_row;
    const V step = n == W ? load(step_row) : load_n(step_row, n);
    const V update = step * (n == W ? load(u_row) : load_n(u_row, n));
    V total = set1(0);
    for (int64_t s = 0; s < a.S; ++s) {
      const V kept = exp(step * load(decay + s * W)) * load(held + s * W);
      const V h = fma(update, set1(into[s]), kept);
      store(held + s * W, h);
      total = fma(h, set1(from[s]), total);
    }
    float *out = a.out + t * a.C + c;
    n == W ? store(out, total) : store_n(out, total, n);
  }
  for (int64_t s = 0; s < a.S; ++s)
    for (int i = 0; i < n; ++i) state[i * a.S + s] = held[s * W + i];
}

inline void selective_scan(const SelectiveScan &a) {
  const int64_t blocks = (a.C + W - 1) / W;
  const int threads = useful_threads(a.threads, a.offsets[a.B] * a.C * a.S, 1 << 15);
  spread(a.B * blocks, threads == 1 ? a.B * blocks : 1, threads, [&](int64_t first, int64_t last) {
    float *memory = static_cast<float *>(scratch(size_t(2 * a.S * W) * sizeof(float)));
    for (int64_t task = first; task < last; ++task) {
      const int64_t c = task % blocks * W, left = a.C - c;
      scan_channels(a, task / blocks, c, left < W ? int(left) : W, memory);
    }
  });
}

}  // namespace enfold::kernels::ENFOLD_ISA
