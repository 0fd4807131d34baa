#include "scanner.hpp"

#include <initializer_list>
#include <string>
#include <utility>

namespace enfold::tok {

namespace {

std::uint8_t class_of(const unicode::Properties& p, char32_t ascii) {
  using unicode::Category;
  if (ascii == U'\r' || ascii == U'\n') return kNewline;
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

const std::array<std::uint8_t, 65536 / 128> kClassOfRecord = [] {
  std::array<std::uint8_t, 65536 / 128> made{};
  for (std::size_t i = 0; i < unicode::kRecordCount && i < made.size(); ++i) {
    made[i] = class_of(unicode::kProperties[i], 0);
  }
  return made;
}();

const std::array<std::uint8_t, 128> kClassOfAscii = [] {
  std::array<std::uint8_t, 128> made{};
  for (char32_t c = 0; c < 128; ++c) made[c] = class_of(unicode::properties(c), c);
  return made;
}();

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
