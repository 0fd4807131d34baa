#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tokenizer.hpp"

namespace enfold::tok {

// Decodes ids as they come. What is given out never ends within a character: tokens wait until their bytes are
// complete. Each step decodes a bounded window of the last tokens, so the work is linear in the text.
class DecodeStream {
 public:
  // `given`: ids whose text is known already, as context.
  DecodeStream(std::vector<Id> given, bool skip_special_tokens)
      : skip_special_tokens_(skip_special_tokens), window_(std::move(given)), fresh_(window_.empty()) {}
  // The text that these ids complete, if any.
  std::optional<std::string> step(const Core& core, const Id* ids, std::size_t n);

 private:
  std::string decode(const Core& core, std::size_t n) const {
    return core.decode(window_.data(), n, skip_special_tokens_);
  }
  void take_context(const Core& core);

  bool skip_special_tokens_;
  std::vector<Id> window_;   // tokens given out last, as context, then those that wait
  bool fresh_;               // false until the ids given at the start became context
  std::size_t context_ = 0;  // how many are context
  std::size_t given_ = 0;    // how many were given at the start and wait
  std::string prefix_;       // text of the context
};

}  // namespace enfold::tok
