#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "rows.hpp"

namespace enfold::tok {

// A word's tokens as they were found; kept in the cache if they fit.
struct Found {
  Id id;
  std::uint32_t begin, end;  // characters of the word
};

// Tokens of words seen before. A word has two neighbouring slots to stay in; a newcomer takes the place of the one that
// came before the last. Short words, which are most, have small slots of their own. The tables grow with what they hold
// up to a bound, because memory that is touched first costs more than a word does; a huge page, which the system may
// have to clear a place for, costs more than all the words of a text. The tokens of words that have many lie apart from
// the slots, the newest so many of them. Words too long for a slot (rules of a table, lines under titles) are whole
// objects, a few of them.
class WordCache {
 public:
  static constexpr std::size_t kShortKey = 15, kLongKey = 31;  // bytes
  static constexpr std::size_t kShortTokens = 3, kLongTokens = 5;
  struct Short {
    static constexpr std::size_t kParts = 2;
    std::uint64_t key[kParts];  // the word's bytes, zeros behind them, and in the last byte its length
    Id ids[kShortTokens];       // or where more of them are
    std::uint32_t places;       // four bits each: begin and end of the tokens, characters of the word; then the count
  };
  struct Long {
    static constexpr std::size_t kParts = 4;
    std::uint64_t key[kParts];
    Id ids[kLongTokens];
    std::uint8_t begin[kLongTokens], end[kLongTokens];
    std::uint8_t characters, count;
  };
  static_assert(sizeof(Short) == 32 && sizeof(Long) == 64);
  // A word of more than kLongKey bytes, up to kLongest.
  struct Longest {
    std::string bytes;
    bool variant;
    std::uint32_t characters;
    std::vector<Found> tokens;
  };
  static constexpr std::size_t kLongest = 512;
  // A token that lies apart.
  struct Apart {
    Id id;
    std::uint16_t begin, end;
  };

  static std::uint64_t hash_short(const std::uint64_t* key) {
    return mix(key[0] ^ 0x9E3779B97F4A7C15ull, key[1] ^ 0xD6E8FEB86659FD93ull);
  }
  static std::uint64_t hash_long(const std::uint64_t* key) {
    const std::uint64_t h = hash_short(key) ^ mix(key[2] ^ 0x8BB84B93962EACC9ull, key[3] ^ 0x4B33A62ED433D4A3ull);
    return h ^ h >> 32;
  }
  // The first of the two slots where a word may be.
  Short* short_slots(std::uint64_t hash) { return shorts_.pair(hash); }
  Long* long_slots(std::uint64_t hash) { return longs_.pair(hash); }
  // The slot that holds a word, null for none.
  template <typename Slot>
  static const Slot* find(const Slot* slots, const std::uint64_t* key) {
    if (same(*slots, key)) return slots;
    return same(slots[1], key) ? slots + 1 : nullptr;
  }
  // The tokens of a word whose slot tells where they are; null if others have taken their place.
  const Apart* apart(const Id* where) const {
    std::uint64_t at;
    std::memcpy(&at, where, sizeof at);
    return apart_end_ - at <= kApart ? apart_.data() + at % kApart : nullptr;
  }

  // A word longer than kLongKey; null if it is not known.
  const Longest* find_longest(std::uint64_t hash, std::string_view bytes, bool variant) const {
    if (longest_.empty()) return nullptr;
    const Longest& word = longest_[hash % kMostLongest];
    return word.bytes == bytes && word.variant == variant ? &word : nullptr;
  }
  // Keeps one; what had its place goes.
  void add_longest(std::uint64_t hash, std::string_view bytes, bool variant, std::uint32_t characters,
                   const Found* tokens, std::size_t n) {
    if (bytes.size() > kLongest) return;
    if (longest_.empty()) longest_.resize(kMostLongest);
    longest_[hash % kMostLongest] = {std::string(bytes), variant, characters, {tokens, tokens + n}};
  }

  // Keeps a word of `bytes` bytes that is not there. Slots that were asked for before may move.
  void add(const std::uint64_t* key, std::size_t bytes, std::uint32_t characters, const Found* tokens, std::size_t n) {
    if (bytes <= kShortKey) {
      Short& slot = shorts_.add(key, hash_short, kMostShort);
      slot.places = static_cast<std::uint32_t>(characters << 24 | n << 28);
      if (n > kShortTokens) return put_apart(slot.ids, tokens, n);
      for (std::size_t i = 0; i < n; ++i) {
        slot.ids[i] = tokens[i].id;
        slot.places |= (tokens[i].begin | tokens[i].end << 4) << 8 * i;
      }
      return;
    }
    Long& slot = longs_.add(key, hash_long, kMostLong);
    slot.characters = static_cast<std::uint8_t>(characters);
    slot.count = static_cast<std::uint8_t>(n);
    if (n > kLongTokens) return put_apart(slot.ids, tokens, n);
    for (std::size_t i = 0; i < n; ++i) {
      slot.ids[i] = tokens[i].id;
      slot.begin[i] = static_cast<std::uint8_t>(tokens[i].begin);
      slot.end[i] = static_cast<std::uint8_t>(tokens[i].end);
    }
  }

 private:
  template <typename Slot>
  static bool same(const Slot& slot, const std::uint64_t* key) {
    std::uint64_t differs = 0;
    for (std::size_t k = 0; k < Slot::kParts; ++k) differs |= slot.key[k] ^ key[k];
    return !differs;
  }

  template <typename Slot>
  class Pairs {
   public:
    explicit Pairs(std::size_t n) : size_(n), memory_(std::calloc(n + 2, sizeof(Slot))) {
      if (!memory_) throw std::bad_alloc();
      const auto at = reinterpret_cast<std::uintptr_t>(memory_.get());
      slots_ = reinterpret_cast<Slot*>((at + 63) & ~std::uintptr_t{63});
    }
    Slot* pair(std::uint64_t hash) const { return slots_ + (hash & (size_ - 2)); }
    template <typename Hash>
    Slot& add(const std::uint64_t* key, Hash&& hash, std::size_t most) {
      if (used_ > size_ / 2 && size_ < most) {
        Pairs grown(std::min(size_ * 4, most));
        for (const Slot* slot = slots_; slot < slots_ + size_; ++slot) {
          if (!empty(*slot)) grown.newest(hash(slot->key)) = *slot;
        }
        *this = std::move(grown);
      }
      Slot& slot = newest(hash(key));
      std::copy_n(key, Slot::kParts, slot.key);
      return slot;
    }

   private:
    static bool empty(const Slot& slot) { return slot.key[Slot::kParts - 1] == 0; }
    Slot& newest(std::uint64_t hash) {
      Slot* const pair = this->pair(hash);
      used_ += empty(pair[1]);
      pair[1] = pair[0];
      return pair[0];
    }
    struct Free {
      void operator()(void* p) const { std::free(p); }
    };
    std::size_t size_, used_ = 0;
    std::unique_ptr<void, Free> memory_;
    Slot* slots_;
  };

  void put_apart(Id* where, const Found* tokens, std::size_t n) {
    if (apart_.empty()) apart_.resize(kApart);
    std::uint64_t at = apart_end_;
    if (at % kApart + n > kApart) at += kApart - at % kApart;
    for (std::size_t i = 0; i < n; ++i) {
      apart_[at % kApart + i] = {tokens[i].id, static_cast<std::uint16_t>(tokens[i].begin),
                                 static_cast<std::uint16_t>(tokens[i].end)};
    }
    std::memcpy(where, &at, sizeof at);
    apart_end_ = at + n;
  }

  static constexpr std::size_t kMostShort = 1 << 16, kMostLong = 1 << 14, kApart = 1 << 15;
  static constexpr std::size_t kMostLongest = 128;
  Pairs<Short> shorts_{1 << 10};
  Pairs<Long> longs_{1 << 8};
  std::vector<Apart> apart_;
  std::vector<Longest> longest_;
  std::uint64_t apart_end_ = 0;  // all that were ever put apart
};

namespace detail {

// What load_key() does, for bytes that end close to what is readable, or on a big-endian machine.
template <std::size_t kWords>
#if defined(__GNUC__)
__attribute__((noinline))
#endif
void load_key_with_care(const char* p, std::size_t n, unsigned mark, std::uint64_t (&key)[kWords]) {
  char copy[8 * kWords] = {};
  std::memcpy(copy, p, n);
  copy[8 * kWords - 1] = static_cast<char>(mark);
  for (std::size_t k = 0; k < kWords; ++k) key[k] = load64(copy + 8 * k);
}

// Bytes [0, n) of `p` with zeros behind them and `mark` as the last byte.
template <std::size_t kWords>
inline void load_key(const char* p, std::size_t n, const char* limit, unsigned mark, std::uint64_t (&key)[kWords]) {
  if (std::endian::native != std::endian::little || p + 8 * kWords > limit) {
    return load_key_with_care(p, n, mark, key);
  }
  for (std::size_t k = 0; k < kWords; ++k) {
    const std::size_t left = n > 8 * k ? n - 8 * k : 0;
    key[k] = load64(p + 8 * k) & (left >= 8 ? ~0ull : (1ull << 8 * left) - 1);
  }
  key[kWords - 1] |= static_cast<std::uint64_t>(mark) << 56;
}

}  // namespace detail

}  // namespace enfold::tok
