#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "added_tokens.hpp"
#include "character_map.hpp"
#include "pre_tokenizers.hpp"
#include "rows.hpp"

namespace enfold::tok {

// A normalised text in sentencepiece's manner, where each word begins with a mark (▁, here written as one space).
struct MarkedText {
  struct Word {
    std::uint32_t byte, character;
  };
  std::vector<char> bytes;             // readable for kRoom more behind `size`
  std::size_t size = 0;
  std::vector<std::uint32_t> origins;  // for each character of it: the one that it comes from, counted in the input
  std::size_t characters = 0;
  std::vector<Word> words;             // where each begins, the first at 0

  static constexpr std::size_t kRoom = 64;
  std::string_view text() const { return {bytes.data(), size}; }
  // Calls f(begin, end, character) for each word, bytes and the first character, or for the whole text as one.
  template <typename F>
  void each_word(bool splits, F&& f) const {
    const auto end = static_cast<std::uint32_t>(size);
    if (!splits || words.empty()) return f(0u, end, 0u);
    for (std::size_t w = 0; w < words.size(); ++w) {
      f(words[w].byte, w + 1 < words.size() ? words[w + 1].byte : end, words[w].character);
    }
  }
};

// Writes texts in that form: normalizers and pre-tokenizers of sentencepiece's families in one pass.
class Marker {
 public:
  // Null if the parts are not of the kind that this knows.
  static std::unique_ptr<Marker> make(const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                      const AddedTokens& added);

  // False if the text holds what only the literal path knows. `at`: its place in the input, in characters.
  bool write(std::string_view text, std::uint32_t at, MarkedText& out) const;
  // Whether every mark begins a word; else the text is one word.
  bool splits() const { return splits_; }

  // The form of a token of a vocabulary: marks as spaces. False for one with real spaces: no text has them.
  static bool marked(std::string_view token, std::string& out);

 private:
  enum class Spaces { marks, gaps };  // each becomes a mark, or a run of any white space parts two words
  enum class Prefix { never, first, always, doubling };  // doubling: before a mark too
  struct Writer;

  explicit Marker(std::vector<const Normalizer*> steps) : map_(std::move(steps)) {}
  bool add_normalizers(const std::vector<const Normalizer*>& steps);
  bool add_pre_tokenizers(const PreTokenizer* pre_tokenizer);
  void prepare();
  // The form of an added token where punctuation parts words.
  std::string parted(std::string_view form) const;
  bool write_context(const char*& p, const char* begin, const char* end, std::uint32_t& at, Writer& writer) const;
  bool lonely_blank(const char* p, const char* begin, const char* end) const;
  bool in_context(const char* p, const char* end) const;

  CharacterMap map_;
  std::array<std::uint8_t, 256> plain_{};  // 1: an ASCII character that stays, 2: a space, 0: anything else
  Spaces spaces_ = Spaces::marks;
  Prefix prefix_ = Prefix::never;
  bool splits_ = false;
  bool makes_marks_ = false;  // a normalizer replaced spaces by marks: no pre-tokenizer has to
  bool collapses_ = false;    // runs of spaces become one
  bool collapses_blanks_ = false;  // and so do runs of any white space, and a line's end or a tab by itself
  bool punctuates_ = false;   // each punctuation character is a word of its own
  bool strips_left_ = false, strips_right_ = false;          // of the text as it came
  bool strips_left_after_ = false, strips_right_after_ = false;  // of the normalised text
  bool refuses_marks_ = false;  // a text with a mark of its own goes the literal path
  Finder added_;
};

}  // namespace enfold::tok
