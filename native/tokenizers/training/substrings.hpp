#pragma once

#include <cstdint>
#include <vector>

namespace enfold::tok {

inline constexpr char32_t kWordEnd = 0x110000;

// A substring that occurs more than once.
struct Repeat {
  std::uint32_t position, length, count;
};

// The substrings of 2 to `longest` characters that occur at least twice and are not always followed by the same
// character: the inner nodes of the text's suffix tree up to that depth. Words in the text end with kWordEnd.
std::vector<Repeat> repeated_substrings(const std::vector<char32_t>& text, std::uint32_t longest);

}  // namespace enfold::tok
