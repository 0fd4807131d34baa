#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace enfold::tok {

// A way to join two tokens, by their positions, into the target at a position.
struct Join {
  std::uint32_t target, left, right;
  std::uint32_t left_size, right_size;  // characters, or bytes
};

enum class Unit { byte, character };

// Every way to join two of the tokens into a target, target by target and cut by cut. Linear in the text but for the
// comparison of what is found.
//
// tokens: what is joined; of equal ones the last counts.
// unit: what is never cut.
std::vector<Join> joins(const std::vector<std::string_view>& tokens, const std::vector<std::string_view>& targets,
                        Unit unit);

}  // namespace enfold::tok
