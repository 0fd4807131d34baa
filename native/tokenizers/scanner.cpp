#include "scanner.hpp"

namespace enfold::tok {

namespace {

CharClass class_of(const unicode::Properties& p, char32_t ascii) {
  if (ascii == U'\r' || ascii == U'\n') return kNewline;
  if (p.flags & unicode::kRegexSpace) return kBlank;
  if (p.category - 1u < 5u) return kLetter;
  if (p.category - 9u < 3u) return kNumber;
  return kOther;
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
  if (pattern == R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)") return Style::gpt2;
  constexpr std::string_view before = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)";
  constexpr std::string_view after = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  if (pattern.size() < before.size() + after.size() || !pattern.starts_with(before) || !pattern.ends_with(after)) {
    return std::nullopt;
  }
  pattern.remove_prefix(before.size());
  pattern.remove_suffix(after.size());
  if (pattern == R"(\p{N}{1,3})") return Style::cl100k;
  if (pattern == R"(\p{N})") return Style::qwen2;
  return std::nullopt;
}

}  // namespace enfold::tok
