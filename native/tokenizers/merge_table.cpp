#include "merge_table.hpp"

namespace enfold::tok {

MergeTable::MergeTable(std::size_t count, std::size_t id_limit) : buckets_(empty(count / 2 + 2)), made_(count, kNoId) {
  const int id_bits = std::bit_width(id_limit), rank_bits = std::bit_width(count);
  if (2 * id_bits + rank_bits > 64) {
    wide_.assign(buckets_.size() * kBucket, kNever);
    return;
  }
  id_bits_ = id_bits;
  rank_bits_ = rank_bits;
  rank_mask_ = (std::uint64_t{1} << rank_bits) - 1;
}

std::size_t MergeTable::find(std::uint64_t key) const {
  for (std::size_t i = place(key);; i = after(i)) {
    for (std::size_t k = 0; k < kBucket; ++k) {
      const std::uint64_t entry = buckets_[i].entries[k];
      if (entry == kEmpty || entry >> rank_bits_ == key) return i * kBucket + k;
    }
  }
}

void MergeTable::set(Id a, Id b, std::uint32_t rank, Id made) {
  const std::uint64_t key = key_of(a, b);
  const std::size_t at = find(key);
  buckets_[at / kBucket].entries[at % kBucket] = wide_.empty() ? key << rank_bits_ | rank : key;
  if (!wide_.empty()) wide_[at] = rank;
  made_[rank] = made;
}

std::uint32_t MergeTable::wide_rank(Id a, Id b) const { return wide_[find(key_of(a, b))]; }

}  // namespace enfold::tok
