#include "word_splitter.hpp"

#include <algorithm>

#include "../byte_level.hpp"

namespace enfold::tok {

namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

json::Value first_step(json::Value pre_tokenizer) {
  json::Value first = pre_tokenizer;
  if (pre_tokenizer.text("type", "pre_tokenizer") == "Sequence") {
    bool taken = false;
    pre_tokenizer["pretokenizers"].each_item("pretokenizers", [&](json::Value step) {
      if (!taken) first = step;
      taken = true;
    });
  }
  return first;
}

// Whether a step after the first one looks at where in the text a word stands.
bool minds_position(json::Value pre_tokenizer) {
  if (pre_tokenizer.text("type", "pre_tokenizer") != "Sequence") return false;
  bool minds = false, first = true;
  pre_tokenizer["pretokenizers"].each_item("pretokenizers", [&](json::Value step) {
    const std::string type = step.text("type", "pre_tokenizer");
    minds |= type == "Sequence" || (!first && type == "Metaspace");
    first = false;
  });
  return minds;
}

std::optional<unicode::Form> form_of(std::string_view type) {
  if (type == "NFC") return unicode::Form::nfc;
  if (type == "NFD") return unicode::Form::nfd;
  if (type == "NFKC") return unicode::Form::nfkc;
  if (type == "NFKD") return unicode::Form::nfkd;
  return std::nullopt;
}

}  // namespace

WordSplitter::WordSplitter(std::shared_ptr<const Core> core) : core_(std::move(core)) {
  const Core::Components& parts = core_->components();
  normalizer_ = parts.normalizer.get();
  pre_tokenizer_ = parts.pre_tokenizer.get();
  has_added_ = core_->added().any(false) || core_->added().any(true);
  needs_python_ = (normalizer_ && parts.normalizer_spec.empty()) || (pre_tokenizer_ && parts.pre_tokenizer_spec.empty());
  if (needs_python_ || !pre_tokenizer_) return;
  const json::Document before(normalizer_ ? parts.normalizer_spec : "null"), after(parts.pre_tokenizer_spec);
  choose(before.root(), after.root());
}

void WordSplitter::choose(json::Value normalizer, json::Value pre_tokenizer) {
  if (scans(pre_tokenizer)) {
    way_ = Way::scan;
    if (!normalizer.is_null()) form_ = form_of(normalizer.text("type", "normalizer"));
    return;
  }
  const std::string first = first_step(pre_tokenizer).text("type", "pre_tokenizer");
  if (minds_position(pre_tokenizer)) return;
  if (first == "BertPreTokenizer" || first == "Whitespace" || first == "WhitespaceSplit") {
    way_ = Way::spaces;
  } else if (pre_tokenizer.text("type", "pre_tokenizer") == "Metaspace" &&
             pre_tokenizer.flag("split", true, "pre_tokenizer.split")) {
    // The scheme "first" asks whether a piece starts where the input does. A normalizer may change that, and what
    // stands behind an added token doesn't.
    const json::Value scheme = pre_tokenizer["prepend_scheme"];
    if ((has_added_ || !normalizer.is_null()) && scheme.is(json::Kind::string) && scheme.string("prepend_scheme") == "first") return;
    way_ = Way::before_space;
  } else {
    return;
  }
  normalize_first_ = !is_local(normalizer, careful_);
}

bool WordSplitter::scans(json::Value pre_tokenizer) {
  std::vector<json::Value> steps;
  if (pre_tokenizer.text("type", "pre_tokenizer") == "Sequence") {
    pre_tokenizer["pretokenizers"].each_item("pretokenizers", [&](json::Value step) { steps.push_back(step); });
  } else {
    steps.push_back(pre_tokenizer);
  }
  if (steps.empty() || steps.size() > 2) return false;
  const json::Value last = steps.back(), first = steps.front();
  if (last.text("type", "pre_tokenizer") != "ByteLevel") return false;
  const bool use_regex = last.flag("use_regex", true, "pre_tokenizer.use_regex");
  const bool prefix = last.flag("add_prefix_space", true, "pre_tokenizer.add_prefix_space");
  if (steps.size() == 1) {
    add_prefix_space_ = prefix;
    return use_regex;
  }
  if (prefix) return false;
  const std::string type = first.text("type", "pre_tokenizer");
  if (type == "Digits" && use_regex) {
    return digits_first_ = first.flag("individual_digits", false, "pre_tokenizer.individual_digits");
  }
  if (type != "Split" || use_regex || first.flag("invert", false, "pre_tokenizer.invert")) return false;
  const json::Value pattern = first["pattern"]["Regex"];
  if (first.text("behavior", "pre_tokenizer") != "Isolated" || !pattern.is(json::Kind::string)) return false;
  const auto style = style_of(pattern.string("pre_tokenizer.pattern"));
  if (style) style_ = *style;
  return style.has_value();
}

// Whether the normal form of a text is made of those of its parts between spaces. `careful` is set for normalizers
// that look at clusters of characters.
bool WordSplitter::is_local(json::Value normalizer, bool& careful) const {
  if (normalizer.is_null()) return true;
  const std::string type = normalizer.text("type", "normalizer");
  if (type == "Lowercase" || type == "StripAccents" || type == "BertNormalizer" || type == "Nmt" || form_of(type)) {
    return true;
  }
  if (type == "Sequence") {
    bool local = true;
    normalizer["normalizers"].each_item("normalizers",
                                        [&](json::Value step) { local = local && is_local(step, careful); });
    return local;
  }
  if (type == "Replace") {
    const json::Value literal = normalizer["pattern"]["String"];
    if (!literal.is(json::Kind::string)) return false;
    const std::string_view text = literal.string("normalizer.pattern");
    return !text.empty() && std::none_of(text.begin(), text.end(), is_blank);
  }
  if (type == "Precompiled") {
    // A charsmap may say anything, of spaces too.
    careful = true;
    return normalized(" ") == " " && normalized("a b") == "a b";
  }
  return false;
}

std::string WordSplitter::normalized(std::string_view text) const {
  Aligned aligned = Aligned::from(text, 0);
  normalizer_->apply(aligned);
  return std::move(aligned.text);
}

void WordSplitter::run(Aligned text, bool normalize, std::uint64_t count, WordCounts& words) const {
  if (normalize && normalizer_) normalizer_->apply(text);
  std::vector<Section> sections;
  if (normalize && core_->added().any(true)) core_->added().split(text.text, true, core_->splits_special(), sections);
  else sections.push_back({kNoId, 0, static_cast<std::uint32_t>(text.text.size())});
  std::vector<Aligned> pieces;
  for (const Section& section : sections) {
    pieces.clear();
    pieces.push_back(sections.size() == 1 ? std::move(text) : text.slice(section.begin, section.end));
    if (pre_tokenizer_ && section.id == kNoId) pre_tokenizer_->apply(pieces);
    for (const Aligned& piece : pieces) {
      if (!piece.text.empty()) words.add(piece.text, count);
    }
  }
}

void WordSplitter::cut(std::string_view text, Counted& counts) const {
  if (text.size() >= 0x3FFFFFFF) throw Error("a text is larger than 1 GiB; cut it before training");
  if (!has_added_) return cut_plain(text, counts);
  const AddedTokens& added = core_->added();
  std::vector<Section> sections;
  added.split(text, false, core_->splits_special(), sections);
  for (const Section& section : sections) {
    const std::string_view part = text.substr(section.begin, section.end - section.begin);
    if (section.id != kNoId) counts.words.add(part, 1);
    else if (way_ == Way::words || added.any(true)) run(Aligned::from(part, section.begin), true, 1, counts.words);
    else cut_plain(part, counts);
  }
}

void WordSplitter::cut_plain(std::string_view text, Counted& counts) const {
  if (text.empty()) return;
  if (way_ == Way::words) return run(Aligned::from(text, 0), true, 1, counts.words);
  WordCounts& pieces = counts.pieces;
  std::string own;
  if (normalizer_ && (way_ == Way::scan ? !form_ || unicode::may_change(text, *form_) : normalize_first_)) {
    own = normalized(text);
    text = own;
    if (text.empty()) return;
  }
  if (way_ == Way::spaces) return cut_spaces(text, pieces);
  if (way_ == Way::before_space) return cut_before_space(text, pieces);
  if (add_prefix_space_ && text[0] != ' ') {
    own.insert(0, 1, ' ');
    if (own.size() == 1) own += text;
    text = own;
  }
  const auto count = [&](const char* begin, const char* end) {
    pieces.add({begin, static_cast<std::size_t>(end - begin)}, 1);
  };
  const char* p = text.data();
  const char* const end = p + text.size();
  const char* from = p;
  while (digits_first_ && p < end) {
    const std::size_t n = unicode::length(static_cast<unsigned char>(*p));
    if (unicode::has(unicode::decode(p), unicode::kDigit)) {
      scan(style_, from, p, count);
      count(p, p + n);
      from = p + n;
    }
    p += n;
  }
  scan(style_, from, end, count);
}

// Whether the text may be cut at the white space [begin, end).
bool WordSplitter::may_cut(std::string_view text, std::size_t begin, std::size_t end) const {
  if (begin == 0 || end == text.size()) return true;
  const auto plain = [&](char32_t c) {
    if (c < 0x80) return c > ' ' && c != 0x7F;
    if (careful_) return (c >= 0xC0 && c < 0x530) || (c >= 0x3041 && c < 0x3097) || (c >= 0x4E00 && c < 0xA000);
    return unicode::is_letter(c) || unicode::is_number(c);
  };
  return plain(unicode::decode_before(text, begin)) && plain(unicode::decode(text.data() + end));
}

void WordSplitter::cut_spaces(std::string_view text, WordCounts& pieces) const {
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (!is_blank(text[i])) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < text.size() && is_blank(text[end])) ++end;
    if (normalize_first_ || may_cut(text, i, end)) {
      if (i > from) pieces.add(text.substr(from, i - from), 1);
      from = end;
    }
    i = end;
  }
  if (from < text.size()) pieces.add(text.substr(from), 1);
}

void WordSplitter::cut_before_space(std::string_view text, WordCounts& pieces) const {
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != ' ') {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < text.size() && text[end] == ' ') ++end;
    if (i > from && (normalize_first_ || may_cut(text, i, end))) {
      pieces.add(text.substr(from, i - from), 1);
      from = i;
    }
    i = end;
  }
  pieces.add(text.substr(from), 1);
}

void WordSplitter::finish(const WordCounts& pieces, std::size_t begin, std::size_t end, WordCounts& words) const {
  std::string word;
  for (std::size_t i = begin; i < end; ++i) {
    const std::string_view piece = pieces.word(i);
    if (way_ == Way::scan) {
      word.clear();
      for (const char byte : piece) unicode::append(word, byte_level::kTable.character[static_cast<unsigned char>(byte)]);
      words.add(word, pieces.count(i));
    } else {
      run(Aligned::from(piece, 0), !normalize_first_, pieces.count(i), words);
    }
  }
}

}  // namespace enfold::tok
