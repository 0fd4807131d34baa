#include "normalizers.hpp"

#include "byte_level.hpp"
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

Normalizer::Effect FormNormalizer::effect(char32_t c) const {
  if (form == unicode::Form::nfc) return has(c, unicode::kNfcUnsafe) ? Effect::context : Effect::kept;
  if (form == unicode::Form::nfkc) return has(c, unicode::kNfkcUnsafe) ? Effect::context : Effect::kept;
  // Characters that change places with others are context, and so are those that fall into such.
  if (unicode::properties(c).combining_class) return Effect::context;
  if (!has(c, form == unicode::Form::nfd ? unicode::kNfd : unicode::kNfd | unicode::kNfkd)) return Effect::kept;
  std::string text;
  unicode::append(text, c);
  const auto parts = unicode::normalize(text, form);
  return unicode::properties(parts[0].c).combining_class ? Effect::context : Effect::changed;
}

namespace {

// The characters of a pattern like `\n` or `[\n\r\t]`; empty for any other.
std::u32string single_characters(std::string_view regex) {
  const bool set = regex.size() > 2 && regex.front() == '[' && regex.back() == ']';
  if (set) regex = regex.substr(1, regex.size() - 2);
  std::u32string out;
  for (std::size_t i = 0; i < regex.size(); ++i) {
    constexpr std::string_view names = "nrt", characters = "\n\r\t";
    if (characters.find(regex[i]) != std::string_view::npos) {
      out.push_back(static_cast<char32_t>(regex[i]));
    } else if (regex[i] == '\\' && i + 1 < regex.size() && names.find(regex[i + 1]) != std::string_view::npos) {
      out.push_back(static_cast<char32_t>(characters[names.find(regex[++i])]));
    } else {
      return {};
    }
  }
  return set || out.size() == 1 ? out : std::u32string();
}

}  // namespace

ReplaceNormalizer::ReplaceNormalizer(Pattern p, std::string regex_source, std::string c)
    : pattern(std::move(p)), content(std::move(c)), regex(std::move(regex_source)), any_of(single_characters(regex)) {}

Normalizer::Effect ReplaceNormalizer::effect(char32_t c) const {
  if (!any_of.empty()) return any_of.find(c) == std::u32string::npos ? Effect::kept : Effect::changed;
  const std::string* literal = pattern.literal();
  if (!literal || literal->empty()) return Effect::context;
  std::string text;
  unicode::append(text, c);
  if (*literal == text) return Effect::changed;
  return literal->find(text) == std::string::npos ? Effect::kept : Effect::context;
}

namespace {

struct Lowercase final : Normalizer {
  Effect effect(char32_t c) const override {
    return c < 0x80 || has(c, unicode::kLower) ? Effect::changed : Effect::kept;
  }
  bool keeps_spaces() const override { return true; }
  void apply(Aligned& text) const override { text.lowercase(); }
};

struct StripAccents final : Normalizer {
  Effect effect(char32_t c) const override { return has(c, unicode::kMark) ? Effect::changed : Effect::kept; }
  void apply(Aligned& text) const override {
    text.filter([](char32_t c) { return !has(c, unicode::kMark); });
  }
};

// What Google's NMT systems do to their input.
struct Nmt final : Normalizer {
  static bool dropped(char32_t c) {
    const bool control = (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F);
    return control || c == 0x7F || c == 0x8F || c == 0x9F;
  }
  static bool blank(char32_t c) {
    return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  }
  Effect effect(char32_t c) const override { return dropped(c) || blank(c) ? Effect::changed : Effect::kept; }
  void apply(Aligned& text) const override {
    text.filter([](char32_t c) { return !dropped(c); });
    std::vector<Change> changes;
    for (std::size_t i = 0; i < text.text.size(); i += unicode::length(static_cast<unsigned char>(text.text[i]))) {
      const char32_t c = unicode::decode(text.text.data() + i);
      changes.push_back({blank(c) ? U' ' : c, 0});
    }
    text.transform(changes);
  }
};

struct ByteLevelNormalizer final : Normalizer {
  void apply(Aligned& text) const override {
    std::vector<Change> changes;
    changes.reserve(text.text.size());
    for (const char byte : text.text) {
      changes.push_back(
          {byte_level::kTable.character[static_cast<unsigned char>(byte)], unicode::is_continuation(byte)});
    }
    text.transform(changes);
  }
};

}  // namespace

// Files from before each normalizer named its type are told apart by their fields.
std::string normalizer_type(json::Value spec) {
  if (!spec["type"].is_null()) return spec.text("type", "normalizer");
  for (const auto& [field, type] :
       std::initializer_list<std::pair<const char*, const char*>>{{"normalizers", "Sequence"},
                                                                  {"clean_text", "BertNormalizer"},
                                                                  {"strip_left", "Strip"},
                                                                  {"prepend", "Prepend"},
                                                                  {"pattern", "Replace"},
                                                                  {"precompiled_charsmap", "Precompiled"}}) {
    if (!spec[field].is_null()) return type;
  }
  return spec.text("type", "normalizer");
}

std::unique_ptr<Normalizer> read_normalizer(json::Value spec) {
  if (spec.is_null()) return nullptr;
  const std::string type = normalizer_type(spec);
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
    made->clean_text = spec.truth("clean_text", "normalizer");
    made->handle_chinese_chars = spec.truth("handle_chinese_chars", "normalizer");
    made->lowercase = spec.truth("lowercase", "normalizer");
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
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Strip" || type == "StripNormalizer") {
    auto made = std::make_unique<StripNormalizer>();
    made->left = spec.truth("strip_left", "normalizer");
    made->right = spec.truth("strip_right", "normalizer");
    return made;
  }
  if (type == "Prepend") {
    auto made = std::make_unique<PrependNormalizer>();
    made->what = spec.text("prepend", "normalizer");
    return made;
  }
  if (type == "Replace") {
    const auto pattern = spec.need("pattern", "normalizer");
    const auto regex = pattern["Regex"];
    return std::make_unique<ReplaceNormalizer>(
        Pattern(pattern, "normalizer.pattern"),
        regex.is_null() ? std::string() : std::string(regex.string("normalizer.pattern.Regex")),
        spec.text("content", "normalizer"));
  }
  if (type == "Precompiled") {
    return std::make_unique<Precompiled>(
        spec.need("precompiled_charsmap", "normalizer").string("normalizer.precompiled_charsmap"));
  }
  throw Error("unknown normalizer '" + type + "'");
}

}  // namespace enfold::tok
