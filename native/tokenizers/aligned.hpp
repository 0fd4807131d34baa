#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "unicode.hpp"

namespace enfold::tok {

struct Span {
  std::uint32_t begin, end;
  friend bool operator==(const Span&, const Span&) = default;
};

// One stretch of a text cut by a pattern: matched by it or lying between two matches.
struct Cut {
  std::uint32_t begin, end;
  bool match;
};

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// A text that still knows where each of its bytes came from. The rules by which an edit moves the alignment are the
// reference library's, oddities included, because the offsets that users see depend on them.
struct Aligned {
  std::string text;          // UTF-8, after all edits so far
  std::vector<Span> origin;  // for each byte of `text`: the bytes of the whole input it stands for
  Span covers{};             // the bytes of the whole input that this piece stands for
  std::string_view input{};  // the whole input, as far as it goes on living

  // Of a text that lies at byte `at` of the whole input.
  static Aligned from(std::string_view text, std::uint32_t at);

  // Replaces everything. `dropped` characters at the start vanish without a successor.
  void transform(const std::vector<unicode::Change>& changes, std::size_t dropped = 0);
  void transform_range(std::size_t begin, std::size_t end, const std::vector<unicode::Change>& changes,
                       std::size_t dropped);
  template <typename Keep>
  void filter(Keep keep);
  void prepend(std::string_view what);
  void lowercase();
  void strip(bool left, bool right);
  void replace(const std::vector<Cut>& cuts, std::string_view content);

  // Bytes of the input behind bytes [begin, end) of the text; false if they lie outside of it.
  bool source(std::size_t begin, std::size_t end, Span& out) const;
  Aligned slice(std::size_t begin, std::size_t end) const;
  // Appends the pieces that the cuts leave under the given behaviour; empty ones only if asked for.
  void split(std::vector<Cut> cuts, Behavior behavior, std::vector<Aligned>& out, bool keep_empty = false) const;
};

// For each byte of a text, the index of its character.
void index_characters(std::string_view text, std::vector<std::uint32_t>& out);
// Character offsets of byte offsets, as the reference converts them.
Span in_characters(Span bytes, const std::vector<std::uint32_t>& index);

// Cuts before and after every character that satisfies the predicate.
template <typename Predicate>
std::vector<Cut> cut_characters(std::string_view text, Predicate&& matches) {
  std::vector<Cut> cuts;
  std::uint32_t last = 0;
  for (std::uint32_t i = 0; i < text.size();) {
    const auto n = static_cast<std::uint32_t>(unicode::length(static_cast<unsigned char>(text[i])));
    if (matches(unicode::decode(text.data() + i))) {
      if (last < i) cuts.push_back({last, i, false});
      cuts.push_back({i, i + n, true});
      last = i + n;
    }
    i += n;
  }
  if (last < text.size()) cuts.push_back({last, static_cast<std::uint32_t>(text.size()), false});
  return cuts;
}

template <typename Keep>
void Aligned::filter(Keep keep) {
  std::vector<unicode::Change> changes;
  std::size_t dropped = 0;
  for (std::size_t i = 0; i < text.size(); i += unicode::length(static_cast<unsigned char>(text[i]))) {
    const char32_t c = unicode::decode(text.data() + i);
    if (keep(c)) changes.push_back({c, 0});
    else if (changes.empty()) ++dropped;
    else --changes.back().change;
  }
  transform(changes, dropped);
}

}  // namespace enfold::tok
