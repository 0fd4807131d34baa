#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "normalizers.hpp"

namespace enfold::tok {

// Sentencepiece's map of characters: a double-array trie of what is replaced (in the layout of the Darts library) and
// the NUL-terminated texts that replace it.
class Precompiled final : public Normalizer {
 public:
  // Takes the base64 form; everything that a look-up may reach is checked here.
  explicit Precompiled(std::string_view base64);

  // Graphemes of up to five bytes are looked up whole, longer ones and those not found character by character. What is
  // found for a grapheme is found for its shortest prefix in the map, and the rest of it is lost, as in the reference.
  void apply(Aligned& text) const override;
  Effect effect(char32_t c) const override;
  // What stands for the shortest prefix of `chunk` that the map has; false if it has none.
  bool replacement(std::string_view chunk, std::string_view& out) const;

 private:
  void check() const;

  std::vector<std::uint32_t> units_;
  std::string texts_;
};

}  // namespace enfold::tok
