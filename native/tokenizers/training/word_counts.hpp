#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "../vocabulary.hpp"

namespace enfold::tok {

// How often each distinct word occurs. Every word is stored once, all of them in one arena; the table beside it holds
// a part of the hash, so that a look-up that fails rarely reads the arena.
class WordCounts {
 public:
  void add(std::string_view word, std::uint64_t count) {
    if (2 * (entries_.size() + 1) > slots_.size()) grow();
    const std::uint64_t h = hash_bytes(word.data(), word.size());
    const auto tag = static_cast<std::uint32_t>(h >> 32);
    std::size_t i = h & mask_;
    for (; slots_[i].entry != kEmpty; i = (i + 1) & mask_) {
      if (slots_[i].tag != tag) continue;
      Entry& entry = entries_[slots_[i].entry];
      if (text(entry) == word) {
        entry.count += count;
        return;
      }
    }
    if (entries_.size() >= kEmpty) throw Error("more than 4294967294 distinct words; train on less text");
    if (word.size() > 0xFFFFFFFFu) throw Error("a word is longer than 4 GiB; give the tokenizer a pre-tokenizer");
    slots_[i] = {tag, static_cast<std::uint32_t>(entries_.size())};
    entries_.push_back({arena_.size(), count, static_cast<std::uint32_t>(word.size()), tag});
    arena_.append(word);
  }
  // Adds all words of the other one and empties it; what it holds of memory stays with it.
  void absorb(WordCounts& other);
  void sort();
  // The most frequent words, at least so frequent, equals by their bytes.
  std::vector<std::size_t> most_common(std::size_t limit, std::uint64_t min_count) const;

  std::size_t size() const { return entries_.size(); }
  std::size_t bytes() const { return arena_.size(); }  // of all words together
  std::string_view word(std::size_t i) const { return text(entries_[i]); }
  std::uint64_t count(std::size_t i) const { return entries_[i].count; }

 private:
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFFu;
  struct Entry {
    std::uint64_t at, count;
    std::uint32_t size, tag;
  };
  struct Slot {
    std::uint32_t tag, entry;
  };
  std::string_view text(const Entry& e) const { return {arena_.data() + e.at, e.size}; }
  void grow();
  void fill();

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

}  // namespace enfold::tok
