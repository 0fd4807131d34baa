#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "char_set.hpp"
#include "regex_tree.hpp"

namespace enfold::tok::regex {

// Reads the parts of a pattern that stand for one character or a set of them.
struct Reader {
  static constexpr int kMaxDepth = 250;

  const std::string& source;
  std::string_view text;
  std::size_t at = 0;
  int depth = 0;

  [[noreturn]] void fail(const std::string& why) const;
  [[noreturn]] void not_built(const std::string& what) const { refuse(source, what); }
  struct Deeper {
    Reader& reader;
    explicit Deeper(Reader& r) : reader(r) {
      if (++r.depth > kMaxDepth) r.fail("nested too deeply");
    }
    ~Deeper() { --reader.depth; }
  };

  bool more() const { return at < text.size(); }
  bool sees(std::string_view what) const { return text.substr(at).starts_with(what); }
  bool eat(std::string_view what) {
    if (!sees(what)) return false;
    at += what.size();
    return true;
  }
  char32_t next();
  std::string name_until(char close);
  char32_t number_in(int base, std::size_t least, std::size_t most);

  // A set that the escape at `at` stands for; nothing is taken if it stands for a character.
  std::optional<CharSet> class_escape(bool in_class);
  // The character that the escape at `at` stands for.
  char32_t character_escape();
  // The set of a [class], without its negation.
  CharSet bracket(bool& negated);

 private:
  char32_t byte_or_character(char32_t value);
  std::optional<char32_t> member(std::vector<CharRange>& part, bool ends_range);
  std::optional<CharSet> posix();
};

}  // namespace enfold::tok::regex
