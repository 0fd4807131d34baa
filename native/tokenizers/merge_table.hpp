#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "table_memory.hpp"
#include "vocabulary.hpp"

namespace enfold::tok {

// Merges of BPE by the two tokens that they join. A word that is new asks for pairs all over the table, mostly for such
// that are not there, and waits for memory most of its time: so an entry is as small as it can be, two ids and a rank
// in eight bytes. Where tokens have their ids in the order of the merges that make them, as most vocabularies do, the
// rank is the id of what is made and the merge's place among those that make the same; else what a merge makes lies
// apart, by rank.
class MergeTable {
 public:
  static constexpr std::uint32_t kNever = 0xFFFFFFFFu;
  struct Merge {
    Id left, right, made;
  };

  MergeTable() = default;
  // In the order in which they apply, between ids below `id_limit`; of two of the same pair the last one counts.
  MergeTable(const Table<Merge>& merges, std::size_t id_limit);

  // The rank of the merge of two tokens, kNever if there is none. Whether there is one is what no processor can guess,
  // so there is no branch on it.
  std::uint32_t rank(Id a, Id b) const {
    if ((a | b) < 0) return kNever;
    if (!wide_.empty()) return wide_rank(a, b);
    const std::uint64_t key = key_of(a, b);
    for (std::size_t i = place(key);; i = after(i)) {
      const Bucket& bucket = buckets_[i];
      std::uint64_t found = kEmpty;
      for (const std::uint64_t entry : bucket.entries) found = entry >> rank_bits_ == key ? entry : found;
      const std::uint32_t rank = found == kEmpty ? kNever : static_cast<std::uint32_t>(found & rank_mask_);
      if ((found != kEmpty) | (bucket.entries[kBucket - 1] == kEmpty)) return rank;
    }
  }
  Id made(std::uint32_t rank) const { return made_.empty() ? static_cast<Id>(rank >> same_bits_) : made_[rank]; }
  // Ask for the memory that rank() or made() will look at.
  void prefetch(Id a, Id b) const { tok::prefetch(&buckets_[place(key_of(a, b))]); }
  void prefetch_made(std::uint32_t rank) const {
    if (!made_.empty()) tok::prefetch(&made_[rank]);
  }

  // Calls f(merge, rank) for each merge, in no order.
  template <typename F>
  void each(F&& f) const {
    for (std::size_t i = 0; i < buckets_.size() * kBucket; ++i) {
      const std::uint64_t entry = buckets_[i / kBucket].entries[i % kBucket];
      if (entry == kEmpty) continue;
      const std::uint64_t key = entry >> rank_bits_;
      const auto rank = wide_.empty() ? static_cast<std::uint32_t>(entry & rank_mask_) : wide_[i];
      const auto right = static_cast<Id>(key & ((std::uint64_t{1} << id_bits_) - 1));
      f(Merge{static_cast<Id>(key >> id_bits_), right, made(rank)}, rank);
    }
  }
  struct Ranked {
    Merge merge;
    std::uint32_t rank;
  };
  std::vector<Ranked> in_order() const;
  // By id, a rank below which no merge makes the token.
  std::vector<std::uint32_t> lowest_ranks(std::size_t id_limit) const;

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // no rank has all its bits set
  static constexpr std::size_t kBucket = 4;
  struct alignas(8 * kBucket) Bucket {
    std::uint64_t entries[kBucket];
  };
  static Table<Bucket> empty(std::size_t count) {
    Bucket made;
    for (std::uint64_t& entry : made.entries) entry = kEmpty;
    return Table<Bucket>(count, made);
  }
  std::uint64_t key_of(Id a, Id b) const {
    return static_cast<std::uint64_t>(a) << id_bits_ | static_cast<std::uint32_t>(b);
  }
  std::size_t place(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ull >> 32) * buckets_.size() >> 32);
  }
  std::size_t after(std::size_t bucket) const { return bucket + 1 == buckets_.size() ? 0 : bucket + 1; }
  void set(const Merge& merge, std::uint32_t rank);
  // Where the entry of a pair is or would be: bucket and place in it, as one number.
  std::size_t find(std::uint64_t key) const;
  std::uint32_t wide_rank(Id a, Id b) const;

  int id_bits_ = 32, rank_bits_ = 0;
  int same_bits_ = 0;  // of a rank, for merges that make the same token
  std::uint64_t rank_mask_ = 0;
  Table<Bucket> buckets_ = empty(1);
  std::vector<std::uint32_t> wide_;  // ranks, where they don't fit beside the ids
  Table<Id> made_;  // by rank, where the rank does not say it
};

}  // namespace enfold::tok
