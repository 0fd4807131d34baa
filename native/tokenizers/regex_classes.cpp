#include "errors.hpp"
#include "regex_reader.hpp"
#include "unicode.hpp"

namespace enfold::tok::regex {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void refuse(const std::string& source, const std::string& what) {
  throw NotBuilt("the regular expression '" + source + "' uses " + what + ", which is not built");
}

void Reader::fail(const std::string& why) const {
  throw Error("the regular expression '" + source + "' is malformed at byte " + std::to_string(at) + ": " + why);
}

char32_t Reader::next() {
  if (!more()) fail("it ends too early");
  const char32_t c = unicode::decode(text.data() + at);
  at += unicode::length(static_cast<unsigned char>(text[at]));
  return c;
}

std::string Reader::name_until(char close) {
  const std::size_t start = at;
  while (more() && text[at] != close) ++at;
  const std::string name(text.substr(start, at - start));
  if (!more()) fail("a name is not closed");
  ++at;
  return name;
}

char32_t Reader::number_in(int base, std::size_t least, std::size_t most) {
  char32_t value = 0;
  std::size_t n = 0;
  for (; n < most && more(); ++n, ++at) {
    const char c = text[at], lower = static_cast<char>(c | 0x20);
    int digit = 99;
    if (is_digit(c)) digit = c - '0';
    else if (lower >= 'a' && lower <= 'f') digit = lower - 'a' + 10;
    if (digit >= base) break;
    value = value * static_cast<char32_t>(base) + static_cast<char32_t>(digit);
    if (value > 0x10FFFF) fail("a number beyond Unicode");
  }
  if (n < least) fail("a number is missing in an escape");
  return value;
}

std::optional<CharSet> Reader::class_escape(bool in_class) {
  const char c = text[at];
  const auto maybe_not = [&](CharSet set, char negation) {
    ++at;
    return c == negation ? set.complement() : set;
  };
  switch (c) {
    case 's':
    case 'S': return maybe_not(chars::space(), 'S');
    case 'w':
    case 'W': return maybe_not(in_class ? chars::word_in_class() : chars::word(), 'W');
    case 'd':
    case 'D': return maybe_not(chars::digit(), 'D');
    case 'h':
    case 'H': return maybe_not(CharSet({{U'0', U'9'}, {U'A', U'F'}, {U'a', U'f'}}), 'H');
    case 'p':
    case 'P': {
      if (at + 1 >= text.size() || text[at + 1] != '{') return std::nullopt;
      at += 2;
      const bool negated = (c == 'P') != eat("^");
      const std::string name = name_until('}');
      auto set = chars::property(name);
      if (!set) fail("there is no property '" + name + "'");
      if (in_class && *set == chars::word()) set = chars::word_in_class();
      return negated ? set->complement() : *set;
    }
    default: return std::nullopt;
  }
}

char32_t Reader::character_escape() {
  if (!more()) fail("it ends in a backslash");
  if (text[at] >= '0' && text[at] <= '7') return byte_or_character(number_in(8, 1, 3));
  const char32_t c = next();
  switch (c) {
    case 'n': return U'\n';
    case 't': return U'\t';
    case 'r': return U'\r';
    case 'f': return U'\f';
    case 'v': return 0x0B;
    case 'a': return 0x07;
    case 'e': return 0x1B;
    case 'u': return number_in(16, 4, 4);
    case 'o': {
      if (!eat("{")) return c;
      const char32_t value = number_in(8, 1, 8);
      if (!eat("}")) fail("\\o{ is not closed");
      return value;
    }
    case 'c':
    case 'C': {
      if (c == 'C' && !eat("-")) fail("\\C needs a dash and a character");
      const char32_t control = next();
      if (control == '\\' || control >= 0x80) not_built("a control escape of that character");
      return control == '?' ? 0x7F : control & 0x9F;
    }
    case 'M': not_built("\\M-x");
    case 'x': {
      if (!eat("{")) return byte_or_character(number_in(16, 1, 2));
      const char32_t value = number_in(16, 1, 8);
      if (more() && (text[at] == ' ' || text[at] == '-')) not_built("several characters in \\x{…}");
      if (!eat("}")) fail("\\x{ is not closed");
      return value;
    }
    default: return c;
  }
}

// A byte from 0x80 on is the first of a character whose further bytes are escaped likewise.
char32_t Reader::byte_or_character(char32_t value) {
  if (value < 0x80) return value;
  std::string bytes(1, static_cast<char>(value));
  if (value > 0xFF) fail("an escaped byte is too large");
  while (bytes.size() < unicode::length(static_cast<unsigned char>(bytes[0]))) {
    if (eat("\\x")) bytes.push_back(static_cast<char>(number_in(16, 1, 2)));
    else if (sees("\\") && at + 1 < text.size() && text[at + 1] >= '0' && text[at + 1] <= '7')
      ++at, bytes.push_back(static_cast<char>(number_in(8, 1, 3)));
    else break;
  }
  if (!unicode::is_valid(bytes) || unicode::count(bytes) != 1) {
    fail("\\x with two digits stands for a byte, and these bytes are no character; write \\x{…}");
  }
  return unicode::decode(bytes.data());
}

CharSet Reader::bracket(bool& negated) {
  const Deeper deeper(*this);
  eat("[");
  negated = eat("^");
  std::vector<CharRange> part;
  std::optional<CharSet> whole;
  const auto finish_part = [&] {
    CharSet set(std::move(part));
    whole = whole ? *whole & set : std::move(set);
    part.clear();
  };
  const auto add = [&](const CharSet& set) { part.insert(part.end(), set.ranges().begin(), set.ranges().end()); };
  // A set can't start or end a range.
  const auto no_range = [&] {
    if (more() && text[at] == '-' && at + 1 < text.size() && text[at + 1] != ']') fail("a class can't start a range");
  };
  for (bool first = true;; first = false) {
    if (!more()) fail("a class is not closed");
    if (text[at] == ']') {
      if (!first) break;
      // At the very start it is a member if another one closes the class.
      if (text.find(']', at + 1) == std::string_view::npos) fail("an empty class");
    }
    if (eat("&&")) {
      finish_part();
      continue;
    }
    if (sees("[:")) {
      if (const auto set = posix()) {
        add(*set);
        no_range();
        continue;
      }
    }
    if (sees("[")) {
      bool inner_negated = false;
      const CharSet inner = bracket(inner_negated);
      add(inner_negated ? inner.complement() : inner);
      continue;
    }
    const auto low = member(part, false);
    if (!low) {
      no_range();
      continue;
    }
    if (!more() || text[at] != '-' || text.substr(at).size() < 2 || text[at + 1] == ']' || sees("-&&")) {
      part.push_back({*low, *low});
      continue;
    }
    ++at;
    if (sees("[")) fail("a class can't end a range");
    const auto high = member(part, true);
    if (!high) fail("a class can't end a range");
    if (*high < *low) fail("a range runs backwards");
    part.push_back({*low, *high});
  }
  ++at;
  finish_part();
  return *whole;
}

// A member of a class: a character, or a set that is added to the part (then nothing is returned).
std::optional<char32_t> Reader::member(std::vector<CharRange>& part, bool ends_range) {
  if (!eat("\\")) return next();
  if (!more()) fail("it ends in a backslash");
  if (eat("b")) return 8;
  if (const auto set = class_escape(true)) {
    if (ends_range) fail("a class can't end a range");
    part.insert(part.end(), set->ranges().begin(), set->ranges().end());
    return std::nullopt;
  }
  return character_escape();
}

// [:name:] or [:^name:]; nothing is taken if it is not closed.
std::optional<CharSet> Reader::posix() {
  std::size_t end = at + 2;
  while (end < text.size() && (text[end] == '^' || ((text[end] | 0x20) >= 'a' && (text[end] | 0x20) <= 'z'))) ++end;
  if (!text.substr(end).starts_with(":]")) return std::nullopt;
  std::string_view name = text.substr(at + 2, end - at - 2);
  const bool negated = name.starts_with('^');
  name.remove_prefix(negated);
  const auto set = chars::bracket(name);
  if (!set) fail("there is no class [:" + std::string(name) + ":]");
  at = end + 2;
  return negated ? set->complement() : *set;
}

}  // namespace enfold::tok::regex
