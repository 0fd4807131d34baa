#pragma once

#include <array>
#include <bit>
#include <memory>
#include <vector>

#include "merge_queries.hpp"
#include "models.hpp"
#include "whole_words.hpp"
#include "words.hpp"

namespace enfold::tok {

// What a byte-level BPE model makes of the bytes of a word, with tables that spare it most of its look-ups.
class ByteWords {
 public:
  static std::unique_ptr<const ByteWords> make(const Bpe& model);
  // Whether the vocabulary has a token for every byte of a text; what becomes of others the model knows.
  bool spells(std::string_view text) const;

  // A place between two characters: where the second begins, and the bytes of both.
  struct Boundary {
    const char* at;
    std::uint32_t left, right;
    std::size_t bit;
  };
  // `x` and `y`: the two characters, packed. Asks for the memory that may_join() will look at.
  Boundary boundary(const char* at, std::uint32_t left, std::uint32_t x, std::uint32_t right, std::uint32_t y) const {
    const Boundary made{at, left, right, place(x, y)};
    boundaries_.fetch(made.bit);
    return made;
  }
  // Whether a token of the vocabulary might span the boundary between two characters. The merges of a word never reach
  // over one that none spans, so a long word (a sentence, in scripts without spaces) may be cut there.
  bool may_join(const Boundary& b) const {
    return boundaries_.get(b.bit) || breaks(b.at - b.left, b.left, b.at, b.right);
  }
  // Words that are one token: whether merges make it or not if the model ignores them, else only if they do. Null if
  // that is not known.
  const WholeWords* whole_words() const { return whole_.empty() ? nullptr : &whole_; }
  // The one for a word of more than WholeWords::kShort bytes.
  Id whole(const char* p, std::size_t n) const { return whole_.empty() ? kNoId : whole_.find_long(p, n); }
  // Answers queries of words; their variants are parts of pieces, which ignore_merges leaves to the merges.
  void find(Query* queries, std::size_t n, Buffer<Found>& found, MergeQueries& merging) const;

 private:
  explicit ByteWords(const Bpe& model) : model_(model) {}
  class Bits {
   public:
    explicit Bits(std::size_t n) : words_(n / 64) {}
    void set(std::size_t i) { words_[i >> 6] |= 1ull << (i & 63); }
    bool get(std::size_t i) const { return words_[i >> 6] >> (i & 63) & 1; }
    void fetch(std::size_t i) const { prefetch(&words_[i >> 6]); }

   private:
    std::vector<std::uint64_t> words_;
  };
  static constexpr std::size_t kBoundaryBits = 20;

  static std::size_t place(const char* a, std::size_t n, const char* b, std::size_t m) {
    return place(unicode::packed(a, n), unicode::packed(b, m));
  }
  static std::size_t place(std::uint32_t x, std::uint32_t y) {
    return (x * 0x9E3779B97F4A7C15ull ^ y * 0xD6E8FEB86659FD93ull) * 0x8BB84B93962EACC9ull >> (64 - kBoundaryBits);
  }
  static std::size_t coarse(char a, char b) {
    return static_cast<std::size_t>(static_cast<unsigned char>(a)) << 8 | static_cast<unsigned char>(b);
  }
  // Whether a token might end or begin within one of the two characters and reach into the other.
  bool breaks(const char* left, std::size_t left_size, const char* right, std::size_t right_size) const {
    unsigned kinds = partial_[coarse(left[left_size - 1], *right)];
    for (; kinds; kinds &= kinds - 1) {
      const auto kind = static_cast<std::size_t>(std::countr_zero(kinds));
      const std::size_t n = (kind >> 2) + 1, m = (kind & 3) + 1;
      if (n <= left_size && m <= right_size && (n < left_size || m < right_size) &&
          boundaries_.get(place(left + left_size - n, n, right, m))) {
        return true;
      }
    }
    return false;
  }
  // One bit for a boundary between n bytes of one character and m of another.
  static std::uint16_t kind(std::size_t n, std::size_t m) {
    return static_cast<std::uint16_t>(1u << ((n - 1) << 2 | (m - 1)));
  }
  void read_token(std::string_view bytes, Id id, std::uint32_t lowest_rank);
  void read_characters();
  template <typename Add>
  void start(const Query& query, Add&& add) const;

  const Bpe& model_;
  std::array<Id, 256> bytes_{};
  std::array<bool, 256> missing_{};  // as a corpus without some bytes leaves it
  bool any_missing_ = false;
  std::vector<std::uint32_t> starts_ = std::vector<std::uint32_t>(65536, Bpe::kNever);  // ranks by two bytes
  Bits boundaries_{std::size_t{1} << kBoundaryBits};       // hashed: a false yes only costs speed
  // Kinds of boundaries with a part of a character on either side, by last and first byte: a filter before the other.
  std::vector<std::uint16_t> partial_ = std::vector<std::uint16_t>(65536);
  // Of characters that are one token and whose own merges come before all others that they take part in: their tokens.
  std::vector<Id> characters_;
  std::vector<std::uint32_t> first_use_;  // the lowest rank that makes a longer token with the character in it
  WholeWords whole_;
};

}  // namespace enfold::tok
