#include "graphemes.hpp"

#include <vector>

namespace enfold::tok::unicode {

namespace {

struct GraphemeRange {
  char32_t first, last;
  std::uint8_t cluster, conjunct;
};
#include "grapheme_tables.inc"

constexpr char32_t kPage = 128;

// Pages of 128 characters; the first is that of the many characters without a class.
struct Classes {
  std::vector<std::uint8_t> page_of = std::vector<std::uint8_t>(0x110000 / kPage);
  std::vector<ClusterClass> classes = std::vector<ClusterClass>(kPage, ClusterClass{Cluster::other, Conjunct::none});

  Classes() {
    for (const GraphemeRange& range : kGraphemeRanges) {
      for (char32_t c = range.first; c <= range.last; ++c) {
        std::uint8_t& page = page_of[c / kPage];
        if (!page) {
          page = static_cast<std::uint8_t>(classes.size() / kPage);
          classes.insert(classes.end(), kPage, ClusterClass{Cluster::other, Conjunct::none});
        }
        classes[page * kPage + c % kPage] = {static_cast<Cluster>(range.cluster),
                                             static_cast<Conjunct>(range.conjunct)};
      }
    }
  }
};

bool joins(Cluster left, Cluster right) {
  const auto is = [](Cluster k, auto... others) { return ((k == others) || ...); };
  if (left == Cluster::cr && right == Cluster::lf) return true;
  if (is(left, Cluster::cr, Cluster::lf, Cluster::control) || is(right, Cluster::cr, Cluster::lf, Cluster::control)) {
    return false;
  }
  if (is(right, Cluster::extend, Cluster::zwj, Cluster::spacing) || left == Cluster::prepend) return true;
  if (left == Cluster::l) return is(right, Cluster::l, Cluster::v, Cluster::lv, Cluster::lvt);
  if (is(left, Cluster::lv, Cluster::v)) return is(right, Cluster::v, Cluster::t);
  if (is(left, Cluster::lvt, Cluster::t)) return right == Cluster::t;
  return false;
}

}  // namespace

ClusterClass cluster_class(char32_t c) {
  static const Classes table;
  if (c - 0xAC00u < 0xD7A4u - 0xAC00u) return {(c - 0xAC00) % 28 ? Cluster::lvt : Cluster::lv, Conjunct::none};
  return table.classes[table.page_of[c / kPage] * kPage + c % kPage];
}

std::size_t grapheme_end(std::string_view text, std::size_t from) {
  const auto size_at = [&](std::size_t i) { return length(static_cast<unsigned char>(text[i])); };
  ClusterClass left = cluster_class(decode(text.data() + from));
  bool picture = left.cluster == Cluster::pictographic;         // … Extend* so far
  bool consonant = left.conjunct == Conjunct::consonant;        // … followed by extenders and linkers so far
  bool linked = false, zwj = false;                             // a linker among them; a ZWJ right behind the picture
  std::size_t i = from + size_at(from);
  for (; i < text.size(); i += size_at(i)) {
    const ClusterClass right = cluster_class(decode(text.data() + i));
    const bool picture_sequence = zwj && right.cluster == Cluster::pictographic;
    const bool conjunct = consonant && linked && right.conjunct == Conjunct::consonant;
    if (!joins(left.cluster, right.cluster) && !picture_sequence && !conjunct) return i;
    zwj = picture && right.cluster == Cluster::zwj;
    picture = right.cluster == Cluster::pictographic || (picture && right.cluster == Cluster::extend);
    if (right.conjunct == Conjunct::consonant) {
      consonant = true;
      linked = false;
    } else if (right.conjunct == Conjunct::none) {
      consonant = false;
    } else if (right.conjunct == Conjunct::linker) {
      linked = true;
    }
    left = right;
  }
  return i;
}

}  // namespace enfold::tok::unicode
