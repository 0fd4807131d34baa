#pragma once

#include <memory>
#include <string>
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
// An offset without them. `first`: the token is the first of its row.
Span trim(Span offset, Blanks blanks, bool first, bool add_prefix_space);

// Null for a null specification.
std::unique_ptr<PostProcessor> read_post_processor(json::Value spec);

// The type of a specification, also of one from before they named it.
std::string post_processor_type(json::Value spec);

}  // namespace enfold::tok
