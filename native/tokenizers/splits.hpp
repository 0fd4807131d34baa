#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aligned.hpp"

namespace enfold::tok {

// A token by itself. Offsets are bytes of the piece of text that it was made from.
struct Token {
  std::int64_t id;
  std::string value;
  std::pair<std::size_t, std::size_t> offsets;
};

// A stretch of an input on its way to the model; one that has its tokens already is left alone.
struct Split {
  Aligned text;
  std::optional<std::vector<Token>> tokens;
};

}  // namespace enfold::tok
