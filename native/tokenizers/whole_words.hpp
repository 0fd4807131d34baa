#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <string_view>
#include <vector>

#include "word_cache.hpp"

namespace enfold::tok {

// Words that are one token, by their bytes: 16 bytes for a short one, found by itself; longer ones by their hash.
class WholeWords {
 public:
  static constexpr std::size_t kShort = 11;  // bytes

  WholeWords() = default;
  // Room for so many words, some of which have more than kShort bytes.
  WholeWords(std::size_t words, std::size_t long_words)
      : short_(std::bit_ceil(words * 3 / 2 + 2)), long_(std::bit_ceil(long_words * 2 + 1)), longest_(65536) {}

  bool empty() const { return short_.empty(); }
  // Each word once; finish() when all are there.
  void add(std::string_view bytes, Id id) {
    if (bytes.empty()) return;
    auto& longest = longest_[start_of(bytes.data(), bytes.size())];
    longest = static_cast<std::uint8_t>(std::min<std::size_t>(std::max<std::size_t>(longest, bytes.size()), 255));
    if (bytes.size() > kShort) {
      const std::uint64_t hash = hash_bytes(bytes.data(), bytes.size());
      std::size_t i = hash & (long_.size() - 1);
      while (long_[i].id != kNoId) i = (i + 1) & (long_.size() - 1);
      long_[i] = {hash, static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(bytes.size()), id};
      text_ += bytes;
      return;
    }
    std::uint64_t key[2];
    detail::load_key(bytes.data(), bytes.size(), bytes.data() + bytes.size(), 0, key);
    const Short made{key[0], high_of(key[1], bytes.size()), id};
    tok::prefetch(&short_[place(made.low, made.high)]);
    // It is written when its memory has come.
    Short& waiting = waiting_[waiting_at_++ % waiting_.size()];
    write(waiting);
    waiting = made;
  }
  void finish() {
    for (Short& waiting : waiting_) {
      write(waiting);
      waiting.high = 0;
    }
  }

  // `key`: the word's bytes as the cache of words has them, if it has at most kShort.
  Id find(const char* p, std::size_t n, const std::uint64_t* key) const {
    if (too_long(p, n)) return kNoId;
    if (n <= kShort) return short_[slot_of(key[0], high_of(key[1], n))].id;
    const std::uint64_t hash = hash_bytes(p, n);
    for (std::size_t i = hash & (long_.size() - 1); long_[i].id != kNoId; i = (i + 1) & (long_.size() - 1)) {
      const Long& word = long_[i];
      if (word.hash == hash && std::string_view(text_).substr(word.at, word.size) == std::string_view(p, n)) {
        return word.id;
      }
    }
    return kNoId;
  }
  // Asks for the memory that find() will look at.
  void prefetch(const char* p, std::size_t n, const std::uint64_t* key) const {
    if (too_long(p, n)) return;
    if (n <= kShort) tok::prefetch(&short_[place(key[0], high_of(key[1], n))]);
    else tok::prefetch(&long_[hash_bytes(p, n) & (long_.size() - 1)]);
  }

 private:
  struct Short {
    std::uint64_t low = 0;
    std::uint32_t high = 0;  // in its last byte the length
    Id id = kNoId;
  };
  struct Long {
    std::uint64_t hash;
    std::uint32_t at, size;  // in text_
    Id id = kNoId;
  };
  static std::uint32_t high_of(std::uint64_t second, std::size_t n) {
    return static_cast<std::uint32_t>((second & 0xFFFFFFu) | n << 24);
  }
  std::size_t place(std::uint64_t low, std::uint32_t high) const {
    return mix(low ^ 0x9E3779B97F4A7C15ull, high ^ 0xD6E8FEB86659FD93ull) & (short_.size() - 1);
  }
  // Where a word is, or the empty slot where it would be.
  std::size_t slot_of(std::uint64_t low, std::uint32_t high) const {
    std::size_t i = place(low, high);
    while (short_[i].high && (short_[i].low != low || short_[i].high != high)) i = (i + 1) & (short_.size() - 1);
    return i;
  }
  void write(const Short& word) {
    if (word.high) short_[slot_of(word.low, word.high)] = word;
  }
  static std::size_t start_of(const char* p, std::size_t n) {
    std::uint32_t x = 0;
    std::memcpy(&x, p, n < 3 ? n : 3);
    return x * 0x9E3779B1u >> 16;
  }
  bool too_long(const char* p, std::size_t n) const {
    const std::size_t longest = longest_[start_of(p, n)];
    return n > longest && longest < 255;
  }

  std::vector<Short> short_;
  std::vector<Long> long_;
  std::string text_;                   // of the long ones
  std::vector<std::uint8_t> longest_;  // bytes of the longest word by its first three bytes (hashed), 255 for more
  std::array<Short, 32> waiting_{};    // on their way into the table
  std::size_t waiting_at_ = 0;
};

}  // namespace enfold::tok
