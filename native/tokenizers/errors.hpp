#pragma once

#include <stdexcept>
#include <string>

namespace enfold::tok {

// A file or an argument that can't be honoured; Python sees enfold.base.errors.TokenizerError.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A component of the format that this engine knows by name and does not run yet; Python sees NotBuiltError.
struct NotBuilt : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace enfold::tok
