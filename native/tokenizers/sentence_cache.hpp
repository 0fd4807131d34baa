#pragma once

#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "vocabulary.hpp"

namespace enfold::tok {

// A token of a word: characters [begin, end) of it.
struct WordToken {
  Id id;
  std::uint32_t begin, end;
};

// What the plan of Unigram keeps between calls: the tokens of words seen before. Bounded:
// every word has one slot of a cache line, a newcomer takes it over.
struct SentenceMemory {
  static constexpr std::size_t kMaxBytes = 23, kMaxTokens = 6;
  struct alignas(64) Slot {
    std::uint64_t key[3];  // the word's bytes, zeros behind them, in the last byte its length; no word has length 0
    Id ids[kMaxTokens];
    std::uint8_t begin[kMaxTokens], end[kMaxTokens];
    std::uint8_t count;
  };
  static_assert(sizeof(Slot) == 64);

  // Where a word of at most kMaxBytes bytes may be, with as many readable behind `p`. Its memory is asked for: time that
  // goes by until find() is not lost.
  struct Key {
    std::uint64_t part[3];
    Slot* slots;
  };
  Key key_of(const char* p, std::size_t n) {
    if (!slots_) allocate();
    Key key;
    std::memcpy(key.part, p, sizeof key.part);
    mask(key.part, n);
    const std::uint64_t hash = mix(key.part[0] ^ 0x9E3779B97F4A7C15ull, key.part[1] ^ 0xD6E8FEB86659FD93ull) ^
                               mix(key.part[2] ^ 0x8BB84B93962EACC9ull, 0x4B33A62ED433D4A3ull);
    key.slots = slots_ + ((hash ^ hash >> 32) & (kSlots - 2));
    prefetch(key.slots);
    prefetch(key.slots + 1);
    return key;
  }
  // Null if the word is not known.
  static const Slot* find(const Key& key) {
    for (const Slot* slot : {key.slots, key.slots + 1}) {
      if (slot->key[0] == key.part[0] && slot->key[1] == key.part[1] && slot->key[2] == key.part[2]) return slot;
    }
    return nullptr;
  }
  // The slot for a new word; the one that came before the last gives way.
  static Slot& add(const Key& key) {
    key.slots[1] = key.slots[0];
    std::memcpy(key.slots[0].key, key.part, sizeof key.part);
    return key.slots[0];
  }

  std::vector<WordToken> found;

 private:
  // Clears what lies behind the word and notes its length. Byte masks read from a window over ones and zeros fit either
  // byte order.
  static void mask(std::uint64_t (&key)[3], std::size_t n) {
    static constexpr auto kWindow = [] {
      std::array<char, 48> bytes{};
      for (std::size_t i = 0; i < 24; ++i) bytes[i] = static_cast<char>(0xFF);
      return bytes;
    }();
    const char* const window = kWindow.data() + (24 - n);
    for (std::size_t k = 0; k < 3; ++k) key[k] &= load64(window + 8 * k);
    key[2] |= static_cast<std::uint64_t>(n) << (std::endian::native == std::endian::little ? 56 : 0);
  }
  void allocate() {
    // Pages that no word has touched cost nothing.
    void* const p = std::calloc(kSlots + 1, sizeof(Slot));
    if (!p) throw std::bad_alloc();
    memory_.reset(p);
    const auto at = (reinterpret_cast<std::uintptr_t>(p) + sizeof(Slot) - 1) & ~(sizeof(Slot) - 1);
    slots_ = reinterpret_cast<Slot*>(at);
  }
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  static constexpr std::size_t kSlots = 1 << 15;
  std::unique_ptr<void, Free> memory_;
  Slot* slots_ = nullptr;
};

}  // namespace enfold::tok
