#include "aligned.hpp"

#include <algorithm>

namespace enfold::tok {

using unicode::Change;

Aligned Aligned::from(std::string_view piece, std::uint32_t at) {
  Aligned made;
  made.text = piece;
  made.origin.resize(piece.size());
  for (std::size_t i = 0; i < piece.size();) {
    const std::size_t n = unicode::length(static_cast<unsigned char>(piece[i]));
    const Span span{at + static_cast<std::uint32_t>(i), at + static_cast<std::uint32_t>(i + n)};
    for (std::size_t k = 0; k < n; ++k) made.origin[i + k] = span;
    i += n;
  }
  made.input = {piece.data() - at, at + piece.size()};
  made.covers = {at, at + static_cast<std::uint32_t>(piece.size())};
  return made;
}

void Aligned::transform(const std::vector<Change>& changes, std::size_t dropped) {
  // The reference replaces what aligns with the whole original: from the first byte that stands for something.
  if (covers.begin == covers.end) return transform_range(0, 0, changes, dropped);
  if (text.empty()) return;
  std::size_t begin = 0;
  while (begin < origin.size() && origin[begin].begin == origin[begin].end) ++begin;
  transform_range(begin, text.size(), changes, dropped);
}

void Aligned::transform_range(std::size_t begin, std::size_t end, const std::vector<Change>& changes,
                              std::size_t dropped) {
  std::string made;
  std::vector<Span> made_origin;
  made.reserve(end - begin);
  made_origin.reserve(end - begin);
  std::size_t next = begin;  // the next source character to be replaced
  const auto skip = [&](std::size_t n) {
    for (; n > 0 && next < end; --n) next += unicode::length(static_cast<unsigned char>(text[next]));
  };
  skip(dropped);
  for (const Change& item : changes) {
    Span from{covers.begin, covers.begin};
    if (item.change > 0) {
      if (next > 0) from = origin[next - 1];
    } else if (!origin.empty()) {
      from = origin[std::min(next, origin.size() - 1)];
    }
    if (item.change <= 0) skip(1 + static_cast<std::size_t>(-item.change));
    char bytes[4];
    const std::size_t n = unicode::encode(item.c, bytes);
    made.append(bytes, n);
    made_origin.insert(made_origin.end(), n, from);
  }
  if (begin == 0 && end == text.size()) {
    text = std::move(made);
    origin = std::move(made_origin);
    return;
  }
  text.replace(begin, end - begin, made);
  const auto at = origin.begin() + static_cast<std::ptrdiff_t>(begin);
  origin.insert(origin.erase(at, at + static_cast<std::ptrdiff_t>(end - begin)), made_origin.begin(),
                made_origin.end());
}

void Aligned::prepend(std::string_view what) {
  if (text.empty()) return;
  const std::size_t first = unicode::length(static_cast<unsigned char>(text[0]));
  std::vector<Change> changes;
  for (std::size_t i = 0; i < what.size(); i += unicode::length(static_cast<unsigned char>(what[i]))) {
    changes.push_back({unicode::decode(what.data() + i), i > 0});
  }
  changes.push_back({unicode::decode(text.data()), 1});
  transform_range(0, first, changes, 0);
}

void Aligned::lowercase() {
  std::vector<Change> changes;
  changes.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); i += unicode::length(static_cast<unsigned char>(text[i]))) {
    char32_t image[2];
    const int n = unicode::lower(unicode::decode(text.data() + i), image);
    for (int k = 0; k < n; ++k) changes.push_back({image[k], k > 0});
  }
  transform(changes);
}

void Aligned::strip(bool left, bool right) {
  std::size_t begin = 0, end = text.size(), leading = 0;
  const auto is_space = [](char32_t c) { return unicode::has(c, unicode::kSpace); };
  if (left) {
    while (begin < end && is_space(unicode::decode(text.data() + begin))) {
      begin += unicode::length(static_cast<unsigned char>(text[begin]));
      ++leading;
    }
  }
  std::size_t trailing = 0;
  if (right) {
    while (end > begin && is_space(unicode::decode_before(text, end))) {
      do --end;
      while (unicode::is_continuation(text[end]));
      ++trailing;
    }
  }
  if (!leading && !trailing) return;
  std::vector<Change> changes;
  for (std::size_t i = begin; i < end; i += unicode::length(static_cast<unsigned char>(text[i]))) {
    changes.push_back({unicode::decode(text.data() + i), 0});
  }
  if (!changes.empty()) changes.back().change = -static_cast<std::int32_t>(trailing);
  transform(changes, leading);
}

void Aligned::replace(const std::vector<Cut>& cuts, std::string_view content) {
  std::string made;
  std::vector<Span> made_origin;
  made.reserve(text.size());
  made_origin.reserve(text.size());
  for (const Cut& cut : cuts) {
    const auto begin = origin.begin() + cut.begin, end = origin.begin() + cut.end;
    if (!cut.match) {
      made.append(text, cut.begin, cut.end - cut.begin);
      made_origin.insert(made_origin.end(), begin, end);
      continue;
    }
    // What is inserted stands where the last byte of the match stood, or behind what came before an empty match.
    Span from{covers.begin, covers.begin};
    if (cut.end > cut.begin) from = origin[cut.end - 1];
    else if (!made_origin.empty()) from = made_origin.back();
    made.append(content);
    made_origin.insert(made_origin.end(), content.size(), from);
  }
  text = std::move(made);
  origin = std::move(made_origin);
}

bool Aligned::source(std::size_t begin, std::size_t end, Span& out) const {
  if (begin == end) {
    out = {covers.begin + static_cast<std::uint32_t>(begin), covers.begin + static_cast<std::uint32_t>(end)};
    return true;
  }
  if (begin > end || end > origin.size()) return false;
  out = {origin[begin].begin, origin[end - 1].end};
  return true;
}

Aligned Aligned::slice(std::size_t begin, std::size_t end) const {
  Aligned made;
  made.text.assign(text, begin, end - begin);
  made.origin.assign(origin.begin() + static_cast<std::ptrdiff_t>(begin),
                     origin.begin() + static_cast<std::ptrdiff_t>(end));
  source(begin, end, made.covers);
  made.input = input;
  return made;
}

void Aligned::split(std::vector<Cut> cuts, Behavior behavior, std::vector<Aligned>& out, bool keep_empty) const {
  const auto emit = [&](const Cut& cut) {
    if (cut.begin < cut.end || keep_empty) out.push_back(slice(cut.begin, cut.end));
  };
  switch (behavior) {
    case Behavior::isolated:
      for (const Cut& cut : cuts) emit(cut);
      return;
    case Behavior::removed:
      for (const Cut& cut : cuts) {
        if (!cut.match) emit(cut);
      }
      return;
    case Behavior::contiguous:
    case Behavior::merged_with_previous: {
      bool previous = false;
      std::size_t kept = 0;
      for (const Cut& cut : cuts) {
        const bool joins = behavior == Behavior::contiguous ? cut.match == previous : cut.match && !previous;
        if (joins && kept) cuts[kept - 1].end = cut.end;
        else cuts[kept++] = cut;
        previous = cut.match;
      }
      cuts.resize(kept);
      for (const Cut& cut : cuts) emit(cut);
      return;
    }
    case Behavior::merged_with_next: {
      std::vector<Cut> merged;
      bool previous = false;
      for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
        if (cut->match && !previous && !merged.empty()) merged.back().begin = cut->begin;
        else merged.push_back(*cut);
        previous = cut->match;
      }
      for (auto cut = merged.rbegin(); cut != merged.rend(); ++cut) emit(*cut);
      return;
    }
  }
}

void index_characters(std::string_view text, std::vector<std::uint32_t>& out) {
  out.resize(text.size());
  std::uint32_t c = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    c += !unicode::is_continuation(text[i]);
    out[i] = c - 1;
  }
}

Span in_characters(Span bytes, const std::vector<std::uint32_t>& index) {
  if (bytes.begin >= index.size()) return bytes;
  const std::uint32_t begin = index[bytes.begin];
  if (bytes.end < index.size()) return {begin, index[bytes.end]};
  const std::size_t last = static_cast<std::size_t>(bytes.end) - 1;
  return {begin, (bytes.end && last < index.size() ? index[last] : begin + 1) + 1};
}

}  // namespace enfold::tok
