#include "pre_tokenizers.hpp"

#include "byte_level.hpp"
#include "char_set.hpp"
#include "errors.hpp"

namespace enfold::tok {

using unicode::has;

namespace {

template <typename F>
void each_piece(std::vector<Aligned>& pieces, F&& f) {
  std::vector<Aligned> parts;
  for (Aligned& piece : pieces) f(piece, parts);
  pieces = std::move(parts);
}

template <typename Predicate>
void split_characters(std::vector<Aligned>& pieces, Behavior behavior, Predicate predicate) {
  each_piece(pieces, [&](Aligned& piece, std::vector<Aligned>& out) {
    piece.split(cut_characters(piece.text, predicate), behavior, out);
  });
}

bool is_space(char32_t c) { return has(c, unicode::kSpace); }

Behavior read_behavior(json::Value value, const char* what) {
  const auto name = value.string(what);
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  throw Error(std::string(what) +
              " should be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous, got '" +
              std::string(name) + "'");
}

// Runs of word characters and runs of what is neither word nor space.
struct Whitespace final : PreTokenizer {
  bool only_cuts() const override { return true; }
  void apply(std::vector<Aligned>& pieces) const override {
    each_piece(pieces, [](Aligned& piece, std::vector<Aligned>& out) {
      const auto kind = [](char32_t c) { return has(c, unicode::kWord) ? 1 : is_space(c) ? 0 : 2; };
      std::size_t begin = 0;
      int current = 0;
      for (std::size_t i = 0;; i += unicode::length(static_cast<unsigned char>(piece.text[i]))) {
        const int k = i < piece.text.size() ? kind(unicode::decode(piece.text.data() + i)) : 0;
        if (k != current) {
          if (current) out.push_back(piece.slice(begin, i));
          begin = i;
          current = k;
        }
        if (i >= piece.text.size()) break;
      }
    });
  }
};

struct CharDelimiterSplit final : PreTokenizer {
  bool only_cuts() const override { return true; }
  char32_t delimiter;
  void apply(std::vector<Aligned>& pieces) const override {
    split_characters(pieces, Behavior::removed, [&](char32_t c) { return c == delimiter; });
  }
};

// Runs of one script; what stands before the first character that has one is dropped, as the reference does.
struct UnicodeScripts final : PreTokenizer {
  void apply(std::vector<Aligned>& pieces) const override {
    each_piece(pieces, [](Aligned& piece, std::vector<Aligned>& out) {
      std::size_t begin = 0;
      std::uint8_t last = 0;
      for (std::size_t i = 0; i < piece.text.size(); i += unicode::length(static_cast<unsigned char>(piece.text[i]))) {
        const std::uint8_t script = chars::script(unicode::decode(piece.text.data() + i));
        if (script == 0 || script == last) continue;
        if (last) out.push_back(piece.slice(begin, i));
        begin = i;
        last = script;
      }
      if (last) out.push_back(piece.slice(begin, piece.text.size()));
    });
  }
};

struct FixedLength final : PreTokenizer {
  std::size_t length;  // characters
  void apply(std::vector<Aligned>& pieces) const override {
    each_piece(pieces, [&](Aligned& piece, std::vector<Aligned>& out) {
      for (std::size_t begin = 0, end = 0; begin < piece.text.size(); begin = end) {
        for (std::size_t n = 0; n < length && end < piece.text.size(); ++n) {
          end += unicode::length(static_cast<unsigned char>(piece.text[end]));
        }
        out.push_back(piece.slice(begin, end));
      }
    });
  }
};

char32_t one_character(json::Value spec, const char* key, const char* what) {
  const std::string text = spec.text(key, what);
  if (unicode::count(text) != 1)
    throw Error(std::string(what) + "." + key + " should be one character, got '" + text + "'");
  return unicode::decode(text.data());
}

std::unique_ptr<PreTokenizer> read_metaspace(json::Value spec) {
  auto made = std::make_unique<MetaspacePreTokenizer>();
  using Scheme = MetaspacePreTokenizer::Scheme;
  unicode::append(made->replacement, one_character(spec, "replacement", "pre_tokenizer"));
  made->split = spec.flag("split", true, "pre_tokenizer.split");
  const bool add = spec.flag("add_prefix_space", true, "pre_tokenizer.add_prefix_space");
  const std::string_view name =
      spec.has("prepend_scheme") ? spec["prepend_scheme"].string("pre_tokenizer.prepend_scheme") : "always";
  if (name == "always") made->scheme = Scheme::always;
  else if (name == "first") made->scheme = Scheme::first;
  else if (name == "never") made->scheme = Scheme::never;
  else throw Error("pre_tokenizer.prepend_scheme should be first, never or always, got '" + std::string(name) + "'");
  if (!add && made->scheme != Scheme::never) {
    throw Error("pre_tokenizer.add_prefix_space is false but prepend_scheme is '" + std::string(name) + "'");
  }
  return made;
}

}  // namespace

void PreTokenizer::apply_to_splits(std::vector<Split>& splits) const {
  std::vector<Split> made;
  std::vector<Aligned> pieces;
  for (Split& split : splits) {
    if (split.tokens) {
      made.push_back(std::move(split));
      continue;
    }
    pieces.clear();
    pieces.push_back(std::move(split.text));
    apply(pieces);
    for (Aligned& piece : pieces) {
      if (!piece.text.empty()) made.push_back({std::move(piece), {}});
    }
  }
  splits = std::move(made);
}

bool byte_level::bytes_of(std::string_view token, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < token.size(); i += unicode::length(static_cast<unsigned char>(token[i]))) {
    const int byte = byte_of(unicode::decode(token.data() + i));
    if (byte < 0) return false;
    out.push_back(static_cast<char>(byte));
  }
  return true;
}

void BertPreTokenizer::apply(std::vector<Aligned>& pieces) const {
  split_characters(pieces, Behavior::removed, is_space);
  split_characters(pieces, Behavior::isolated, [](char32_t c) { return has(c, unicode::kPunctuation); });
}

void PunctuationPreTokenizer::apply(std::vector<Aligned>& pieces) const {
  split_characters(pieces, behavior, [](char32_t c) { return has(c, unicode::kPunctuation); });
}

void WhitespaceSplitPreTokenizer::apply(std::vector<Aligned>& pieces) const {
  split_characters(pieces, Behavior::removed, is_space);
}

void MetaspacePreTokenizer::apply(std::vector<Aligned>& pieces) const {
  each_piece(pieces, [&](Aligned& piece, std::vector<Aligned>& out) {
    piece.replace(cut_characters(piece.text, [](char32_t c) { return c == U' '; }), replacement);
    if (scheme != Scheme::never && (scheme == Scheme::always || piece.covers.begin == 0) &&
        !piece.text.starts_with(replacement)) {
      piece.prepend(replacement);
    }
    if (!split) {
      if (!piece.text.empty()) out.push_back(std::move(piece));
      return;
    }
    const char32_t mark = unicode::decode(replacement.data());
    piece.split(cut_characters(piece.text, [&](char32_t c) { return c == mark; }), Behavior::merged_with_next, out);
  });
}

void DigitsPreTokenizer::apply(std::vector<Aligned>& pieces) const {
  split_characters(pieces, individual ? Behavior::isolated : Behavior::contiguous,
                   [](char32_t c) { return has(c, unicode::kDigit); });
}

void SplitPreTokenizer::apply(std::vector<Aligned>& pieces) const {
  each_piece(pieces, [&](Aligned& piece, std::vector<Aligned>& out) {
    auto cuts = pattern.find(piece.text);
    if (invert) {
      for (Cut& cut : cuts) cut.match = !cut.match;
    }
    piece.split(std::move(cuts), behavior, out);
  });
}

void ByteLevelPreTokenizer::apply(std::vector<Aligned>& pieces) const {
  each_piece(pieces, [&](Aligned& piece, std::vector<Aligned>& out) {
    if (add_prefix_space && !piece.text.starts_with(' ')) piece.prepend(" ");
    if (!use_regex) {
      out.push_back(std::move(piece));
      return;
    }
    std::vector<Cut> cuts;
    const char* base = piece.text.data();
    scan<Style::gpt2>(base, base + piece.text.size(), [&](const char* begin, const char* end) {
      cuts.push_back({static_cast<std::uint32_t>(begin - base), static_cast<std::uint32_t>(end - base), true});
    });
    piece.split(std::move(cuts), Behavior::isolated, out);
  });
  for (Aligned& piece : pieces) {
    std::vector<unicode::Change> changes;
    changes.reserve(piece.text.size());
    for (const char byte : piece.text) {
      changes.push_back(
          {byte_level::kTable.character[static_cast<unsigned char>(byte)], unicode::is_continuation(byte)});
    }
    piece.transform(changes);
  }
}

std::unique_ptr<PreTokenizer> read_pre_tokenizer(json::Value spec) {
  if (spec.is_null()) return nullptr;
  const std::string type = spec.text("type", "pre_tokenizer");
  if (type == "Sequence") {
    auto made = std::make_unique<PreTokenizerSequence>();
    spec.need("pretokenizers", "pre_tokenizer").each_item("pre_tokenizer.pretokenizers", [&](json::Value item) {
      made->steps.push_back(read_pre_tokenizer(item));
      if (!made->steps.back()) throw Error("pre_tokenizer.pretokenizers should not hold null");
    });
    return made;
  }
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplitPreTokenizer>();
  if (type == "ByteLevel") {
    auto made = std::make_unique<ByteLevelPreTokenizer>();
    made->add_prefix_space = spec.truth("add_prefix_space", "pre_tokenizer");
    spec.truth("trim_offsets", "pre_tokenizer");  // counts for the post-processor of that name only
    made->use_regex = !spec.has("use_regex") || spec.truth("use_regex", "pre_tokenizer");
    return made;
  }
  if (type == "Punctuation") {
    auto made = std::make_unique<PunctuationPreTokenizer>();
    made->behavior = Behavior::isolated;
    if (spec.has("behavior")) made->behavior = read_behavior(spec["behavior"], "pre_tokenizer.behavior");
    return made;
  }
  if (type == "Digits") {
    auto made = std::make_unique<DigitsPreTokenizer>();
    made->individual = spec.truth("individual_digits", "pre_tokenizer");
    return made;
  }
  if (type == "CharDelimiterSplit") {
    auto made = std::make_unique<CharDelimiterSplit>();
    made->delimiter = one_character(spec, "delimiter", "pre_tokenizer");
    return made;
  }
  if (type == "Metaspace") return read_metaspace(spec);
  if (type == "Split") {
    return std::make_unique<SplitPreTokenizer>(
        Pattern(spec.need("pattern", "pre_tokenizer"), "pre_tokenizer.pattern"),
        read_behavior(spec.need("behavior", "pre_tokenizer"), "pre_tokenizer.behavior"),
        spec.truth("invert", "pre_tokenizer"));
  }
  if (type == "UnicodeScripts") return std::make_unique<UnicodeScripts>();
  if (type == "FixedLength") {
    auto made = std::make_unique<FixedLength>();
    const std::int64_t length = spec.has("length") ? spec["length"].integer("pre_tokenizer.length") : 5;
    if (length < 1) throw Error("pre_tokenizer.length should be at least 1, got " + std::to_string(length));
    made->length = static_cast<std::size_t>(length);
    return made;
  }
  throw Error("unknown pre-tokenizer '" + type + "'");
}

}  // namespace enfold::tok
