#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "aligned.hpp"
#include "json.hpp"
#include "vocabulary.hpp"

namespace enfold::tok {

// What stands around the sequences. Every processor of the format is one of these: Bert and Roberta are templates
// with fixed places, ByteLevel only trims.
struct PostProcessor {
  struct Special {
    std::vector<Id> ids;
    std::vector<std::string> tokens;
  };
  struct Part {
    int sequence;  // 0 or 1, or -1 for a special token
    std::int32_t type_id;
    Special special;
  };
  std::vector<Part> single, pair;
  bool has_template = false;
  // Roberta gives type 0 to everything; Bert leaves the sequences' own; templates name one per part, which the
  // reference does not pass on to overflowing rows.
  enum class Types { own, part, zero } types = Types::own;
  std::vector<bool> trimming;  // add_prefix_space of each processor that trims offsets, in order

  std::size_t added(bool is_pair) const;
};

// How many characters at the start and at the end of a token stand for white space.
using Blanks = std::pair<std::uint16_t, std::uint16_t>;
Blanks blanks_of(std::string_view token);
// Those of every token of a vocabulary, a byte each: half of it for either end. Few tokens have more than that can say.
class BlankTable {
 public:
  explicit BlankTable(std::size_t id_limit) : short_(id_limit) {}
  void set(Id id, Blanks blanks) {
    const bool fits = blanks.first < kMany && blanks.second < kMany;
    short_[static_cast<std::size_t>(id)] =
        static_cast<std::uint8_t>(fits ? blanks.first | blanks.second << 4 : kMany << 4);
    if (!fits) many_[id] = blanks;
  }
  Blanks operator[](Id id) const {
    if (static_cast<std::size_t>(id) >= short_.size()) return {0, 0};
    const unsigned found = short_[static_cast<std::size_t>(id)];
    if (found >> 4 == kMany) return many_.at(id);
    return {static_cast<std::uint16_t>(found & 15), static_cast<std::uint16_t>(found >> 4)};
  }

 private:
  static constexpr unsigned kMany = 15;
  std::vector<std::uint8_t> short_;  // by id
  std::unordered_map<Id, Blanks> many_;
};
// An offset without them. `first`: the token is the first of its row.
inline Span trim(Span offset, Blanks blanks, bool first, bool add_prefix_space) {
  std::uint32_t leading = blanks.first;
  const std::uint32_t trailing = blanks.second;
  // One space at the start may be what add_prefix_space put there; more are the text's own.
  if (add_prefix_space && leading == 1 && (first || offset.begin == 0)) leading = 0;
  if (leading) offset.begin = std::min(offset.begin + leading, offset.end);
  if (trailing && offset.end >= trailing) offset.end = std::max(offset.end - trailing, offset.begin);
  return offset;
}

// Null for a null specification.
std::unique_ptr<PostProcessor> read_post_processor(json::Value spec);

// The type of a specification, also of one from before they named it.
std::string post_processor_type(json::Value spec);

}  // namespace enfold::tok
