#pragma once

#include <memory>
#include <string>
#include <vector>

#include "json.hpp"

namespace enfold::tok {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the tokens; their concatenation is the text.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

struct DecoderSequence final : Decoder {
  std::vector<std::shared_ptr<const Decoder>> steps;
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps) step->apply(tokens);
  }
};

// Null for a null specification.
std::unique_ptr<Decoder> read_decoder(json::Value spec);

}  // namespace enfold::tok
