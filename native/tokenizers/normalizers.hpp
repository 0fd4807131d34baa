#pragma once

#include <memory>
#include <vector>

#include "aligned.hpp"
#include "json.hpp"

namespace enfold::tok {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Aligned& text) const = 0;
};

struct Sequence final : Normalizer {
  std::vector<std::shared_ptr<const Normalizer>> steps;
  void apply(Aligned& text) const override {
    for (const auto& step : steps) step->apply(text);
  }
};

struct BertNormalizer final : Normalizer {
  bool clean_text, handle_chinese_chars, strip_accents, lowercase;
  void apply(Aligned& text) const override;
};

struct FormNormalizer final : Normalizer {
  unicode::Form form;
  void apply(Aligned& text) const override;
};

struct PrependNormalizer final : Normalizer {
  std::string what;
  void apply(Aligned& text) const override { text.prepend(what); }
};

// Null for a null specification.
std::unique_ptr<Normalizer> read_normalizer(json::Value spec);

}  // namespace enfold::tok
