#pragma once

#include <vector>

#include "models.hpp"

namespace enfold::tok {

// How the merges of a model make each token, and which tokens they make at all: a token of the vocabulary need not be
// what its own bytes become. A word that is such a token, or two of them that stay apart, needs no merging.
//
// Merges of rising rank build a token from its two parts if none of them ever reaches over the boundary between the
// parts before both are whole. So the two symbols at the boundary are followed back in time, merge by merge: a pair
// whose rank is lower than that of the merge which replaced one of them would have come first.
class Derivations {
 public:
  explicit Derivations(const Bpe& model);
  // Whether the bytes of a token become this token. False for some of which that would be hard to say.
  bool makes(Id id) const { return steps_[static_cast<std::size_t>(id)].rank != kUnknown; }

 private:
  struct Step {
    std::uint32_t rank;  // of the last merge
    Id left, right;      // what it joins
  };
  // In front of all ranks, which are counted from 1 here: a token that no merge makes.
  static constexpr std::uint32_t kGiven = 0, kUnknown = 0xFFFFFFFFu;
  const Step& step(Id id) const { return steps_[static_cast<std::size_t>(id)]; }
  bool stay_apart(const MergeTable& merges, Id left, Id right) const;

  std::vector<Step> steps_;  // by id
};

}  // namespace enfold::tok
