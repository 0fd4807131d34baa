#pragma once

#include <memory>
#include <optional>

#include "inputs.hpp"

namespace enfold::tok {

// The options of a call of the layers above, resolved once and used by every call that has the same ones.
struct Request {
  std::shared_ptr<const Core> seen;  // the tokenizer's core when the options were resolved
  std::shared_ptr<const Core> core;  // by which texts are encoded: the same, or the one that splits special tokens
  Wanted wanted;
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;
  bool pretokenized = false;
  // Results besides the ids; offsets are among `wanted`.
  bool type_ids = false, attention_mask = false, special_tokens_mask = false, lengths = false;

  const Truncation* cut() const { return truncation ? &*truncation : nullptr; }
  Rows rows(const Inputs& inputs, const Wanted& what) const;
  // Tokens to which short rows are padded, 0 without padding; longer rows stay as they are.
  std::size_t target(const Rows& rows) const { return padding ? padded_length(rows, *padding) : 0; }
};

void bind_request(nb::module_& m);
// Made by `Tokenizer.request`, from its core.
Request make_request(const std::shared_ptr<const Core>& core, const nb::dict& options);

}  // namespace enfold::tok
