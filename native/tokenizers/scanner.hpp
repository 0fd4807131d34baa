#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "unicode.hpp"

// Hand-written forms of the patterns by which byte-level vocabularies cut text into words. They all are one scanner
// with a few switches; each alternative of the pattern is one branch, tried in the pattern's order.
namespace enfold::tok {

enum class Style {
  gpt2,    // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  cl100k,  // (?i:'s|…)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
  qwen2,   // the same with \p{N}
};

// The style that a pattern's source text spells, if it is one of those.
std::optional<Style> style_of(std::string_view pattern);

enum CharClass : std::uint8_t { kOther, kLetter, kNumber, kBlank, kNewline };

// Class of each distinct property record (see unicode::kStage2).
extern const std::array<std::uint8_t, 65536 / 128> kClassOfRecord;
extern const std::array<std::uint8_t, 128> kClassOfAscii;

// Class of the character at `p`; sets its length.
inline CharClass class_at(const char* p, std::size_t& n) {
  const auto lead = static_cast<unsigned char>(*p);
  if (lead < 0x80) {
    n = 1;
    return static_cast<CharClass>(kClassOfAscii[lead]);
  }
  n = unicode::length(lead);
  const char32_t c = unicode::decode(p);
  return static_cast<CharClass>(kClassOfRecord[unicode::kStage2[(unicode::kStage1[c >> 7] << 7) | (c & 127)]]);
}

namespace detail {

// Length of the contraction at `p` (which points at an apostrophe), 0 for none.
inline std::size_t contraction(const char* p, const char* end, bool any_case) {
  if (end - p < 2) return 0;
  const char fold = any_case ? 0x20 : 0;
  const char a = static_cast<char>(p[1] | fold);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if (end - p < 3) return 0;
  if (any_case && p[1] == '\xC5' && p[2] == '\xBF') return 3;  // the long s, ſ, folds to s
  const char b = static_cast<char>(p[2] | fold);
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

inline const char* run_of(const char* p, const char* end, CharClass wanted) {
  std::size_t n;
  while (p < end && class_at(p, n) == wanted) p += n;
  return p;
}

}  // namespace detail

// Calls emit(begin, end) for each piece; the pieces cover the text.
template <Style style, typename Emit>
void scan(const char* p, const char* end, Emit&& emit) {
  constexpr bool modern = style != Style::gpt2;
  while (p < end) {
    const char* const start = p;
    if (*p == '\'') {
      if (const std::size_t n = detail::contraction(p, end, modern)) {
        emit(start, p += n);
        continue;
      }
    }
    std::size_t n = 0;
    CharClass first = class_at(p, n);
    if (first == kLetter) {
      emit(start, p = detail::run_of(p + n, end, kLetter));
      continue;
    }
    if (first == kNumber) {
      p += n;
      if constexpr (style == Style::gpt2) {
        p = detail::run_of(p, end, kNumber);
      } else if constexpr (style == Style::cl100k) {
        for (int k = 1; k < 3 && p < end && class_at(p, n) == kNumber; ++k) p += n;
      }
      emit(start, p);
      continue;
    }
    // What may stand before a word: any character but a newline in the modern patterns, a space in the old one.
    if (p + n < end && (modern ? first != kNewline : *p == ' ')) {
      std::size_t m = 0;
      const CharClass second = class_at(p + n, m);
      if (second == kLetter || (!modern && second == kNumber)) {
        emit(start, p = detail::run_of(p + n + m, end, second));
        continue;
      }
      if (*p == ' ' && second == kOther) {
        p += n;
        first = kOther;
        n = m;
      }
    }
    if (first == kOther) {
      p = detail::run_of(p + n, end, kOther);
      if constexpr (modern) {
        while (p < end && (*p == '\r' || *p == '\n')) ++p;
      }
      emit(start, p);
      continue;
    }
    // White space: up to the last newline, else all but the last character when a word follows.
    const char* last = p;  // start of the last character of the run
    const char* newline = nullptr;
    CharClass k = first;
    do {
      last = p;
      p += n;
      if (k == kNewline) newline = p;
      if (p >= end) break;
      k = class_at(p, n);
    } while (k == kBlank || k == kNewline);
    if (modern && newline) p = newline;
    else if (p < end && last > start) p = last;
    emit(start, p);
  }
}

template <typename Emit>
void scan(Style style, const char* p, const char* end, Emit&& emit) {
  switch (style) {
    case Style::gpt2: return scan<Style::gpt2>(p, end, emit);
    case Style::cl100k: return scan<Style::cl100k>(p, end, emit);
    case Style::qwen2: return scan<Style::qwen2>(p, end, emit);
  }
}

}  // namespace enfold::tok
