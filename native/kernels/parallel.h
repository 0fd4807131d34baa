#pragma once

#include "simd.h"
#include "team.h"

namespace enfold::kernels::ENFOLD_ISA {

// Calls body(first, last) over [0, count) in pieces of `grain`, by at most `threads` threads. Pieces are handed out as
// threads come free, since a core shared with another process would otherwise hold up the rest.
template <class Body>
inline void spread(int64_t count, int64_t grain, int threads, const Body &body) {
  if (count <= 0) return;
  int64_t pieces = (count + grain - 1) / grain;
  if (threads < 2 || pieces < 2) return body(int64_t(0), count);
  if (pieces > most_pieces) {
    grain = (count + most_pieces - 1) / most_pieces;
    pieces = (count + grain - 1) / grain;
  }
  struct Job {
    const Body &body;
    int64_t count, grain;
  };
  const Job job{body, count, grain};
  share_out(
      pieces, threads,
      [](const void *context, int64_t piece) {
        const Job &job = *static_cast<const Job *>(context);
        const int64_t last = (piece + 1) * job.grain;
        job.body(piece * job.grain, last < job.count ? last : job.count);
      },
      &job);
}

// How many threads are worth waking for `work` units when one of them should have `share` of it at least.
inline int useful_threads(int threads, int64_t work, int64_t share) {
  const int64_t useful = work / share;
  return useful < 1 ? 1 : useful < threads ? int(useful) : threads;
}

}  // namespace enfold::kernels::ENFOLD_ISA
