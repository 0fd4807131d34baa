#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace enfold::tok {

// A leftmost-first backtracking matcher for the patterns that no scanner covers. The dialect is Oniguruma's: classes
// with nesting, `&&`, \p{…} and POSIX brackets; greedy, lazy and possessive quantifiers; atomic and named groups,
// back-references, look-around, (?imx). What it has beyond (calls, conditions, absent operators, callouts, \X) is
// refused by name. A step limit turns catastrophic backtracking into an error.
class Regex {
 public:
  explicit Regex(std::string_view source);
  ~Regex();

  // Finds the matches in one text.
  class Matcher {
   public:
    Matcher(const Regex& regex, std::string_view text);
    ~Matcher();
    // The first match at or after `from`; false if there is none.
    bool find(std::size_t from, std::size_t& begin, std::size_t& end);

   private:
    struct Machine;
    std::unique_ptr<Machine> machine_;
  };

  // Calls f(begin, end) for each match, left to right, not overlapping; no empty one right behind another.
  template <typename F>
  void each_match(std::string_view text, F&& f) const {
    Matcher matcher(*this, text);
    std::size_t at = 0, last_end = kNowhere;
    std::size_t begin, end;
    while (at <= text.size() && matcher.find(at, begin, end)) {
      if (begin == end && end == last_end) {
        at = next_character(text, at);
        continue;
      }
      f(begin, end);
      at = last_end = end;
    }
  }

 private:
  struct Program;
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
  static std::size_t next_character(std::string_view text, std::size_t at);
  std::unique_ptr<const Program> program_;
};

}  // namespace enfold::tok
