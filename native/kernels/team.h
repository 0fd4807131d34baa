#pragma once

#include <cstdint>

namespace enfold::kernels {

// Runs call(context, piece) for every piece in [0, pieces), by the caller and at most `threads` - 1 helpers, and returns
// when all are done. Helpers take pieces as they come; one that the system has put aside takes none, and the caller
// does its share: on a busy machine a job is never slower than on one thread by more than a piece. A second caller at
// the same time, from another thread, works alone.
void share_out(int64_t pieces, int threads, void (*call)(const void *context, int64_t piece), const void *context);

// The most pieces that one job may have.
constexpr int64_t most_pieces = int64_t(1) << 20;

}  // namespace enfold::kernels
