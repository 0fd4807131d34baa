#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "rows.hpp"

namespace enfold::tok {

// Tokens of words seen before. Bounded: every word has one slot of a cache line, a newcomer takes it over.
class WordCache {
 public:
  static constexpr std::size_t kMaxKey = 24, kMaxTokens = 6;
  struct Key {
    std::uint64_t part[3];  // the word's bytes, zero behind them
    std::uint64_t hash;
  };
  struct alignas(64) Slot {
    std::uint64_t part[3];
    Id ids[kMaxTokens];
    std::uint8_t begin[kMaxTokens], end[kMaxTokens];  // characters of the word
    std::uint8_t bytes;                               // length of the key, 0 for an empty slot
    std::uint8_t characters;
    std::uint8_t count;
  };
  static_assert(sizeof(Slot) == 64);

  // Room up to `limit` is readable behind `p`.
  static Key key_of(const char* p, std::size_t n, const char* limit) {
    Key key;
    char copy[kMaxKey];
    if (p + kMaxKey > limit) {
      std::memcpy(copy, p, n);
      std::memset(copy + n, 0, kMaxKey - n);
      p = copy;
    }
    for (std::size_t k = 0; k < 3; ++k) key.part[k] = load64(p + 8 * k);
    // Little or big endian, the bytes behind the word must not count.
    if (n < 8) key.part[0] &= mask(n);
    key.part[1] &= n <= 8 ? 0 : n < 16 ? mask(n - 8) : ~0ull;
    key.part[2] &= n <= 16 ? 0 : n < 24 ? mask(n - 16) : ~0ull;
    key.hash = mix(key.part[0] ^ 0x9E3779B97F4A7C15ull, key.part[1] ^ 0xD6E8FEB86659FD93ull ^ n) ^
               key.part[2] * 0x8BB84B93962EACC9ull;
    key.hash ^= key.hash >> 29;
    return key;
  }
  Slot& at(const Key& key) { return slots_[key.hash & (kSlots - 1)]; }
  static bool holds(const Slot& slot, const Key& key, std::size_t n) {
    return slot.bytes == n && slot.part[0] == key.part[0] && slot.part[1] == key.part[1] && slot.part[2] == key.part[2];
  }

 private:
  static std::uint64_t mask(std::size_t n) {
    char bytes[8] = {};
    std::memset(bytes, 0xFF, n);
    return load64(bytes);
  }
  static constexpr std::size_t kSlots = 1 << 15;
  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
};

// A word's tokens as they were found; kept in the cache if they fit.
struct Found {
  Id id;
  std::uint32_t begin, end;  // characters of the word
};

inline void emit(const WordCache::Slot& slot, std::uint32_t at, std::uint32_t word, Tokens& out) {
  const std::size_t n = slot.count;
  Id* ids = out.ids.extend(n);
  for (std::size_t i = 0; i < n; ++i) ids[i] = slot.ids[i];
  if (out.want_offsets) {
    Span* offsets = out.offsets.extend(n);
    for (std::size_t i = 0; i < n; ++i) offsets[i] = {at + slot.begin[i], at + slot.end[i]};
  }
  if (out.want_words) {
    std::int32_t* words = out.words.extend(n);
    for (std::size_t i = 0; i < n; ++i) words[i] = static_cast<std::int32_t>(word);
  }
}

inline void keep(WordCache::Slot& slot, const WordCache::Key& key, std::size_t bytes, std::size_t characters,
          const std::vector<Found>& found) {
  if (found.size() > WordCache::kMaxTokens) return;
  std::copy(std::begin(key.part), std::end(key.part), slot.part);
  slot.bytes = static_cast<std::uint8_t>(bytes);
  slot.characters = static_cast<std::uint8_t>(characters);
  slot.count = static_cast<std::uint8_t>(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    slot.ids[i] = found[i].id;
    slot.begin[i] = static_cast<std::uint8_t>(found[i].begin);
    slot.end[i] = static_cast<std::uint8_t>(found[i].end);
  }
}

}  // namespace enfold::tok
