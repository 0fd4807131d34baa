#pragma once

#include <memory>
#include <vector>

#include "aligned.hpp"
#include "json.hpp"
#include "pattern.hpp"

namespace enfold::tok {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Aligned& text) const = 0;
  // What becomes of a character wherever it stands, as long as it and its neighbours are no context: their kind is
  // told apart by what surrounds them.
  enum class Effect { kept, changed, context };
  virtual Effect effect(char32_t) const { return Effect::context; }
  // Whether white space stays white space, whatever becomes of it, and nothing else turns into it.
  virtual bool keeps_spaces() const { return false; }
  // Python code gets a reference of its own with each place that holds it; null for all else.
  virtual std::shared_ptr<const Normalizer> copy() const { return nullptr; }
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
  Effect effect(char32_t c) const override;
  bool keeps_spaces() const override { return form == unicode::Form::nfc || form == unicode::Form::nfd; }
};

struct StripNormalizer final : Normalizer {
  bool left, right;
  void apply(Aligned& text) const override { text.strip(left, right); }
};

struct ReplaceNormalizer final : Normalizer {
  Pattern pattern;
  std::string content;
  std::string regex;  // the pattern's source, if it is a regular expression
  std::u32string any_of;  // the characters of which it matches one, if it does nothing else
  ReplaceNormalizer(Pattern p, std::string regex_source, std::string c);
  void apply(Aligned& text) const override { text.replace(pattern.find(text.text), content); }
  Effect effect(char32_t c) const override;
};

struct PrependNormalizer final : Normalizer {
  std::string what;
  void apply(Aligned& text) const override { text.prepend(what); }
};

// Null for a null specification.
std::unique_ptr<Normalizer> read_normalizer(json::Value spec);

// The type of a specification, also of one from before they named it.
std::string normalizer_type(json::Value spec);

}  // namespace enfold::tok
