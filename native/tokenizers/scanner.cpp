#include "scanner.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>

namespace enfold::tok {

namespace {

std::uint8_t class_of(const unicode::Properties& p, char32_t c) {
  using unicode::Category;
  if (c == U'\r' || c == U'\n') return kNewline;
  if (p.flags & unicode::kRegexSpace) return kBlank;
  switch (static_cast<Category>(p.category)) {
    case Category::Lu:
    case Category::Lt: return kUpper;
    case Category::Ll: return kLower;
    case Category::Lm:
    case Category::Lo: return kCaseless;
    case Category::Mn:
    case Category::Mc:
    case Category::Me: return kMarked;
    case Category::Nd:
    case Category::Nl:
    case Category::No: return kNumber;
    case Category::Pc:
    case Category::Pd:
    case Category::Ps:
    case Category::Pe:
    case Category::Pi:
    case Category::Pf:
    case Category::Po:
    case Category::Sm:
    case Category::Sc:
    case Category::Sk:
    case Category::So: return kPunctuated;
    default: return 0;
  }
}

}  // namespace

CharClasses::CharClasses() {
  for (std::size_t block = 0; block < block_.size(); ++block) {
    std::array<std::uint8_t, 64> classes;
    for (std::size_t i = 0; i < 64; ++i) {
      const auto c = static_cast<char32_t>(block << 6 | i);
      classes[i] = class_of(unicode::properties(c), c);
      kinds_[block] |= static_cast<std::uint16_t>(classes[i] ? classes[i] : kOther);
    }
    std::size_t at = 0;
    while (at < blocks_.size() && !std::equal(classes.begin(), classes.end(), blocks_.data() + at)) at += 64;
    if (at == blocks_.size()) blocks_.insert(blocks_.end(), classes.begin(), classes.end());
    block_[block] = static_cast<std::uint16_t>(at);
  }
  for (unsigned char c = 0; c < 128; ++c) ascii_[c] = static_cast<std::uint8_t>(at(c >> 6, c));
}

unsigned CharClasses::beyond(char32_t c) { return class_of(unicode::properties(c), c); }

const CharClasses kClasses;

std::optional<Style> style_of(std::string_view pattern) {
  // Some files hold the line ends themselves, others their names.
  std::string named;
  for (const char ch : pattern) {
    if (ch == '\r')
      named += "\\r";
    else if (ch == '\n')
      named += "\\n";
    else
      named += ch;
  }
  const auto joined = [](std::initializer_list<std::string_view> alternatives) {
    std::string out;
    for (const std::string_view a : alternatives) out.append(out.empty() ? "" : "|").append(a);
    return out;
  };
  constexpr std::string_view spaces = R"(\s+(?!\S)|\s+)", lines = R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
  constexpr std::string_view folded = "(?i:'s|'t|'re|'ve|'m|'ll|'d)", before = R"([^\r\n\p{L}\p{N}]?)";
  constexpr std::string_view capitals = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])", small = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  const auto plain = [&](std::string_view word, std::string_view number, std::string_view other) {
    return joined({folded, std::string(before).append(word), number, other, lines});
  };
  const auto cased = [&](std::string_view behind, std::string_view number) {
    const auto word = [&](char a, char b) {
      return std::string(before).append(capitals).append(1, a).append(small).append(1, b).append(behind);
    };
    return joined({word('*', '+'), word('+', '*'), number, R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)", lines});
  };
  static const std::pair<std::string, Style> kStyles[] = {
      {joined({"'s|'t|'re|'ve|'m|'ll|'d", R"( ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)", spaces}), Style::gpt2},
      {plain(R"(\p{L}+)", R"(\p{N}{1,3})", R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"), Style::cl100k},
      {plain(R"(\p{L}+)", R"(\p{N})", R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"), Style::qwen2},
      {plain(R"([\p{L}\p{M}]+)", R"(\p{N})", R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)"), Style::qwen35},
      {cased(std::string(folded) + "?", R"(\p{N}{1,3})"), Style::o200k},
      {cased("", R"(\p{N})"), Style::tekken},
      {joined({R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)", R"([^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)",
               R"( ?[\p{P}\p{S}]+[\r\n]*)", lines}),
       Style::deepseek},
      {R"(\p{N}{1,3})", Style::numbers},
      {"[一-龥\u3040-ゟ゠-ヿ]+", Style::kanji},
  };
  for (const auto& [source, style] : kStyles) {
    if (source == named) return style;
  }
  return std::nullopt;
}

}  // namespace enfold::tok
