#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vocabulary.hpp"

namespace enfold::tok {

// Merges of BPE by the two tokens that they join. A word that is new asks for pairs all over the table, mostly for such
// that are not there, and waits for memory most of its time: so an entry is as small as it can be, two ids and a rank
// in eight bytes. What a merge makes lies apart, by rank; few that are looked up are ever carried out.
class MergeTable {
 public:
  static constexpr std::uint32_t kNever = 0xFFFFFFFFu;

  MergeTable() = default;
  // Room for merges of ranks below `count` between ids below `id_limit`.
  MergeTable(std::size_t count, std::size_t id_limit);

  // Sets the rank of a pair and what it makes; the last one counts.
  void set(Id a, Id b, std::uint32_t rank, Id made);
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
  Id made(std::uint32_t rank) const { return made_[rank]; }
  // Ask for the memory that rank() or made() will look at.
  void prefetch(Id a, Id b) const { tok::prefetch(&buckets_[place(key_of(a, b))]); }
  void prefetch_made(std::uint32_t rank) const { tok::prefetch(&made_[rank]); }
  std::size_t size() const { return made_.size(); }  // ranks

  // Calls f(a, b, rank, made) for each merge, in no order.
  template <typename F>
  void each(F&& f) const {
    for (std::size_t i = 0; i < buckets_.size() * kBucket; ++i) {
      const std::uint64_t entry = buckets_[i / kBucket].entries[i % kBucket];
      if (entry == kEmpty) continue;
      const std::uint64_t key = entry >> rank_bits_;
      const auto rank = wide_.empty() ? static_cast<std::uint32_t>(entry & rank_mask_) : wide_[i];
      f(static_cast<Id>(key >> id_bits_), static_cast<Id>(key & ((std::uint64_t{1} << id_bits_) - 1)), rank, made_[rank]);
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // no rank has all its bits set
  static constexpr std::size_t kBucket = 4;
  struct alignas(8 * kBucket) Bucket {
    std::uint64_t entries[kBucket];
  };
  static std::vector<Bucket> empty(std::size_t count) {
    Bucket made;
    for (std::uint64_t& entry : made.entries) entry = kEmpty;
    return std::vector<Bucket>(count, made);
  }
  std::uint64_t key_of(Id a, Id b) const {
    return static_cast<std::uint64_t>(a) << id_bits_ | static_cast<std::uint32_t>(b);
  }
  std::size_t place(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ull >> 32) * buckets_.size() >> 32);
  }
  std::size_t after(std::size_t bucket) const { return bucket + 1 == buckets_.size() ? 0 : bucket + 1; }
  // Where the entry of a pair is or would be: bucket and place in it, as one number.
  std::size_t find(std::uint64_t key) const;
  std::uint32_t wide_rank(Id a, Id b) const;

  int id_bits_ = 32, rank_bits_ = 0;
  std::uint64_t rank_mask_ = 0;
  std::vector<Bucket> buckets_ = empty(1);
  std::vector<std::uint32_t> wide_;  // ranks, where they don't fit beside the ids
  std::vector<Id> made_;             // by rank
};

}  // namespace enfold::tok
