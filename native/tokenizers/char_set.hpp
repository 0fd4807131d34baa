#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace enfold::tok {

struct CharRange {
  char32_t first, last;
  friend bool operator==(const CharRange&, const CharRange&) = default;
};

// A set of code points: sorted ranges that neither touch nor overlap.
class CharSet {
 public:
  CharSet() = default;
  CharSet(char32_t first, char32_t last) : ranges_{{first, last}} {}
  // Of ranges in any order.
  explicit CharSet(std::vector<CharRange> ranges);

  bool empty() const { return ranges_.empty(); }
  bool has(char32_t c) const;
  const std::vector<CharRange>& ranges() const { return ranges_; }
  CharSet complement() const;
  CharSet operator|(const CharSet& other) const;
  CharSet operator&(const CharSet& other) const;
  friend bool operator==(const CharSet&, const CharSet&) = default;

 private:
  std::vector<CharRange> ranges_;
};

// The same set made for asking: a bitmap for ASCII, shared blocks of 256 bits for the rest.
class CharTable {
 public:
  explicit CharTable(const CharSet& set);
  bool has(char32_t c) const {
    if (c < 128) return ascii_[c >> 6] >> (c & 63) & 1;
    const std::uint16_t block = c >> 8 < stage_.size() ? stage_[c >> 8] : last_;
    return blocks_[block][c >> 6 & 3] >> (c & 63) & 1;
  }

 private:
  using Block = std::array<std::uint64_t, 4>;
  std::array<std::uint64_t, 2> ascii_{};
  std::vector<std::uint16_t> stage_;  // up to where all further blocks are the same one
  std::vector<Block> blocks_;
  std::uint16_t last_ = 0;
};

// What regular expressions know about characters (see unicode.hpp on where the facts come from).
namespace chars {

// The set of a property, script or block as \p{name} spells it.
std::optional<CharSet> property(std::string_view name);
// The set of [:name:].
std::optional<CharSet> bracket(std::string_view name);
CharSet word();
// In a class, \w leaves out the superscripts and fractions of Latin-1 that it matches outside of one.
CharSet word_in_class();
CharSet space();
CharSet digit();

// The smallest character that equals this one when case is ignored.
char32_t fold(char32_t c);
// With every character that equals one of the set when case is ignored.
CharSet with_cases(const CharSet& set);

// A character that equals several when case is ignored: ß and ss. The several are folded, zeros behind them.
struct LongFold {
  char32_t from;
  std::array<char32_t, 3> to;
  std::size_t size() const { return to[2] ? 3 : 2; }
};
const std::vector<LongFold>& long_folds();

// Script of a character as UnicodeScripts sees it; 0 goes with any.
std::uint8_t script(char32_t c);

}  // namespace chars

}  // namespace enfold::tok
