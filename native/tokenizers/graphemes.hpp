#pragma once

#include <cstdint>
#include <string_view>

#include "unicode.hpp"

// Grapheme clusters (Unicode Annex 29) as the reference library cuts them, up to what it lets show: pairs of regional
// indicators count as two. Measured by tools/unicode/graphemes.py.
namespace enfold::tok::unicode {

enum class Cluster : std::uint8_t {
  other,
  cr,
  lf,
  control,
  extend,
  zwj,
  spacing,
  prepend,
  pictographic,
  l,
  v,
  t,
  lv,
  lvt,
};
enum class Conjunct : std::uint8_t { none, consonant, linker, extend };

struct ClusterClass {
  Cluster cluster;
  Conjunct conjunct;
};
ClusterClass cluster_class(char32_t c);

// Whether the character may share a grapheme with a neighbour of which this is not true.
inline bool may_cluster(char32_t c) {
  switch (cluster_class(c).cluster) {
    case Cluster::other:
    case Cluster::lf:
    case Cluster::control:
    case Cluster::pictographic:
    case Cluster::lv:
    case Cluster::lvt: return false;
    default: return true;
  }
}

// Where the grapheme that begins at `from` ends.
std::size_t grapheme_end(std::string_view text, std::size_t from);

}  // namespace enfold::tok::unicode
