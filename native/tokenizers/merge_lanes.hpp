#pragma once

#include <bit>
#include <memory>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "merge_table.hpp"

namespace enfold::tok {

// The merges of several words, side by side: while one waits for memory, others are worked on. A symbol stays where it
// was at first; one that is merged into its left neighbour is only marked, so nothing is ever moved and the search for
// the lowest rank has no branch that depends on the text.
class MergeLanes {
 public:
  static constexpr std::size_t kMost = 64;     // symbols of a word
  static constexpr std::size_t kLanes = 512;
  static constexpr std::int32_t kNever = 0x7FFFFFFF;

  struct Lane {
    std::uint64_t alive;  // symbols that are not merged into another
    std::uint32_t n;            // symbols at first
    std::uint32_t chosen;       // the symbol that the next merge joins with its neighbour
    std::uint32_t next, previous;  // its neighbours after the merge, kMost for none
    std::int32_t ranks[kMost];  // of the pair that begins at each symbol
    Id ids[kMost];
    std::uint8_t begin[kMost + 1];  // bytes of the word before each symbol

    void clear() { n = 0, begin[0] = 0; }
    void add(Id id, std::size_t bytes) {
      ids[n] = id;
      begin[n + 1] = static_cast<std::uint8_t>(begin[n] + bytes);
      ++n;
    }
    // Calls f(id, bytes) for each symbol that is left.
    template <typename F>
    void each(F&& f) const {
      for (std::uint64_t left = alive; left;) {
        const int i = std::countr_zero(left);
        left &= left - 1;
        const std::size_t end = left ? static_cast<std::size_t>(std::countr_zero(left)) : n;
        f(ids[i], static_cast<std::uint32_t>(begin[end] - begin[i]));
      }
    }
  };

  // A new lane, empty; there may be kLanes of them.
  Lane& open() {
    Lane& lane = lanes_[count_++];
    lane.clear();
    return lane;
  }
  void clear() { count_ = 0; }
  const Lane& operator[](std::size_t i) const { return lanes_[i]; }

  // Applies the merges of each word (none is empty), lowest rank first, leftmost among equals. `first(lane, k, i)` is the
  // rank of the symbols i and i + 1 of lane k as they came.
  template <typename First>
  void run(const MergeTable& merges, First&& first) {
    active_.clear();
    for (std::uint32_t k = 0; k < count_; ++k) {
      Lane& lane = lanes_[k];
      lane.alive = lane.n < kMost ? (std::uint64_t{1} << lane.n) - 1 : ~std::uint64_t{0};
      for (std::size_t i = 0; i + 1 < lane.n; ++i) lane.ranks[i] = signed_rank(first(lane, k, i));
      lane.ranks[lane.n - 1] = kNever;
      for (std::size_t i = lane.n; i % kStep; ++i) lane.ranks[i] = kNever;
    }
    for (std::uint32_t k = 0; k < count_; ++k) {
      if (choose(merges, lanes_[k])) active_.push_back(k);
    }
    // Each turn carries out the merge that is chosen in each word, asks for the ranks of the pairs that are new, and
    // chooses the next: one step for all words before the next step, so that none waits for what was just written.
    while (!active_.empty()) {
      for (const std::uint32_t k : active_) carry_out(merges, lanes_[k]);
      for (const std::uint32_t k : active_) {
        Lane& lane = lanes_[k];
        const std::size_t i = lane.chosen;
        if (lane.next < kMost) lane.ranks[i] = signed_rank(merges.rank(lane.ids[i], lane.ids[lane.next]));
        if (lane.previous < kMost) {
          lane.ranks[lane.previous] = signed_rank(merges.rank(lane.ids[lane.previous], lane.ids[i]));
        }
      }
      std::size_t left = 0;
      for (const std::uint32_t k : active_) {
        if (choose(merges, lanes_[k])) active_[left++] = k;
      }
      active_.resize(left);
    }
  }

 private:
  static constexpr std::size_t kStep = 8;  // symbols that are looked at together

  // The same order with a sign, which is all that the oldest vector instructions compare. No rank is that high.
  static std::int32_t signed_rank(std::uint32_t rank) { return static_cast<std::int32_t>(rank & 0x7FFFFFFFu); }

  static bool choose(const MergeTable& merges, Lane& lane) {
    lane.chosen = static_cast<std::uint32_t>(lowest(lane));
    const std::int32_t rank = lane.ranks[lane.chosen];
    if (rank == kNever) return false;
    merges.prefetch_made(static_cast<std::uint32_t>(rank));
    return true;
  }

  static void carry_out(const MergeTable& merges, Lane& lane) {
    const std::size_t i = lane.chosen;
    const std::uint64_t after = lane.alive >> i >> 1;
    const auto right = i + 1 + static_cast<std::size_t>(std::countr_zero(after));
    const std::uint64_t beyond = after & (after - 1), before = lane.alive & ((std::uint64_t{1} << i) - 1);
    lane.ids[i] = merges.made(static_cast<std::uint32_t>(lane.ranks[i]));
    lane.ranks[i] = lane.ranks[right] = kNever;
    lane.alive &= ~(std::uint64_t{1} << right);
    lane.next = lane.previous = kMost;
    if (beyond) {
      lane.next = static_cast<std::uint32_t>(i + 1) + static_cast<std::uint32_t>(std::countr_zero(beyond));
      merges.prefetch(lane.ids[i], lane.ids[lane.next]);
    }
    if (before) {
      lane.previous = 63u - static_cast<std::uint32_t>(std::countl_zero(before));
      merges.prefetch(lane.ids[lane.previous], lane.ids[i]);
    }
  }

  // The first of the symbols whose pair has the lowest rank.
  static std::size_t lowest(const Lane& lane) {
#if defined(__SSE2__)
    const auto at = [&](std::size_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(lane.ranks + i)); };
    const auto lower = [](__m128i a, __m128i b) {
      const __m128i less = _mm_cmplt_epi32(a, b);
      return _mm_or_si128(_mm_and_si128(less, a), _mm_andnot_si128(less, b));
    };
    __m128i least = lower(at(0), at(4));
    for (std::size_t i = kStep; i < lane.n; i += kStep) least = lower(least, lower(at(i), at(i + 4)));
    least = lower(least, _mm_shuffle_epi32(least, 0x4E));
    least = lower(least, _mm_shuffle_epi32(least, 0xB1));
    for (std::size_t i = 0;; i += kStep) {
      const int low = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(at(i), least)));
      const int high = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(at(i + 4), least)));
      if (const int found = low | high << 4) return i + static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(found)));
    }
#else
    std::size_t best = 0;
    for (std::size_t i = 1; i < lane.n; ++i) best = lane.ranks[i] < lane.ranks[best] ? i : best;
    return best;
#endif
  }

  std::unique_ptr<Lane[]> lanes_{new Lane[kLanes]};  // whose memory is not touched before it is needed
  std::size_t count_ = 0;
  std::vector<std::uint32_t> active_;
};

}  // namespace enfold::tok
