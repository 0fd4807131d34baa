#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace enfold::tok {

// A leftmost-first backtracking matcher for the patterns that no scanner covers: literals, classes (with ranges,
// negation, `&&`, \p{…}, POSIX brackets), groups, inline (?i), greedy, lazy and possessive quantifiers, look-around,
// anchors. The dialect is Oniguruma's; back-references and what else it has are refused by name. A step limit
// turns catastrophic backtracking into an error.
class Regex {
 public:
  explicit Regex(std::string_view source);
  ~Regex();

  // Calls f(begin, end) for each match, left to right, not overlapping.
  template <typename F>
  void each_match(std::string_view text, F&& f) const {
    std::size_t at = 0, steps = 0, last_end = kNowhere;
    std::size_t begin, end;
    while (at <= text.size() && search(text, at, begin, end, steps)) {
      if (begin == end) {
        if (begin != last_end) f(begin, end);
        at = next_character(text, end);
      } else {
        f(begin, end);
        at = end;
      }
      last_end = end;
    }
  }

 private:
  struct Program;
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
  bool search(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end, std::size_t& steps) const;
  static std::size_t next_character(std::string_view text, std::size_t at);
  std::unique_ptr<Program> program_;
};

}  // namespace enfold::tok
