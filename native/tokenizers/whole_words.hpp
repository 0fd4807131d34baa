#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <string_view>
#include <vector>

#include "table_memory.hpp"
#include "unicode.hpp"
#include "word_cache.hpp"

namespace enfold::tok {

// Words that are one token, by their bytes: 16 bytes for a short one, found by itself with the key that the cache of
// words has for it; longer ones by their hash.
class WholeWords {
 public:
  static constexpr std::size_t kShort = 11;  // bytes
  struct Short {
    std::uint64_t low = 0;
    std::uint32_t high = 0;  // three bytes more, four bits of the length in bytes and four of that in characters
    Id id = kNoId;
    std::uint32_t characters() const { return high >> 28; }
  };

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
    detail::load_key(bytes.data(), bytes.size(), bytes.data() + bytes.size(), static_cast<unsigned>(bytes.size()), key);
    const auto characters = static_cast<std::uint32_t>(unicode::count(bytes));
    const Waiting made{WordCache::hash_short(key), {key[0], high_of(key[1]) | characters << 28, id}};
    tok::prefetch(&short_[place(made.hash)]);
    // It is written when its memory has come.
    Waiting& waiting = waiting_[waiting_at_++ % waiting_.size()];
    write(waiting);
    waiting = made;
  }
  void finish() {
    for (Waiting& waiting : waiting_) {
      write(waiting);
      waiting.word.high = 0;
    }
  }

  // A word of at most kShort bytes by its hash and key in the cache of words; null if it is none of these. The memory
  // that is looked at should have been asked for.
  const Short* find_short(std::uint64_t hash, const std::uint64_t* key) const {
    const std::uint32_t high = high_of(key[1]);
    for (std::size_t i = place(hash);; i = (i + 1) & (short_.size() - 1)) {
      const Short& word = short_[i];
      if (word.low == key[0] && (word.high & kKeyBits) == high) return &word;
      if (!word.high) return nullptr;
    }
  }
  void prefetch_short(std::uint64_t hash) const { tok::prefetch(&short_[place(hash)]); }

  // Any word; of one that is longer than all with its beginning, it is seen at once that it is none.
  Id find(const char* p, std::size_t n, std::uint64_t hash, const std::uint64_t* key) const {
    if (too_long(p, n)) return kNoId;
    if (n > kShort) return find_long(p, n);
    const Short* word = find_short(hash, key);
    return word ? word->id : kNoId;
  }
  Id find_long(const char* p, std::size_t n) const {
    if (too_long(p, n)) return kNoId;
    const std::uint64_t hash = hash_bytes(p, n);
    for (std::size_t i = hash & (long_.size() - 1); long_[i].id != kNoId; i = (i + 1) & (long_.size() - 1)) {
      const Long& word = long_[i];
      if (word.hash == hash && std::string_view(text_).substr(word.at, word.size) == std::string_view(p, n)) {
        return word.id;
      }
    }
    return kNoId;
  }
  // Ask for the memory that find() will look at, first and then.
  void prefetch_first(const char* p, std::size_t n) const { tok::prefetch(&longest_[start_of(p, n)]); }
  void prefetch_then(const char* p, std::size_t n, std::uint64_t hash) const {
    if (too_long(p, n)) return;
    if (n <= kShort) prefetch_short(hash);
    else tok::prefetch(&long_[hash_bytes(p, n) & (long_.size() - 1)]);
  }

 private:
  static constexpr std::uint32_t kKeyBits = 0x0FFFFFFF;
  struct Long {
    std::uint64_t hash;
    std::uint32_t at, size;  // in text_
    Id id = kNoId;
  };
  struct Waiting {
    std::uint64_t hash;
    Short word;
  };
  // Of the second half of a key: its first three bytes, and its last, which is the length.
  static std::uint32_t high_of(std::uint64_t second) {
    if constexpr (std::endian::native == std::endian::little) {
      return static_cast<std::uint32_t>((second & 0xFFFFFFu) | second >> 56 << 24);
    } else {
      return static_cast<std::uint32_t>(second >> 40 | (second & 0xFFu) << 24);
    }
  }
  std::size_t place(std::uint64_t hash) const { return hash & (short_.size() - 1); }
  void write(const Waiting& waiting) {
    if (!waiting.word.high) return;
    std::size_t i = place(waiting.hash);
    while (short_[i].high) i = (i + 1) & (short_.size() - 1);
    short_[i] = waiting.word;
  }
  static std::size_t start_of(const char* p, std::size_t n) {
    return unicode::packed(p, n < 3 ? n : 3) * 0x9E3779B1u >> 16;
  }
  bool too_long(const char* p, std::size_t n) const {
    const std::size_t longest = longest_[start_of(p, n)];
    return n > longest && longest < 255;
  }

  Table<Short> short_;
  Table<Long> long_;
  std::string text_;                   // of the long ones
  std::vector<std::uint8_t> longest_;  // bytes of the longest word by its first three (hashed), 255 for more
  std::array<Waiting, 32> waiting_{};  // on their way into the table
  std::size_t waiting_at_ = 0;
};

}  // namespace enfold::tok
