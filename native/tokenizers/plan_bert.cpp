#include <algorithm>

#include "plan.hpp"

namespace enfold::tok {

namespace {

// WordPiece behind BERT's normaliser.
class BertPlan final : public Plan {
 public:
  BertPlan(const WordPiece& model, const BertNormalizer& normalizer) : model_(model), normalizer_(normalizer) {
    for (std::size_t r = 0; r < unicode::kRecordCount; ++r) classes_[r] = class_of(unicode::kProperties[r]);
    for (char32_t c = 0; c < 128; ++c) ascii_[c] = classes_[record(c)];
    if (!normalizer.strip_accents) return;
    for (char32_t c = 0x80; c < 0x110000; ++c) {
      if (!unicode::has(c, unicode::kNfd) || classes_[record(c)] != kDecomposes) continue;
      if (const Class k = class_decomposed(c); k != kInWord) exceptions_.push_back({c, k});
    }
  }

  bool takes(std::string_view text) const override {
    for (std::size_t i = 0; i < text.size();) {
      const auto lead = static_cast<unsigned char>(text[i]);
      std::size_t n = 1;
      if (lead >= 0x80 && class_at(text.data() + i, n) == kOdd) return false;
      i += n;
    }
    return true;
  }

  void run(std::string_view text, const char* limit, std::uint32_t at, std::uint32_t& word, Tokens& out,
           Scratch& scratch) const override {
    const char* p = text.data();
    const char* const end = p + text.size();
    while (p < end) {
      std::size_t n = 0;
      Class k = class_at(p, n);
      if (k == kBlank) {
        p += n;
        ++at;
        continue;
      }
      const char* const begin = p;
      p += n;
      if (k == kInWord) {
        while (p < end && (k = class_at(p, n)) == kInWord) p += n;
      }
      take(begin, static_cast<std::size_t>(p - begin), limit, at, word, out, scratch);
    }
  }

 private:
  // kAlone: a piece of its own. kDecomposes: see the exceptions. kOdd: only the literal path knows.
  enum Class : std::uint8_t { kInWord, kBlank, kAlone, kDecomposes, kOdd };

  static std::size_t record(char32_t c) { return unicode::kStage2[(unicode::kStage1[c >> 7] << 7) | (c & 127)]; }

  Class class_of(const unicode::Properties& p) const {
    if (normalizer_.clean_text) {
      if (p.flags & unicode::kControl) return kInWord;  // it vanishes, and the word goes on
      if (p.flags & unicode::kToSpace) return kBlank;
    }
    if (p.flags & unicode::kSpace) return kBlank;
    if (normalizer_.handle_chinese_chars && p.flags & unicode::kCjk) return kAlone;
    if (normalizer_.strip_accents) {
      if (p.flags & unicode::kNfd) return kDecomposes;
      if (p.flags & unicode::kAccent) return kInWord;
      if (p.combining_class) return kOdd;  // it may change places with its neighbours
    }
    return p.flags & unicode::kPunctuation ? kAlone : kInWord;
  }

  // What is left of a character after decomposing it and dropping its accents.
  Class class_decomposed(char32_t c) const {
    std::string text;
    unicode::append(text, c);
    std::size_t words = 0, alone = 0, odd = 0;
    for (const auto& item : unicode::normalize(text, unicode::Form::nfd)) {
      const auto& p = unicode::properties(item.c);
      if (p.flags & unicode::kAccent) continue;
      if (p.flags & unicode::kSpace || p.combining_class) ++odd;
      else if (p.flags & unicode::kPunctuation) ++alone;
      else ++words;
    }
    if (odd || alone > 1 || (alone && words)) return kOdd;
    return alone ? kAlone : kInWord;
  }

  Class class_at(const char* p, std::size_t& n) const {
    const auto lead = static_cast<unsigned char>(*p);
    if (lead < 0x80) return n = 1, static_cast<Class>(ascii_[lead]);
    n = unicode::length(lead);
    const char32_t c = unicode::decode(p);
    const auto k = static_cast<Class>(classes_[record(c)]);
    if (k != kDecomposes) return k;
    const auto at = std::lower_bound(exceptions_.begin(), exceptions_.end(), c,
                                     [](const auto& e, char32_t x) { return e.first < x; });
    return at != exceptions_.end() && at->first == c ? at->second : kInWord;
  }

  void take(const char* p, std::size_t n, const char* limit, std::uint32_t& at, std::uint32_t& word, Tokens& out,
            Scratch& scratch) const {
    const bool short_word = n <= WordCache::kMaxKey;
    WordCache::Key key{};
    WordCache::Slot* slot = nullptr;
    if (short_word) {
      key = WordCache::key_of(p, n, limit);
      slot = &scratch.cache.at(key);
      if (WordCache::holds(*slot, key, n)) {
        emit(*slot, at, word, out);
        word += slot->count > 0;
        at += slot->characters;
        return;
      }
    }
    thread_local std::vector<Found> found;
    found.clear();
    const std::size_t characters = find({p, n}, found, scratch);
    for (const Found& f : found) out.push(f.id, {at + f.begin, at + f.end}, static_cast<std::int32_t>(word));
    if (slot) keep(*slot, key, n, characters, found);
    word += !found.empty();
    at += static_cast<std::uint32_t>(characters);
  }

  // Tokens of one raw word; returns its characters.
  std::size_t find(std::string_view word, std::vector<Found>& found, Scratch& scratch) const {
    std::string& text = scratch.word;
    text.clear();
    scratch.pieces.clear();
    std::size_t characters = 0;
    constexpr auto kChanges = unicode::kNfd | unicode::kAccent | unicode::kControl | unicode::kCjk | unicode::kToSpace;
    bool simple = true;  // one character stays one character
    for (std::size_t i = 0; i < word.size() && simple; ++characters) {
      const std::size_t n = unicode::length(static_cast<unsigned char>(word[i]));
      const char32_t c = unicode::decode(word.data() + i);
      char32_t image[2] = {c, 0};
      simple = !unicode::has(c, kChanges) && (!normalizer_.lowercase || unicode::lower(c, image) == 1);
      unicode::append(text, image[0]);
      i += n;
    }
    if (!simple) return find_literally(word, found, scratch);
    if (text.empty()) return 0;
    model_.tokenize(text, scratch.pieces);
    std::uint32_t c = 0, i = 0;
    for (const Piece& piece : scratch.pieces) {
      const std::uint32_t begin = c;
      for (; i < piece.end; ++i) c += !unicode::is_continuation(text[i]);
      found.push_back({piece.id, begin, c});
    }
    return characters;
  }

  std::size_t find_literally(std::string_view word, std::vector<Found>& found, Scratch& scratch) const {
    Aligned text = Aligned::from(word, 0);
    normalizer_.apply(text);
    std::vector<Aligned> pieces;
    if (!text.text.empty()) pieces.push_back(std::move(text));
    BertPreTokenizer().apply(pieces);
    for (const Aligned& piece : pieces) {
      scratch.pieces.clear();
      model_.tokenize(piece.text, scratch.pieces);
      for (const Piece& token : scratch.pieces) {
        Span span{};
        piece.source(token.begin, token.end, span);
        found.push_back({token.id, static_cast<std::uint32_t>(unicode::count(word.substr(0, span.begin))),
                         static_cast<std::uint32_t>(unicode::count(word.substr(0, span.end)))});
      }
    }
    return unicode::count(word);
  }

  const WordPiece& model_;
  const BertNormalizer& normalizer_;
  std::array<std::uint8_t, 512> classes_{};
  std::array<std::uint8_t, 128> ascii_{};
  std::vector<std::pair<char32_t, Class>> exceptions_;
};

}  // namespace

std::unique_ptr<Plan> bert_plan(const WordPiece& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                const AddedTokens& added) {
  const auto* bert = dynamic_cast<const BertNormalizer*>(normalizer);
  if (!bert || !dynamic_cast<const BertPreTokenizer*>(pre_tokenizer) || added.any(true)) return nullptr;
  return std::make_unique<BertPlan>(model, *bert);
}

}  // namespace enfold::tok
