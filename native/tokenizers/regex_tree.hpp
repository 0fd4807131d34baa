#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "char_set.hpp"

namespace enfold::tok::regex {

inline constexpr std::uint32_t kEndless = 0xFFFFFFFFu;

// A parsed pattern.
struct Node {
  enum Kind {
    kEmpty,
    kText,       // characters one after the other
    kSet,        // one character of a set
    kConcat,
    kAlternate,
    kRepeat,
    kGroup,
    kAtomic,
    kLook,
    kAnchor,
    kReference,  // what a group has matched
    kKeep,       // the match starts here
  } kind = kEmpty;
  std::vector<Node> children;
  std::u32string text;
  CharSet set;
  std::uint32_t min = 0, max = 0;                               // repeat
  bool lazy = false, possessive = false;                        // repeat
  bool behind = false, negative = false;                        // look
  bool any_case = false;                                        // text, reference
  char anchor = 0;                                              // as its escape spells it
  std::uint32_t capture = 0;                                    // group: its number, 0 for none
  std::vector<std::uint32_t> groups;                            // reference: groups to try, the last one first
};

struct Tree {
  Node root;
  std::uint32_t captures = 0;
};

// Parses a pattern of Oniguruma's dialect. Throws Error for one that is malformed or uses what is not built.
Tree parse(const std::string& source);

[[noreturn]] void refuse(const std::string& source, const std::string& what);

}  // namespace enfold::tok::regex
