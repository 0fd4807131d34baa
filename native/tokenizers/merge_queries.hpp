#pragma once

#include <vector>

#include "merge_lanes.hpp"
#include "models.hpp"
#include "words.hpp"

namespace enfold::tok {

// Words that wait for their merges, no more than Words asks about at once: those that fit into a lane go side by side,
// longer ones by themselves.
class MergeQueries {
 public:
  void clear() {
    lanes_.clear();
    queries_.clear();
  }
  // Takes a word. `start(add)` calls add(id, bytes) for each of its symbols; `asks(bytes)` says whether the rank of two
  // neighbours of so many bytes will be looked for among the merges.
  template <typename Start, typename Asks>
  void add(const Bpe& model, Query& query, Start&& start, Asks&& asks, Buffer<Found>& found) {
    if (query.n > MergeLanes::kMost || model.vocab.has_shared_ids()) {
      symbols_.clear();
      start([&](Id id, std::size_t size) { symbols_.push_back({id, static_cast<std::uint32_t>(size)}); });
      model.merge(symbols_);
      answer(query, [&](auto&& take) { for (const auto& symbol : symbols_) take(symbol.id, symbol.size); }, found);
      return;
    }
    auto& lane = lanes_.open();
    queries_.push_back(&query);
    start([&](Id id, std::size_t size) {
      lane.add(id, size);
      const std::size_t i = lane.n - 1;
      if (i && asks(lane.begin[i + 1] - lane.begin[i - 1])) model.merges().prefetch(lane.ids[i - 1], id);
    });
  }
  // Answers those that were taken. `rank(p, a, b, bytes)` is the rank of two neighbours, which begin at `p`.
  template <typename Rank>
  void run(const Bpe& model, Rank&& rank, Buffer<Found>& found) {
    lanes_.run(model.merges(), [&](const MergeLanes::Lane& lane, std::size_t k, std::size_t i) {
      return rank(queries_[k]->p + lane.begin[i], lane.ids[i], lane.ids[i + 1], lane.begin[i + 2] - lane.begin[i]);
    });
    for (std::size_t k = 0; k < queries_.size(); ++k) {
      answer(*queries_[k], [&](auto&& take) { lanes_[k].each(take); }, found);
    }
  }

 private:
  static_assert(kWordBatch <= MergeLanes::kLanes);
  MergeLanes lanes_;
  std::vector<Query*> queries_;  // of each lane
  std::vector<Bpe::Symbol> symbols_;
};

}  // namespace enfold::tok
