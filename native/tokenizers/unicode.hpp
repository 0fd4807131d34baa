#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Unicode as the reference library sees it. Its parts follow different versions of the standard, so everything here was
// measured on it (tools/unicode/probe.py) instead of being taken from a Unicode library.
namespace enfold::tok::unicode {

enum Flag : std::uint16_t {
  kSpace = 1 << 0,        // White_Space
  kWord = 1 << 1,         // \w of the Whitespace pre-tokenizer and of single_word
  kDigit = 1 << 2,        // Digits
  kPunctuation = 1 << 3,  // BertPreTokenizer, Punctuation
  kControl = 1 << 4,      // removed by BertNormalizer(clean_text)
  kAccent = 1 << 5,       // removed by BertNormalizer(strip_accents)
  kMark = 1 << 6,         // removed by StripAccents
  kCjk = 1 << 7,          // spaced by BertNormalizer(handle_chinese_chars)
  kLower = 1 << 8,        // has a lower-case image
  kNfd = 1 << 9,          // has a canonical decomposition
  kNfkd = 1 << 10,        // has a compatibility decomposition
  kNfcUnsafe = 1 << 11,   // NFC may change a text that holds it
  kNfkcUnsafe = 1 << 12,  // NFKC may change a text that holds it
  kRegexWord = 1 << 13,   // \w in a pattern
  kRegexSpace = 1 << 14,  // \s in a pattern
  kToSpace = 1 << 15,     // becomes a space under BertNormalizer(clean_text)
};

enum class Category : std::uint8_t {
  Cn,
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp,
  Cc,
  Cf,
  Co,
};

struct Properties {
  std::uint16_t flags;
  std::uint8_t category;
  std::uint8_t combining_class;
};

struct Pair {
  char32_t from, to;
};
struct Decomposition {
  char32_t from;
  std::uint16_t at, count;
};
struct Composition {
  char32_t first, second, composed;
};

extern const Properties kProperties[];
extern const std::size_t kRecordCount;
extern const std::uint16_t kStage1[];
extern const std::uint16_t kStage2[];

inline const Properties& properties(char32_t c) { return kProperties[kStage2[(kStage1[c >> 7] << 7) | (c & 127)]]; }
inline bool has(char32_t c, std::uint16_t flags) { return properties(c).flags & flags; }
inline Category category(char32_t c) { return static_cast<Category>(properties(c).category); }
inline bool is_letter(char32_t c) {
  return properties(c).category - 1u < 5u;  // Lu Ll Lt Lm Lo
}
inline bool is_number(char32_t c) { return properties(c).category - 9u < 3u; }  // Nd Nl No

// Writes the lower-case image (one or two characters) and returns its length.
int lower(char32_t c, char32_t out[2]);

// The full canonical decomposition of a character; empty if it has none. `room` may hold it.
std::span<const char32_t> canonical(char32_t c, char32_t room[3]);

// A character of a transformed text and how it came to be: 0 replaces the next source character, 1 was inserted,
// -n replaces one and swallows the n that follow.
struct Change {
  char32_t c;
  std::int32_t change;
};

enum class Form { nfc, nfd, nfkc, nfkd };
std::vector<Change> normalize(std::string_view text, Form form);
// Whether the normal form differs from the text (for NFD and NFKD: may differ).
bool may_change(std::string_view text, Form form);

inline bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Bytes of the character that this lead byte starts; texts inside the engine are always valid UTF-8.
inline std::size_t length(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

// One to four bytes as a number, which no other bytes give.
inline std::uint32_t packed(const char* s, std::size_t n) {
  const auto byte = [s](int i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(s[i])); };
  std::uint32_t out = byte(0);
  if (n > 1) out |= byte(1) << 8;
  if (n > 2) out |= byte(2) << 16;
  if (n > 3) out |= byte(3) << 24;
  return out;
}

inline char32_t decode(const char* s) {
  const auto* p = reinterpret_cast<const unsigned char*>(s);
  if (p[0] < 0x80) return p[0];
  if (p[0] < 0xE0) return (p[0] & 31u) << 6 | (p[1] & 63u);
  if (p[0] < 0xF0) return (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
  return (p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
}

// The character that ends right before `at` (at > 0).
inline char32_t decode_before(std::string_view text, std::size_t at) {
  std::size_t i = at - 1;
  while (i > 0 && is_continuation(text[i])) --i;
  return decode(text.data() + i);
}

// Writes the UTF-8 form and returns its length.
inline std::size_t encode(char32_t c, char* out) {
  if (c < 0x80) return out[0] = static_cast<char>(c), 1;
  if (c < 0x800) return out[0] = static_cast<char>(0xC0 | c >> 6), out[1] = static_cast<char>(0x80 | (c & 63)), 2;
  if (c < 0x10000) {
    out[0] = static_cast<char>(0xE0 | c >> 12);
    out[1] = static_cast<char>(0x80 | (c >> 6 & 63));
    out[2] = static_cast<char>(0x80 | (c & 63));
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | c >> 18);
  out[1] = static_cast<char>(0x80 | (c >> 12 & 63));
  out[2] = static_cast<char>(0x80 | (c >> 6 & 63));
  out[3] = static_cast<char>(0x80 | (c & 63));
  return 4;
}
inline void append(std::string& out, char32_t c) {
  char bytes[4];
  out.append(bytes, encode(c, bytes));
}

inline std::size_t count(std::string_view text) {
  std::size_t n = 0;
  for (char byte : text) n += !is_continuation(byte);
  return n;
}

// Replaces what is not valid UTF-8 by U+FFFD, one for each maximal ill-formed part (Unicode 3.9, "best practice").
void append_lossy(std::string& out, std::string_view bytes);
bool is_valid(std::string_view bytes);

}  // namespace enfold::tok::unicode
