#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

namespace enfold::tok {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the tokens; their concatenation is the text.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
  // What a decoder makes of its tokens, as far as they need not all be there: one token of each, by itself (token) or
  // by whether it comes first or last (place); the text of all of them (fuse), also of bytes that each stands for
  // (bytes), or that some stand for (fallback).
  enum class Kind { token, place, fuse, bytes, fallback, other };
  virtual Kind kind() const { return Kind::other; }
  // Python code gets a reference of its own with each place that holds it; null for all else.
  virtual std::shared_ptr<const Decoder> copy() const { return nullptr; }
};

// The byte that a token like <0x0A> stands for; -1 for others.
int fallback_byte(std::string_view token);

struct DecoderSequence final : Decoder {
  std::vector<std::shared_ptr<const Decoder>> steps;
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps) step->apply(tokens);
  }
};

// Null for a null specification.
std::unique_ptr<Decoder> read_decoder(json::Value spec);

// The type of a specification, also of one from before they named it.
std::string decoder_type(json::Value spec);

}  // namespace enfold::tok
