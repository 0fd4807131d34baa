#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "aligned.hpp"
#include "json.hpp"
#include "pattern.hpp"
#include "splits.hpp"

namespace enfold::tok {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Replaces the pieces by their parts.
  virtual void apply(std::vector<Aligned>& pieces) const = 0;
  // Whether it leaves the text of the pieces as it is and only cuts or drops parts of it.
  virtual bool only_cuts() const { return false; }
  // The same for an input whose added tokens lie between the pieces.
  virtual void apply_to_splits(std::vector<Split>& splits) const;
  // Whether it matters what lies between: Python code sees the whole input.
  virtual bool takes_splits() const { return false; }
  // Python code gets a reference of its own with each place that holds it; null for all else.
  virtual std::shared_ptr<const PreTokenizer> copy() const { return nullptr; }
};

struct PreTokenizerSequence final : PreTokenizer {
  std::vector<std::shared_ptr<const PreTokenizer>> steps;
  void apply(std::vector<Aligned>& pieces) const override {
    for (const auto& step : steps) step->apply(pieces);
  }
  void apply_to_splits(std::vector<Split>& splits) const override {
    for (const auto& step : steps) step->apply_to_splits(splits);
  }
  bool takes_splits() const override {
    return std::any_of(steps.begin(), steps.end(), [](const auto& step) { return step->takes_splits(); });
  }
};

struct ByteLevelPreTokenizer final : PreTokenizer {
  bool add_prefix_space, use_regex;
  void apply(std::vector<Aligned>& pieces) const override;
};

struct BertPreTokenizer final : PreTokenizer {
  void apply(std::vector<Aligned>& pieces) const override;
  bool only_cuts() const override { return true; }
};

struct PunctuationPreTokenizer final : PreTokenizer {
  Behavior behavior;
  void apply(std::vector<Aligned>& pieces) const override;
  bool only_cuts() const override { return true; }
};

struct DigitsPreTokenizer final : PreTokenizer {
  bool individual;
  void apply(std::vector<Aligned>& pieces) const override;
  bool only_cuts() const override { return true; }
};

struct WhitespaceSplitPreTokenizer final : PreTokenizer {
  void apply(std::vector<Aligned>& pieces) const override;
  bool only_cuts() const override { return true; }
};

struct MetaspacePreTokenizer final : PreTokenizer {
  enum class Scheme { first, never, always };
  std::string replacement;
  Scheme scheme;
  bool split;
  void apply(std::vector<Aligned>& pieces) const override;
};

struct SplitPreTokenizer final : PreTokenizer {
  Pattern pattern;
  Behavior behavior;
  bool invert;
  SplitPreTokenizer(Pattern p, Behavior b, bool i) : pattern(std::move(p)), behavior(b), invert(i) {}
  void apply(std::vector<Aligned>& pieces) const override;
  bool only_cuts() const override { return true; }
};

// Null for a null specification.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(json::Value spec);

}  // namespace enfold::tok
