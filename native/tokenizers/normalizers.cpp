#include "normalizers.hpp"

#include "errors.hpp"
#include "pattern.hpp"
#include "precompiled.hpp"

namespace enfold::tok {

using unicode::Change;
using unicode::has;

void BertNormalizer::apply(Aligned& text) const {
  if (clean_text) {
    text.filter([](char32_t c) { return !has(c, unicode::kControl); });
    std::vector<Change> changes;
    for (std::size_t i = 0; i < text.text.size(); i += unicode::length(static_cast<unsigned char>(text.text[i]))) {
      const char32_t c = unicode::decode(text.text.data() + i);
      changes.push_back({has(c, unicode::kToSpace) ? U' ' : c, 0});
    }
    text.transform(changes);
  }
  if (handle_chinese_chars) {
    std::vector<Change> changes;
    for (std::size_t i = 0; i < text.text.size(); i += unicode::length(static_cast<unsigned char>(text.text[i]))) {
      const char32_t c = unicode::decode(text.text.data() + i);
      if (has(c, unicode::kCjk)) changes.insert(changes.end(), {{U' ', 0}, {c, 1}, {U' ', 1}});
      else changes.push_back({c, 0});
    }
    text.transform(changes);
  }
  if (strip_accents) {
    text.transform(unicode::normalize(text.text, unicode::Form::nfd));
    text.filter([](char32_t c) { return !has(c, unicode::kAccent); });
  }
  if (lowercase) text.lowercase();
}

void FormNormalizer::apply(Aligned& text) const {
  if (unicode::may_change(text.text, form)) text.transform(unicode::normalize(text.text, form));
}

namespace {

struct Lowercase final : Normalizer {
  void apply(Aligned& text) const override { text.lowercase(); }
};

struct StripAccents final : Normalizer {
  void apply(Aligned& text) const override {
    text.filter([](char32_t c) { return !has(c, unicode::kMark); });
  }
};

struct Strip final : Normalizer {
  bool left, right;
  void apply(Aligned& text) const override { text.strip(left, right); }
};

struct Replace final : Normalizer {
  Pattern pattern;
  std::string content;
  Replace(Pattern p, std::string c) : pattern(std::move(p)), content(std::move(c)) {}
  void apply(Aligned& text) const override { text.replace(pattern.find(text.text), content); }
};

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(json::Value spec) {
  if (spec.is_null()) return nullptr;
  const std::string type = spec.text("type", "normalizer");
  if (type == "Sequence") {
    auto made = std::make_unique<Sequence>();
    spec.need("normalizers", "normalizer").each_item("normalizer.normalizers", [&](json::Value item) {
      made->steps.push_back(read_normalizer(item));
      if (!made->steps.back()) throw Error("normalizer.normalizers should not hold null");
    });
    return made;
  }
  if (type == "BertNormalizer") {
    auto made = std::make_unique<BertNormalizer>();
    made->clean_text = spec.flag("clean_text", true, "normalizer.clean_text");
    made->handle_chinese_chars = spec.flag("handle_chinese_chars", true, "normalizer.handle_chinese_chars");
    made->lowercase = spec.flag("lowercase", true, "normalizer.lowercase");
    made->strip_accents = spec.flag("strip_accents", made->lowercase, "normalizer.strip_accents");
    return made;
  }
  for (const auto& [name, form] : {std::pair{"NFC", unicode::Form::nfc}, std::pair{"NFD", unicode::Form::nfd},
                                   std::pair{"NFKC", unicode::Form::nfkc}, std::pair{"NFKD", unicode::Form::nfkd}}) {
    if (type != name) continue;
    auto made = std::make_unique<FormNormalizer>();
    made->form = form;
    return made;
  }
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Strip") {
    auto made = std::make_unique<Strip>();
    made->left = spec.flag("strip_left", true, "normalizer.strip_left");
    made->right = spec.flag("strip_right", true, "normalizer.strip_right");
    return made;
  }
  if (type == "Prepend") {
    auto made = std::make_unique<PrependNormalizer>();
    made->what = spec.text("prepend", "normalizer");
    return made;
  }
  if (type == "Replace") {
    return std::make_unique<Replace>(Pattern(spec.need("pattern", "normalizer"), "normalizer.pattern"),
                                     spec.text("content", "normalizer"));
  }
  if (type == "Precompiled") {
    return std::make_unique<Precompiled>(
        spec.need("precompiled_charsmap", "normalizer").string("normalizer.precompiled_charsmap"));
  }
  if (type == "Nmt" || type == "ByteLevel") {
    throw NotBuilt("the normalizer " + type + " is not built yet");
  }
  throw Error("unknown normalizer '" + type + "'");
}

}  // namespace enfold::tok
