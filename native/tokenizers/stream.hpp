#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer.hpp"

namespace enfold::tok {

// Decodes ids one by one. What is given out never ends within a character: tokens wait until their bytes are complete.
// Each step decodes a bounded window of the last tokens, so the work is linear in the text.
class DecodeStream {
 public:
  DecodeStream(std::shared_ptr<const Core> core, bool skip_special_tokens)
      : core_(std::move(core)), skip_special_tokens_(skip_special_tokens) {}
  // The text that this id completes, if any.
  std::optional<std::string> step(Id id);

 private:
  std::string decode(std::size_t n) const { return core_->decode(window_.data(), n, skip_special_tokens_); }

  std::shared_ptr<const Core> core_;
  bool skip_special_tokens_;
  std::vector<Id> window_;   // tokens given out last, as context, then those that wait
  std::size_t context_ = 0;  // how many are context
  std::string prefix_;       // text of the context
};

}  // namespace enfold::tok
