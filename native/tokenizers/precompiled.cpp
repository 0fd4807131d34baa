#include "precompiled.hpp"

#include <algorithm>

#include "errors.hpp"
#include "graphemes.hpp"

namespace enfold::tok {

namespace {

using unicode::Change;

constexpr std::size_t kWholeBelow = 6;  // bytes of a grapheme that is looked up as one

// A unit of the trie: bits 0–7 and 31 label, 8 has a text, 9 widens the offset in bits 10–30.
bool is_value(std::uint32_t unit) { return unit >> 31; }
bool has_text(std::uint32_t unit) { return unit >> 8 & 1; }
std::uint32_t label(std::uint32_t unit) { return unit & 0x800000FFu; }
std::size_t offset(std::uint32_t unit) { return static_cast<std::size_t>(unit >> 10) << (unit >> 6 & 8); }
std::size_t value(std::uint32_t unit) { return unit & 0x7FFFFFFFu; }

int sextet(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

std::string decode_base64(std::string_view text) {
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  std::size_t end = text.size();
  while (end > 0 && text.size() - end < 2 && text[end - 1] == '=') --end;
  std::uint32_t bits = 0;
  int held = 0;
  for (std::size_t i = 0; i < end; ++i) {
    const int v = sextet(text[i]);
    if (v < 0) {
      throw Error("normalizer.precompiled_charsmap should be base64, but its character " + std::to_string(i) +
                  " is none of that alphabet");
    }
    bits = bits << 6 | static_cast<std::uint32_t>(v);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out.push_back(static_cast<char>(bits >> held & 0xFF));
  }
  if (held == 6 || bits & ((1u << held) - 1)) {
    throw Error("normalizer.precompiled_charsmap is cut off: its base64 ends within a byte");
  }
  return out;
}

std::uint32_t read32(std::string_view bytes, std::size_t at) {
  std::uint32_t v = 0;
  for (std::size_t k = 4; k-- > 0;) v = v << 8 | static_cast<unsigned char>(bytes[at + k]);
  return v;
}

// The changes that put `made` in the place of `n` characters: what is more than they were was inserted, and the last
// character swallows what is less.
void replace(std::vector<Change>& changes, std::size_t n, std::string_view made) {
  std::size_t written = 0;
  for (std::size_t i = 0; i < made.size(); i += unicode::length(static_cast<unsigned char>(made[i])), ++written) {
    changes.push_back({unicode::decode(made.data() + i), written >= n});
  }
  if (written < n && !changes.empty()) changes.back().change -= static_cast<std::int32_t>(n - written);
}

}  // namespace

Precompiled::Precompiled(std::string_view base64) {
  const std::string bytes = decode_base64(base64);
  const std::size_t trie = bytes.size() < 4 ? 0 : read32(bytes, 0);
  if (trie < 4 || trie % 4 || trie > bytes.size() - 4) {
    throw Error(
        "normalizer.precompiled_charsmap should begin with the size of its trie, a multiple of 4 that fits into its " +
        std::to_string(bytes.size()) + " bytes, got " + std::to_string(trie));
  }
  units_.resize(trie / 4);
  for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = read32(bytes, 4 + 4 * i);
  texts_ = bytes.substr(4 + trie);
  check();
}

void Precompiled::check() const {
  if (!unicode::is_valid(texts_)) throw Error("normalizer.precompiled_charsmap: its texts are not valid UTF-8");
  for (std::size_t i = 0; i < units_.size(); ++i) {
    if (is_value(units_[i])) continue;
    const std::size_t children = i ^ offset(units_[i]);
    if (children >= units_.size()) {
      throw Error("normalizer.precompiled_charsmap: node " + std::to_string(i) + " of its trie points to " +
                  std::to_string(children) + ", but there are " + std::to_string(units_.size()) + " nodes");
    }
    if (!has_text(units_[i])) continue;
    const std::size_t at = value(units_[children]);
    if (at > texts_.size() || (at < texts_.size() && unicode::is_continuation(texts_[at]))) {
      throw Error("normalizer.precompiled_charsmap: node " + std::to_string(i) + " of its trie points to byte " +
                  std::to_string(at) + " of the texts, where none begins (they have " + std::to_string(texts_.size()) +
                  " bytes)");
    }
  }
}

bool Precompiled::replacement(std::string_view chunk, std::string_view& out) const {
  std::size_t at = offset(units_[0]);
  for (const char c : chunk) {
    const auto byte = static_cast<unsigned char>(c);
    at ^= byte;
    if (byte == 0 || at >= units_.size() || label(units_[at]) != byte) return false;
    const std::uint32_t unit = units_[at];
    at ^= offset(unit);
    if (!has_text(unit)) continue;
    const std::size_t begin = value(units_[at]);
    out = std::string_view(texts_).substr(begin, std::min(texts_.find('\0', begin), texts_.size()) - begin);
    return true;
  }
  return false;
}

Normalizer::Effect Precompiled::effect(char32_t c) const {
  if (unicode::may_cluster(c)) return Effect::context;
  char bytes[4];
  std::string_view made;
  return replacement({bytes, unicode::encode(c, bytes)}, made) ? Effect::changed : Effect::kept;
}

void Precompiled::apply(Aligned& aligned) const {
  const std::string_view text = aligned.text;
  std::vector<Change> changes;
  changes.reserve(text.size());
  bool modified = false;
  std::string_view made;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = unicode::grapheme_end(text, i);
    const std::string_view grapheme = text.substr(i, end - i);
    i = end;
    if (grapheme.size() < kWholeBelow && replacement(grapheme, made)) {
      replace(changes, unicode::count(grapheme), made);
      modified = true;
      continue;
    }
    for (std::size_t k = 0; k < grapheme.size();) {
      const std::size_t n = unicode::length(static_cast<unsigned char>(grapheme[k]));
      if (replacement(grapheme.substr(k, n), made)) {
        replace(changes, 1, made);
        modified = true;
      } else {
        changes.push_back({unicode::decode(grapheme.data() + k), 0});
      }
      k += n;
    }
  }
  if (modified) aligned.transform(changes);
}

}  // namespace enfold::tok
