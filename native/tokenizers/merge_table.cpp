#include "merge_table.hpp"

#include <algorithm>

namespace enfold::tok {

namespace {

// How many merges in a row make the same token, at most; 0 if the tokens do not have their ids in the merges' order.
std::size_t longest_run(const Table<MergeTable::Merge>& merges) {
  std::size_t longest = 0, run = 0;
  Id last = kNoId;
  for (const auto& merge : merges) {
    if (merge.made < last) return 0;
    run = merge.made == last ? run + 1 : 1;
    longest = std::max(longest, run);
    last = merge.made;
  }
  return longest;
}

}  // namespace

MergeTable::MergeTable(const Table<Merge>& merges, std::size_t id_limit) : buckets_(empty(merges.size() / 2 + 2)) {
  constexpr int kMostBits = 30;  // of a rank: one is left for a sign, and one for those that are never
  const int id_bits = std::bit_width(id_limit);
  const std::size_t longest = longest_run(merges);
  const int same_bits = longest ? std::bit_width(longest - 1) : 0;
  const bool by_id = longest && id_bits + same_bits <= kMostBits && 3 * id_bits + same_bits <= 64;
  const int rank_bits = by_id ? id_bits + same_bits : std::bit_width(merges.size());
  if (by_id) same_bits_ = same_bits;
  else made_.resize(merges.size());
  if (2 * id_bits + rank_bits > 64) {
    wide_.assign(buckets_.size() * kBucket, kNever);
  } else {
    id_bits_ = id_bits;
    rank_bits_ = rank_bits;
    rank_mask_ = (std::uint64_t{1} << rank_bits) - 1;
  }
  constexpr std::size_t kAhead = 16;
  std::uint32_t same = 0;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    if (i + kAhead < merges.size()) prefetch(merges[i + kAhead].left, merges[i + kAhead].right);
    same = i && merges[i].made == merges[i - 1].made ? same + 1 : 0;
    const auto rank = by_id ? static_cast<std::uint32_t>(merges[i].made) << same_bits | same
                            : static_cast<std::uint32_t>(i);
    if (!by_id) made_[i] = merges[i].made;
    set(merges[i], rank);
  }
}

std::size_t MergeTable::find(std::uint64_t key) const {
  for (std::size_t i = place(key);; i = after(i)) {
    for (std::size_t k = 0; k < kBucket; ++k) {
      const std::uint64_t entry = buckets_[i].entries[k];
      if (entry == kEmpty || entry >> rank_bits_ == key) return i * kBucket + k;
    }
  }
}

void MergeTable::set(const Merge& merge, std::uint32_t rank) {
  const std::uint64_t key = key_of(merge.left, merge.right);
  const std::size_t at = find(key);
  buckets_[at / kBucket].entries[at % kBucket] = wide_.empty() ? key << rank_bits_ | rank : key;
  if (!wide_.empty()) wide_[at] = rank;
}

std::vector<MergeTable::Ranked> MergeTable::in_order() const {
  // Counted: first what is made tells the place, then the rest of the rank.
  std::vector<std::uint32_t> first;
  std::size_t count = made_.size();
  if (made_.empty()) {
    each([&](const Merge& merge, std::uint32_t rank) {
      const auto made = static_cast<std::size_t>(merge.made);
      if (made >= first.size()) first.resize(made + made / 2 + 1);
      first[made] = std::max(first[made], (rank & ((1u << same_bits_) - 1)) + 1);
    });
    count = 0;
    for (std::uint32_t& places : first) {
      const std::uint32_t n = places;
      places = static_cast<std::uint32_t>(count);
      count += n;
    }
  }
  std::vector<Ranked> out(count, {{kNoId, kNoId, kNoId}, kNever});
  each([&](const Merge& merge, std::uint32_t rank) {
    const std::size_t at = made_.empty() ? first[static_cast<std::size_t>(merge.made)] + (rank & ((1u << same_bits_) - 1))
                                         : rank;
    out[at] = {merge, rank};
  });
  std::erase_if(out, [](const Ranked& ranked) { return ranked.rank == kNever; });  // pairs that came again
  return out;
}

std::vector<std::uint32_t> MergeTable::lowest_ranks(std::size_t id_limit) const {
  std::vector<std::uint32_t> lowest(id_limit, kNever);
  for (std::size_t id = 0; made_.empty() && id < id_limit; ++id) lowest[id] = static_cast<std::uint32_t>(id << same_bits_);
  for (std::uint32_t rank = 0; rank < made_.size(); ++rank) {
    std::uint32_t& of = lowest[static_cast<std::size_t>(made_[rank])];
    of = std::min(of, rank);
  }
  return lowest;
}

std::uint32_t MergeTable::wide_rank(Id a, Id b) const { return wide_[find(key_of(a, b))]; }

}  // namespace enfold::tok
