#pragma once

#include "simd.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace enfold::kernels::ENFOLD_ISA {

// Calls body(first, last) over [0, count) in pieces of `grain`, by at most `threads` threads. Pieces are handed out as
// threads come free, since a core shared with another process would otherwise hold up the rest.
template <class Body>
inline void spread(int64_t count, [[maybe_unused]] int64_t grain, [[maybe_unused]] int threads, const Body &body) {
#ifdef _OPENMP
  const int64_t pieces = (count + grain - 1) / grain;
  if (pieces < threads) threads = int(pieces);
  if (threads > 1 && !omp_in_parallel()) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t last = (piece + 1) * grain;
      body(piece * grain, last < count ? last : count);
    }
    return;
  }
#endif
  if (count > 0) body(int64_t(0), count);
}

// How many threads are worth waking for `work` units when one of them should have `share` of it at least.
inline int useful_threads(int threads, int64_t work, int64_t share) {
  const int64_t useful = work / share;
  return useful < 1 ? 1 : useful < threads ? int(useful) : threads;
}

}  // namespace enfold::kernels::ENFOLD_ISA
