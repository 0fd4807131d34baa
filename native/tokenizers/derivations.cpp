#include "derivations.hpp"

#include "unicode.hpp"

namespace enfold::tok {

Derivations::Derivations(const Bpe& model) : steps_(model.vocab.id_limit(), Step{kUnknown, kNoId, kNoId}) {
  const MergeTable& merges = model.merges();
  model.vocab.each([&](std::string_view token, Id id) {
    // One character, which is one byte.
    if (!token.empty() && unicode::length(static_cast<unsigned char>(token[0])) == token.size()) {
      steps_[static_cast<std::size_t>(id)].rank = kGiven;
    }
  });
  for (const auto& [merge, rank] : merges.in_order()) {
    const auto [left, right, id] = merge;
    Step& made = steps_[static_cast<std::size_t>(id)];
    // Both parts are made by lower ranks, or are not known to be made.
    if (made.rank != kUnknown || !makes(left) || !makes(right) || !stay_apart(merges, left, right)) continue;
    made = {rank + 1, left, right};
  }
}

// Whether no merge reaches over the boundary between two tokens while their bytes become them.
bool Derivations::stay_apart(const MergeTable& merges, Id left, Id right) const {
  for (;;) {
    const Step &x = step(left), &y = step(right);
    if (x.rank == kGiven && y.rank == kGiven) return true;
    // What came last is taken back: of the same merge on both sides, that on the right.
    if (x.rank > y.rank) {
      left = x.right;
      if (merges.rank(left, right) < x.rank - 1) return false;
    } else {
      right = y.left;
      if (merges.rank(left, right) <= y.rank - 1) return false;
    }
  }
}

}  // namespace enfold::tok
