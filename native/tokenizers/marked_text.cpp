#include "marked_text.hpp"

#include <algorithm>

namespace enfold::tok {

namespace {

constexpr char32_t kMark = U'\u2581';
constexpr std::string_view kMarkText = "\u2581";
constexpr char kSentinel = '0';

bool is_space(char32_t c) { return unicode::has(c, unicode::kSpace); }
std::size_t size_of(const char* p) { return unicode::length(static_cast<unsigned char>(*p)); }

void flatten(const Normalizer* normalizer, std::vector<const Normalizer*>& out) {
  if (!normalizer) return;
  const auto* sequence = dynamic_cast<const Sequence*>(normalizer);
  if (!sequence) return out.push_back(normalizer);
  for (const auto& step : sequence->steps) flatten(step.get(), out);
}

void flatten(const PreTokenizer* pre_tokenizer, std::vector<const PreTokenizer*>& out) {
  if (!pre_tokenizer) return;
  const auto* sequence = dynamic_cast<const PreTokenizerSequence*>(pre_tokenizer);
  if (!sequence) return out.push_back(pre_tokenizer);
  for (const auto& step : sequence->steps) flatten(step.get(), out);
}

bool collapses(const Normalizer* step) {
  const auto* replace = dynamic_cast<const ReplaceNormalizer*>(step);
  return replace && replace->regex == " {2,}" && (replace->content == " " || replace->content == kMarkText);
}

bool collapses_blanks(const Normalizer* step) {
  const auto* replace = dynamic_cast<const ReplaceNormalizer*>(step);
  return replace && replace->regex == "\\s{2,}|[\\n\\r\\t]" && replace->content == " ";
}

// What finds nothing in a text without marks.
bool needs_marks(const Normalizer* step) {
  const auto* replace = dynamic_cast<const ReplaceNormalizer*>(step);
  return replace && (replace->regex == " +\u2581" || replace->regex == "^\u2581+$");
}

bool marks_spaces(const Normalizer* step) {
  const auto* replace = dynamic_cast<const ReplaceNormalizer*>(step);
  const std::string* literal = replace ? replace->pattern.literal() : nullptr;
  return literal && *literal == " " && replace->content == kMarkText;
}

// Steps that a map of characters can stand for.
bool by_character(const Normalizer* step) { return step->effect(U'0') != Normalizer::Effect::context; }

}  // namespace

bool Marker::marked(std::string_view token, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < token.size();) {
    if (token[i] == ' ') return false;
    const bool mark = token.substr(i).starts_with(kMarkText);
    out.push_back(mark ? ' ' : token[i]);
    i += mark ? kMarkText.size() : 1;
  }
  return true;
}

std::unique_ptr<Marker> Marker::make(const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                     const AddedTokens& added) {
  std::vector<const Normalizer*> steps, mapped;
  flatten(normalizer, steps);
  std::copy_if(steps.begin(), steps.end(), std::back_inserter(mapped), by_character);
  auto made = std::unique_ptr<Marker>(new Marker(std::move(mapped)));
  if (!made->add_normalizers(steps) || !made->add_pre_tokenizers(pre_tokenizer)) return nullptr;
  for (const auto& [id, token] : added.tokens()) {
    std::string form;
    if (!token.normalized) continue;
    // Tokens that match normalised text are only looked for: a text with one goes the literal path.
    const std::string& text = *added.text(id);
    const bool parts = made->spaces_ == Spaces::gaps || made->collapses_blanks_;
    for (const char* p = text.data(); p < text.data() + text.size(); p += size_of(p)) {
      if (parts && is_space(unicode::decode(p))) return nullptr;
    }
    if (!marked(text, form) || form.empty()) return nullptr;
    made->added_.add(made->punctuates_ ? made->parted(form) : form, id);
  }
  made->added_.finish();
  made->prepare();
  return made;
}

std::string Marker::parted(std::string_view form) const {
  std::string out;
  bool fresh = false;
  for (std::size_t i = 0; i < form.size();) {
    const std::size_t n = size_of(form.data() + i);
    const bool alone = unicode::has(unicode::decode(form.data() + i), unicode::kPunctuation);
    if (prefix_ == Prefix::always && i > 0 && form[i] != ' ' && (alone || fresh)) out.push_back(' ');
    out.append(form, i, n);
    fresh = alone;
    i += n;
  }
  return out;
}

bool Marker::add_normalizers(const std::vector<const Normalizer*>& steps) {
  std::size_t i = 0;
  const auto strip = [&](bool& left, bool& right) {
    for (; i < steps.size(); ++i) {
      const auto* step = dynamic_cast<const StripNormalizer*>(steps[i]);
      if (!step) return;
      left |= step->left;
      right |= step->right;
    }
  };
  strip(strips_left_, strips_right_);
  if (i < steps.size()) {
    if (const auto* step = dynamic_cast<const PrependNormalizer*>(steps[i])) {
      // Only with the other half of the pair is what it puts there known to stay.
      if (step->what != kMarkText || i + 2 != steps.size() || !marks_spaces(steps[i + 1])) return false;
      if (strips_left_ || strips_right_) return false;
      prefix_ = Prefix::doubling;
      ++i;
    }
  }
  const std::size_t first = i;
  for (; i < steps.size(); ++i) {
    if (by_character(steps[i])) makes_marks_ = marks_spaces(steps[i]);
    else if (!collapses_blanks_ && collapses_blanks(steps[i])) collapses_ = collapses_blanks_ = true;
    else break;
  }
  // Runs are told from what the other steps leave of them.
  if (collapses_blanks_ && !std::all_of(steps.begin() + static_cast<std::ptrdiff_t>(first),
                                        steps.begin() + static_cast<std::ptrdiff_t>(i), [](const Normalizer* step) {
                                          return collapses_blanks(step) || step->keeps_spaces();
                                        })) {
    return false;
  }
  strip(strips_left_after_, strips_right_after_);
  for (; strips_right_after_ && i < steps.size() && needs_marks(steps[i]); ++i) refuses_marks_ = true;
  if (i < steps.size() && !collapses_ && collapses(steps[i])) {
    collapses_ = true;
    ++i;
  }
  return i == steps.size();
}

bool Marker::add_pre_tokenizers(const PreTokenizer* pre_tokenizer) {
  std::vector<const PreTokenizer*> steps;
  flatten(pre_tokenizer, steps);
  std::size_t i = 0;
  if (i < steps.size()) {
    if (const auto* split = dynamic_cast<const SplitPreTokenizer*>(steps[i])) {
      // There is no space left that it could split at.
      const std::string* literal = split->pattern.literal();
      if (!makes_marks_ || !literal || *literal != " " || split->invert) return false;
      ++i;
    }
  }
  if (i < steps.size() && dynamic_cast<const WhitespaceSplitPreTokenizer*>(steps[i])) {
    spaces_ = Spaces::gaps;
    ++i;
  }
  if (i < steps.size() && spaces_ == Spaces::marks) {
    const auto* punctuation = dynamic_cast<const PunctuationPreTokenizer*>(steps[i]);
    // What stands at the start of each part would have to be told apart if it were stripped.
    punctuates_ = punctuation && punctuation->behavior == Behavior::isolated && !strips_left_after_;
    i += punctuates_;
  }
  const auto* metaspace = i < steps.size() ? dynamic_cast<const MetaspacePreTokenizer*>(steps[i]) : nullptr;
  if (metaspace) {
    using Scheme = MetaspacePreTokenizer::Scheme;
    if (metaspace->replacement != kMarkText || prefix_ == Prefix::doubling) return false;
    prefix_ = metaspace->scheme == Scheme::always  ? Prefix::always
              : metaspace->scheme == Scheme::first ? Prefix::first
                                                   : Prefix::never;
    splits_ = metaspace->split;
    ++i;
  }
  if (i != steps.size() || (!metaspace && !makes_marks_)) return false;
  if (spaces_ == Spaces::gaps && (!metaspace || makes_marks_)) return false;
  // Stripped and collapsed are spaces only, and those that a normalizer made marks of are none any more.
  const bool cleans = collapses_ || strips_left_after_ || strips_right_after_;
  if (cleans && makes_marks_) return false;
  refuses_marks_ |= cleans || spaces_ == Spaces::gaps;
  if (punctuates_ && (makes_marks_ || !splits_)) return false;
  // Without a split at marks the words between gaps would have to be told from each other.
  return spaces_ == Spaces::marks || splits_;
}

void Marker::prepare() {
  for (char32_t c = 0; c < 128; ++c) {
    const auto entry = map_[c];
    if (c == ' ') {
      const bool marked = entry.kind == CharacterMap::kChanged && map_.text(c, entry) == kMarkText;
      plain_[c] = marked || entry.kind == CharacterMap::kSpace ? 2 : 0;
    } else if (entry.kind == CharacterMap::kSpace && collapses_blanks_) {
      plain_[c] = c == '\n' || c == '\r' || c == '\t' ? 2 : 0;
    } else if (punctuates_ && unicode::has(c, unicode::kPunctuation)) {
      plain_[c] = 0;
    } else if (entry.kind == CharacterMap::kSpace) {
      // Stripping looks at all white space.
      plain_[c] = spaces_ == Spaces::gaps ? 2 : strips_left_after_ || strips_right_after_ ? 0 : 1;
    } else {
      plain_[c] = entry.kind == CharacterMap::kKept;
    }
  }
}

struct Marker::Writer {
  const Marker& marker;
  MarkedText& out;
  char* bytes;
  std::uint32_t* origins;
  std::size_t written = 0, characters = 0;
  bool fresh = true;         // nothing since the start or since a gap
  bool after_space = false;  // what was written last stands for a space
  std::size_t prefixed = 0;  // characters put in front of the text

  void reserve(std::size_t n) {
    if (written + n + MarkedText::kRoom <= out.bytes.size()) return;
    const std::size_t size = (written + n) * 3 / 2 + 4 * MarkedText::kRoom;
    out.bytes.resize(size);
    out.origins.resize(size);
    bytes = out.bytes.data();
    origins = out.origins.data();
  }
  void begin_word() {
    out.words.push_back({static_cast<std::uint32_t>(written), static_cast<std::uint32_t>(characters)});
  }
  void put_mark(std::uint32_t origin) {
    bytes[written++] = ' ';
    origins[characters++] = origin;
  }
  // The start of the text, or of a word behind a gap, at a character that is no mark.
  void start(std::uint32_t origin) {
    begin_word();
    fresh = false;
    if (marker.prefix_ == Prefix::always || (marker.prefix_ == Prefix::first && origin == 0)) {
      put_mark(origin);
      prefixed = characters == 1;
    }
  }
  void space(std::uint32_t origin) {
    if (marker.spaces_ == Spaces::gaps) {
      fresh = true;
      return;
    }
    if (fresh && marker.strips_left_after_) return;
    if (after_space && marker.collapses_) {
      origins[characters - 1] = origin;
      return;
    }
    begin_word();
    put_mark(origin);
    fresh = false;
    after_space = true;
  }
  void character(const char* p, std::size_t n, std::uint32_t origin) {
    const bool alone = marker.punctuates_ && unicode::has(unicode::decode(p), unicode::kPunctuation);
    if (fresh || alone) start(origin);
    std::memcpy(bytes + written, p, n);
    written += n;
    origins[characters++] = origin;
    after_space = false;
    fresh = alone;
  }
  // Any text that a character was changed into; false if it has a mark that would be taken for a space.
  bool put(std::string_view text, std::uint32_t origin) {
    reserve(2 * text.size());
    for (const char* p = text.data(); p < text.data() + text.size();) {
      const std::size_t n = size_of(p);
      const char32_t c = unicode::decode(p);
      if (c == U' ') {
        space(origin);
      } else if (c == kMark) {
        if (marker.refuses_marks_) return false;
        space(origin);
      } else if (marker.collapses_blanks_ && (c == U'\n' || c == U'\r' || c == U'\t')) {
        space(origin);
      } else if (is_space(c) && marker.spaces_ == Spaces::gaps) {
        fresh = true;
      } else if (!(is_space(c) && fresh && marker.strips_left_after_)) {
        character(p, n, origin);
      }
      p += n;
    }
    return true;
  }
  void ascii(const char* p, const char* end, std::uint32_t at) {
    reserve(2 * static_cast<std::size_t>(end - p));
    for (; p < end; ++p, ++at) {
      if (marker.plain_[static_cast<unsigned char>(*p)] == 2) {
        space(at);
        continue;
      }
      if (fresh) start(at);
      bytes[written++] = *p;
      origins[characters++] = at;
      after_space = false;
    }
  }
  void strip_right() {
    while (written > 0) {
      std::size_t n = 1;
      while (unicode::is_continuation(bytes[written - n])) ++n;
      if (characters == prefixed || !is_space(unicode::decode(bytes + written - n))) break;
      written -= n;
      --characters;
    }
    // Nothing but the prefix: there was nothing to put it in front of.
    if (characters == prefixed) written = characters = 0;
    while (!out.words.empty() && out.words.back().byte >= written) out.words.pop_back();
  }
};

// Whether white space that is no space, line's end or tab has other white space on neither side. Runs of it become a
// space, which the writer knows of those only.
bool Marker::lonely_blank(const char* p, const char* begin, const char* end) const {
  const char* const next = p + size_of(p);
  if (next < end && is_space(unicode::decode(next))) return false;
  return p == begin || !is_space(unicode::decode_before({begin, static_cast<std::size_t>(p - begin)},
                                                        static_cast<std::size_t>(p - begin)));
}

bool Marker::in_context(const char* p, const char* end) const {
  const auto kind = map_[unicode::decode(p)].kind;
  if (kind != CharacterMap::kPart) return kind == CharacterMap::kContext;
  const char* next = p + size_of(p);
  return next < end && map_[unicode::decode(next)].kind == CharacterMap::kPart;
}

// Characters that need their neighbours, with one on each side that does not: run through the normalizers for
// themselves, behind a character that nothing joins, because changes at the start of a text follow rules of their own.
bool Marker::write_context(const char*& p, const char* begin, const char* end, std::uint32_t& at,
                           Writer& writer) const {
  const char* const from = p;
  const auto joins = [&](const char* q) {
    const auto kind = map_[unicode::decode(q)].kind;
    return kind == CharacterMap::kContext || kind == CharacterMap::kPart;
  };
  for (bool seen = false; p < end;) {
    const bool joined = joins(p);
    if (collapses_blanks_ && is_space(unicode::decode(p)) && !plain_[static_cast<unsigned char>(*p)]) return false;
    seen |= joined;
    p += size_of(p);
    if (seen && !joined && (p == end || !joins(p))) break;
  }
  std::string text(1, kSentinel);
  text.append(from, p);
  Aligned made = Aligned::from(text, 0);
  map_.apply(made);
  if (made.text.empty() || made.text[0] != kSentinel || made.origin[0] != Span{0, 1}) return false;
  if (from == begin) {
    Aligned alone = Aligned::from(std::string_view(text).substr(1), 1);
    map_.apply(alone);
    if (alone.text != std::string_view(made.text).substr(1) ||
        !std::equal(alone.origin.begin(), alone.origin.end(), made.origin.begin() + 1)) {
      return false;
    }
  }
  std::uint32_t byte = 1, index = at;  // character `index` begins at `byte` of the text
  for (std::size_t i = 1; i < made.text.size();) {
    const std::size_t n = size_of(made.text.data() + i);
    const Span span = made.origin[i];
    if (span.begin < byte) return false;
    for (; byte < span.begin; ++index) byte += static_cast<std::uint32_t>(size_of(text.data() + byte));
    if (byte != span.begin || span.end != byte + size_of(text.data() + byte)) return false;
    if (!writer.put(std::string_view(made.text).substr(i, n), index)) return false;
    i += n;
  }
  at += static_cast<std::uint32_t>(unicode::count({from, static_cast<std::size_t>(p - from)}));
  return true;
}

bool Marker::write(std::string_view text, std::uint32_t at, MarkedText& out) const {
  out.words.clear();
  const char* p = text.data();
  const char* end = p + text.size();
  if (strips_left_) {
    for (; p < end && is_space(unicode::decode(p)); ++at) p += size_of(p);
  }
  if (strips_right_) {
    while (p < end && is_space(unicode::decode_before({p, static_cast<std::size_t>(end - p)},
                                                      static_cast<std::size_t>(end - p)))) {
      do --end;
      while (unicode::is_continuation(*end));
    }
  }
  Writer writer{*this, out, out.bytes.data(), out.origins.data(), 0, 0, true, false, 0};
  writer.reserve(text.size() + text.size() / 8);
  if (prefix_ == Prefix::doubling && p < end) {
    writer.begin_word();
    writer.put_mark(at);
    writer.fresh = false;
  }
  const char* const begin = p;
  while (p < end) {
    const char* q = p;
    while (q < end && plain_[static_cast<unsigned char>(*q)]) ++q;
    const bool context = q < end && in_context(q, end);
    const char* const stop = context && q > p ? q - 1 : q;
    writer.ascii(p, stop, at);
    at += static_cast<std::uint32_t>(stop - p);
    p = stop;
    if (context) {
      if (!write_context(p, begin, end, at, writer)) return false;
      continue;
    }
    // Characters of other kinds, up to one that needs its neighbours or is plain again.
    while (p < end && !plain_[static_cast<unsigned char>(*p)]) {
      const char32_t c = unicode::decode(p);
      const std::size_t n = size_of(p);
      if (p + n < end && (p[n] & 0x80 || !plain_[static_cast<unsigned char>(p[n])]) && in_context(p + n, end)) {
        if (!write_context(p, begin, end, at, writer)) return false;
        break;
      }
      const auto entry = map_[c];
      if (collapses_blanks_ && is_space(c) && !lonely_blank(p, begin, end)) return false;
      if (entry.kind == CharacterMap::kChanged) {
        if (!writer.put(map_.text(c, entry), at)) return false;
      } else if (entry.kind == CharacterMap::kSpace) {
        if (!writer.put({p, n}, at)) return false;
      } else {
        writer.reserve(2 * n);
        writer.character(p, n, at);
      }
      p += n;
      ++at;
    }
  }
  if (strips_right_after_) writer.strip_right();
  out.size = writer.written;
  out.characters = writer.characters;
  Finder::Match match;
  return added_.empty() || !Finder::Search(added_, out.text()).next(0, match);
}

}  // namespace enfold::tok
