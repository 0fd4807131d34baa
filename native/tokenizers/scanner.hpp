#pragma once

#include <array>
#include <bit>
#include <optional>
#include <string_view>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "unicode.hpp"

// Hand-written forms of the patterns by which byte-level vocabularies cut text into words. They all are one scanner
// with a few switches; each alternative of the pattern is one branch, tried in the pattern's order.
namespace enfold::tok {

enum class Style {
  gpt2,      // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  cl100k,    // (?i:'s|…)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
  qwen2,     // the same with \p{N}
  qwen35,    // qwen2 whose words hold marks: [\p{L}\p{M}]+ and [^\s\p{L}\p{M}\p{N}]+
  o200k,     // words cut where upper case follows lower case, with the contraction behind them; [\r\n/]*
  tekken,    // o200k without contractions, \p{N}
  deepseek,  // [!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
  numbers,   // \p{N}{1,3}
  kanji,     // [一-龥぀-ゟ゠-ヿ]+
};

// The style that a pattern's source text spells, if it is one of those.
std::optional<Style> style_of(std::string_view pattern);

// Kinds of characters, one bit each; what is neither has none.
enum CharClass : std::uint8_t {
  kUpper = 1,         // Lu, Lt
  kLower = 2,         // Ll
  kCaseless = 4,      // Lm, Lo
  kMarked = 8,        // M
  kNumber = 16,       // N
  kBlank = 32,        // white space but for
  kNewline = 64,      // \r and \n
  kPunctuated = 128,  // P, S
  kLetter = kUpper | kLower | kCaseless,
};

// Classes of the first plane in blocks of 64 characters, equal ones once: the first bytes of a character say its block,
// the last one its place there.
class CharClasses {
 public:
  CharClasses();
  unsigned ascii(unsigned char c) const { return ascii_[c]; }
  unsigned at(std::size_t block, unsigned char last) const { return blocks_[block_[block] + (last & 63u)]; }
  // Of a character beyond the first plane.
  static unsigned beyond(char32_t c);
  // Whether all characters of a block are of the wanted classes.
  bool all(std::size_t block, unsigned wanted) const { return !(kinds_[block] & ~wanted); }

 private:
  static constexpr unsigned kOther = 0x100;
  std::array<std::uint8_t, 128> ascii_;
  std::array<std::uint16_t, 1024> block_;
  std::array<std::uint16_t, 1024> kinds_{};  // all classes of a block; kOther too if some of its characters have none
  std::vector<std::uint8_t> blocks_;
};
extern const CharClasses kClasses;

// Class of the character at `p`; sets its length.
inline unsigned class_at(const char* p, std::size_t& n) {
  const auto lead = static_cast<unsigned char>(*p);
  const auto byte = [p](int i) { return static_cast<unsigned char>(p[i]); };
  if (lead < 0x80) return n = 1, kClasses.ascii(lead);
  if (lead < 0xE0) return n = 2, kClasses.at(lead & 31u, byte(1));
  if (lead < 0xF0) return n = 3, kClasses.at((lead & 15u) << 6 | (byte(1) & 63u), byte(2));
  return n = 4, CharClasses::beyond(unicode::decode(p));
}

namespace detail {

// Length of the contraction at `p`, 0 for none.
inline std::size_t contraction(const char* p, const char* end, bool any_case) {
  if (end - p < 2 || *p != '\'') return 0;
  const char fold = any_case ? 0x20 : 0;
  const char a = static_cast<char>(p[1] | fold);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if (end - p < 3) return 0;
  if (any_case && p[1] == '\xC5' && p[2] == '\xBF') return 3;  // the long s, ſ, folds to s
  const char b = static_cast<char>(p[2] | fold);
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

// The end of the run of ASCII letters at `p`.
inline const char* skip_ascii_letters(const char* p, const char* end) {
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i place = _mm_sub_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    const __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(place, _mm_set1_epi8(25)), place);
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(letter));
    if (mask != 0xFFFF) return p + std::countr_one(mask);
  }
#endif
  while (p < end && static_cast<unsigned char>((*p | 0x20) - 'a') < 26) ++p;
  return p;
}

#if defined(__SSE2__)
// Which of the 16 bytes at `p` lie between two, one bit each.
inline unsigned between(__m128i bytes, char low, char high) {
  const __m128i place = _mm_sub_epi8(bytes, _mm_set1_epi8(low));
  const __m128i in = _mm_cmpeq_epi8(_mm_min_epu8(place, _mm_set1_epi8(static_cast<char>(high - low))), place);
  return static_cast<unsigned>(_mm_movemask_epi8(in));
}
#endif

// The end of the word at `p`, if it is one of the many that are short and of ASCII, with ASCII behind it: letters and
// what may stand before them. Null for all else.
template <Style style>
inline const char* plain_word(const char* p, const char* end) {
#if defined(__SSE2__)
  if (end - p < 16 || *p == '\'') return nullptr;
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const unsigned ascii = ~static_cast<unsigned>(_mm_movemask_epi8(bytes));
  const unsigned letters = between(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 'z');
  unsigned before = 0;
  if (!(letters & 1)) {
    const bool may_stand = style == Style::gpt2 ? *p == ' ' : !(kClasses.ascii(*p & 127) & (kNumber | kNewline));
    if (!(ascii & letters >> 1 & 1) || !may_stand) return nullptr;
    before = 1;
  }
  unsigned n;
  if constexpr (style == Style::o200k || style == Style::tekken) {
    const unsigned small = between(bytes, 'a', 'z') >> before;
    const auto capitals = static_cast<unsigned>(std::countr_one((letters >> before) & ~small));
    n = capitals + static_cast<unsigned>(std::countr_one(small >> capitals));
  } else {
    n = static_cast<unsigned>(std::countr_one(letters >> before));
  }
  n += before;
  if (n >= 16 || !(ascii >> n & 1)) return nullptr;
  p += n;
  if constexpr (style == Style::o200k) p += contraction(p, end, true);
  return p;
#else
  (void)p, (void)end;
  return nullptr;
#endif
}

// The end of the run of characters at `p` from blocks that are all of the wanted classes, as those of Cyrillic and of
// Chinese characters are.
template <unsigned wanted>
inline const char* skip_blocks(const char* p, const char* end) {
  while (p < end) {
    const auto lead = static_cast<unsigned char>(*p);
    if (lead < 0xC0 || lead >= 0xF0) return p;
    if (lead < 0xE0) {
      if (!kClasses.all(lead & 31u, wanted)) return p;
      p += 2;
    } else {
      if (!kClasses.all((lead & 15u) << 6 | (static_cast<unsigned char>(p[1]) & 63u), wanted)) return p;
      p += 3;
    }
  }
  return p;
}

// The end of the run of characters of the wanted classes at `p`.
template <unsigned wanted>
inline const char* run_of(const char* p, const char* end) {
  std::size_t n;
  for (;;) {
    if constexpr ((wanted & kLetter) == kLetter) {
      p = skip_ascii_letters(p, end);
      p = skip_blocks<wanted>(p, end);
    }
    if (p >= end || !(class_at(p, n) & wanted)) return p;
    p += n;
  }
}

// The end of the run of characters of none of the classes.
template <unsigned unwanted>
inline const char* run_without(const char* p, const char* end) {
  std::size_t n;
  while (p < end && !(class_at(p, n) & unwanted)) p += n;
  return p;
}

// The end of a word of o200k that begins at `p`: capitals then small letters, at least one of either. Characters
// without case are both; where nothing small follows the capitals, the first alternative of the pattern ends behind
// the last of those, and only a word of capitals alone is left to the second.
inline const char* cased_word(const char* p, const char* end) {
  const char* caseless = nullptr;
  std::size_t n;
  unsigned k = 0;
  while (p < end && (k = class_at(p, n)) & (kUpper | kCaseless | kMarked)) {
    p += n;
    if (k & (kCaseless | kMarked)) caseless = p;
  }
  if (p < end && k & kLower) return run_of<kLower | kCaseless | kMarked>(p, end);
  return caseless ? caseless : p;
}

// White space at `p` (of class `k`, `n` bytes): up to the last newline, else all but the last character when a word
// follows.
template <bool newlines>
inline const char* white_space(const char* p, const char* end, unsigned k, std::size_t n) {
  const char* const start = p;
  const char* last = p;  // start of the last character of the run
  const char* newline = nullptr;
  do {
    last = p;
    p += n;
    if (k == kNewline) newline = p;
    if (p >= end) break;
    k = class_at(p, n);
  } while (k & (kBlank | kNewline));
  if (newlines && newline) return newline;
  return p < end && last > start ? last : p;
}

}  // namespace detail

namespace detail {

template <typename Emit>
void scan_deepseek(const char* p, const char* end, Emit&& emit) {
  constexpr unsigned in_word = kLetter | kMarked;
  const auto letter = [](char c) { return static_cast<unsigned char>((c | 0x20) - 'a') < 26; };
  while (p < end) {
    const char* const start = p;
    std::size_t n = 0, m = 0;
    const unsigned first = class_at(p, n);
    if (n == 1 && first & kPunctuated && p + 1 < end && letter(p[1])) {
      emit(start, p = skip_ascii_letters(p + 1, end));
      continue;
    }
    const unsigned second = p + n < end ? class_at(p + n, m) : 0u;
    if (first & in_word || (!(first & (kNewline | kPunctuated)) && second & in_word)) {
      emit(start, p = run_of<in_word>(p + n, end));
    } else if (first & kPunctuated || (*p == ' ' && second & kPunctuated)) {
      p = run_of<kPunctuated>(p + n, end);
      while (p < end && (*p == '\r' || *p == '\n')) ++p;
      emit(start, p);
    } else if (first & (kBlank | kNewline)) {
      emit(start, p = white_space<true>(p, end, first, n));
    } else {
      p += n;
    }
  }
}

template <typename Emit>
void scan_numbers(const char* p, const char* end, Emit&& emit) {
  while (p < end) {
    const char* const start = p;
    std::size_t n = 0;
    for (int k = 0; k < 3 && p < end && class_at(p, n) & kNumber; ++k) p += n;
    if (p > start)
      emit(start, p);
    else
      p += n;
  }
}

template <typename Emit>
void scan_kanji(const char* p, const char* end, Emit&& emit) {
  const char* start = nullptr;
  while (p < end) {
    const auto lead = static_cast<unsigned char>(*p);
    const char32_t c = lead < 0xE3 ? 0 : unicode::decode(p);
    const bool in = (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
    if (in && !start) start = p;
    if (!in && start) emit(start, p), start = nullptr;
    p += unicode::length(lead);
  }
  if (start) emit(start, end);
}

}  // namespace detail

// Calls emit(begin, end) for each match. All but the last three styles match everything.
template <Style style, typename Emit>
void scan(const char* p, const char* end, Emit&& emit) {
  if constexpr (style == Style::deepseek) return detail::scan_deepseek(p, end, emit);
  if constexpr (style == Style::numbers) return detail::scan_numbers(p, end, emit);
  if constexpr (style == Style::kanji) return detail::scan_kanji(p, end, emit);
  constexpr bool modern = style != Style::gpt2;
  constexpr bool cased = style == Style::o200k || style == Style::tekken;
  constexpr unsigned in_word = cased || style == Style::qwen35 ? kLetter | kMarked : kLetter;
  constexpr unsigned in_other = style == Style::qwen35 ? kLetter | kMarked | kNumber | kBlank | kNewline
                                                       : kLetter | kNumber | kBlank | kNewline;  // the rest, that is
  constexpr int digits = style == Style::gpt2 ? 0 : style == Style::cl100k || style == Style::o200k ? 3 : 1;
  while (p < end) {
    const char* const start = p;
    if (const char* const stop = detail::plain_word<style>(p, end)) {
      emit(start, p = stop);
      continue;
    }
    if constexpr (!cased) {
      if (const std::size_t n = detail::contraction(p, end, modern)) {
        emit(start, p += n);
        continue;
      }
    }
    std::size_t n = 0;
    unsigned first = class_at(p, n);
    // What may stand before a word: any character but a newline in the modern patterns, a space in the old one.
    const char* word = nullptr;
    unsigned second = 0;
    std::size_t m = 0;
    if (first & kLetter) {
      word = p;
    } else if (p + n < end && (modern ? !(first & (kNewline | kNumber)) : *p == ' ')) {
      second = class_at(p + n, m);
      if (second & in_word) word = p + n;
    }
    if (!word && first & in_word) word = p;
    if (word) {
      if constexpr (cased) {
        const char* stop = detail::cased_word(word, end);
        // A mark before capitals alone is a word by itself: the first alternative finds it without what may stand
        // before.
        if (first & kMarked && word != p) {
          bool capitals = true;
          for (const char* q = word; q < stop; q += m) capitals = capitals && class_at(q, m) & kUpper;
          if (capitals) stop = word;
        }
        p = stop;
        if (style == Style::o200k) p += detail::contraction(p, end, true);
      } else {
        p = detail::run_of<in_word>(word, end);
      }
      emit(start, p);
      continue;
    }
    if (first & kNumber) {
      p += n;
      if constexpr (digits == 0) {
        p = detail::run_of<kNumber>(p, end);
      } else {
        for (int k = 1; k < digits && p < end && class_at(p, n) & kNumber; ++k) p += n;
      }
      emit(start, p);
      continue;
    }
    if (*p == ' ' && p + 1 < end) {
      if (!modern && second & kNumber) {
        emit(start, p = detail::run_of<kNumber>(p + 1, end));
        continue;
      }
      if (!(second & in_other)) {
        p += 1;
        first = second;
        n = m;
      }
    }
    if (!(first & in_other)) {
      p = detail::run_without<in_other>(p + n, end);
      if constexpr (modern) {
        while (p < end && (*p == '\r' || *p == '\n' || (cased && *p == '/'))) ++p;
      }
      emit(start, p);
      continue;
    }
    emit(start, p = detail::white_space<modern>(p, end, first, n));
  }
}

template <typename Emit>
void scan(Style style, const char* p, const char* end, Emit&& emit) {
  switch (style) {
    case Style::gpt2: return scan<Style::gpt2>(p, end, emit);
    case Style::cl100k: return scan<Style::cl100k>(p, end, emit);
    case Style::qwen2: return scan<Style::qwen2>(p, end, emit);
    case Style::qwen35: return scan<Style::qwen35>(p, end, emit);
    case Style::o200k: return scan<Style::o200k>(p, end, emit);
    case Style::tekken: return scan<Style::tekken>(p, end, emit);
    case Style::deepseek: return scan<Style::deepseek>(p, end, emit);
    case Style::numbers: return scan<Style::numbers>(p, end, emit);
    case Style::kanji: return scan<Style::kanji>(p, end, emit);
  }
}

}  // namespace enfold::tok
