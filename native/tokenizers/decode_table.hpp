#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "decoders.hpp"
#include "vocabulary.hpp"

namespace enfold::tok {

class Core;

// What the decoder makes of each token that stands between others, so that decoding is one copy per token. There is a
// table for decoders that rewrite tokens one by one before they put them together.
class DecodeTable {
 public:
  // Null if the decoder is none of those.
  static std::unique_ptr<const DecodeTable> of(const Core& core);
  std::string decode(const Core& core, const Id* ids, std::size_t n, bool skip_special_tokens) const;

 private:
  // A decoder in three: what rewrites tokens, what puts them together, what rewrites the text.
  struct Steps {
    std::vector<const Decoder*> before, after;
    Decoder::Kind gathers = Decoder::Kind::fuse;
    bool by_place = false;
  };
  static bool read(const Decoder& decoder, Steps& steps);

  enum Flag : std::uint8_t { missing = 1, special = 2, byte = 4 };
  struct Entry {
    std::uint32_t at, size : 24, flags : 8;
  };
  Entry entry(Id id) const {
    return static_cast<std::size_t>(id) < entries_.size() ? entries_[static_cast<std::size_t>(id)]
                                                          : Entry{0, 0, missing};
  }
  // The text of the token at one end: `tokens` are it and its neighbour, if it has one.
  std::string at_end(std::vector<std::string> tokens, bool last) const;

  Steps steps_;
  bool spaced_ = false;  // without a decoder, tokens stand apart
  std::vector<Entry> entries_;
  std::string text_;  // of all tokens, and some room to read beyond the last one
};

}  // namespace enfold::tok
