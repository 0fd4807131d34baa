#include <algorithm>
#include <optional>
#include <span>

#include "plan.hpp"

namespace enfold::tok {

namespace {

// Any model behind BERT's normaliser: WordPiece, or BPE with ends of words.
class BertPlan final : public Plan {
 public:
  BertPlan(const Model& model, const BertNormalizer& normalizer) : model_(model), normalizer_(normalizer) {
    for (std::size_t r = 0; r < unicode::kRecordCount; ++r) classes_[r] = class_of(unicode::kProperties[r]);
    for (char32_t c = 0; c < 128; ++c) {
      ascii_[c] = classes_[record(c)];
      std::string image;
      append_normal(c, image);
      normal_ascii_[c] = image.size() == 1 ? image[0] : '\0';
    }
    if (!normalizer.strip_accents) return;
    for (char32_t c = 0x80; c < 0x110000; ++c) {
      if (c % 128 == 0 && !decomposes_in_page(c)) c += 127;
      else if (unicode::has(c, unicode::kNfd) && classes_[record(c)] == kDecomposes) {
        if (const Class k = class_decomposed(c); k != kInWord) exceptions_.push_back({c, k});
      }
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

  bool split(std::string_view text, const AddedTokens& added, bool keep_special, Scratch& scratch) const override {
    std::string& normal = scratch.text;
    write_normal(text, normal, scratch.shifts);
    auto& sections = scratch.inner;
    added.split(normal, true, keep_special, sections);
    for (Section& section : sections) {
      scratch.inner_texts.push_back(std::string_view(normal).substr(section.begin, section.end - section.begin));
    }
    // A token begins behind what vanished before it and ends before what vanishes behind it.
    for (Section& section : sections) {
      const bool token = section.id != kNoId;
      const auto begin = in_raw(scratch.shifts, section.begin, token);
      const auto end = in_raw(scratch.shifts, section.end, !token);
      if (!begin || !end) return false;
      section.begin = *begin;
      section.end = *end;
    }
    return true;
  }

  void run(std::string_view text, const char* limit, std::uint32_t at, std::uint32_t& word, Tokens& out,
           Scratch& scratch) const override {
    const auto find = [&](Query* queries, std::size_t n, Buffer<Found>& found) {
      for (Query* query = queries; query < queries + n; ++query) {
        query->begin = static_cast<std::uint32_t>(found.size());
        query->characters = this->find({query->p, query->n}, found, scratch);
        query->end = static_cast<std::uint32_t>(found.size());
      }
    };
    Words words(scratch.cache, nullptr, scratch.found, out, limit, at, word, false, find);
    const char* p = text.data();
    const char* const end = p + text.size();
    std::uint32_t gap = 0;
    while (p < end) {
      std::size_t n = 0;
      Class k = class_at(p, n);
      if (k == kBlank) {
        p += n;
        ++gap;
        continue;
      }
      const char* const begin = p;
      p += n;
      if (k == kInWord) {
        while (p < end && (k = class_at(p, n)) == kInWord) p += n;
      }
      words.add(begin, static_cast<std::size_t>(p - begin), gap);
      gap = 0;
    }
    words.flush();
    word = words.word();
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

  static bool decomposes_in_page(char32_t first) {
    for (char32_t c = first; c < first + 128; ++c) {
      if (unicode::has(c, unicode::kNfd)) return true;
    }
    return false;
  }

  // What is left of a character after decomposing it and dropping its accents.
  static Class class_decomposed(char32_t c) {
    std::size_t words = 0, alone = 0, odd = 0;
    char32_t room[3];
    for (const char32_t part : unicode::canonical(c, room)) {
      const auto& p = unicode::properties(part);
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

  // What the normaliser makes of a character that is neither blank nor a word of its own.
  void append_letter(char32_t c, std::string& out) const {
    const auto flags = unicode::properties(c).flags;
    if (normalizer_.clean_text && flags & unicode::kControl) return;
    char32_t room[3];
    std::span<const char32_t> parts(&c, 1);
    if (normalizer_.strip_accents && flags & unicode::kNfd) parts = unicode::canonical(c, room);
    for (const char32_t part : parts) {
      if (normalizer_.strip_accents && unicode::has(part, unicode::kAccent)) continue;
      char32_t image[2] = {part, 0};
      const int n = normalizer_.lowercase ? unicode::lower(part, image) : 1;
      for (int k = 0; k < n; ++k) unicode::append(out, image[k]);
    }
  }
  void append_normal(char32_t c, std::string& out) const {
    const auto flags = unicode::properties(c).flags;
    const bool blank = normalizer_.clean_text && !(flags & unicode::kControl) && flags & unicode::kToSpace;
    const bool spaced = normalizer_.handle_chinese_chars && flags & unicode::kCjk;
    if (spaced) out += ' ';
    append_letter(blank ? U' ' : c, out);
    if (spaced) out += ' ';
  }

  void write_normal(std::string_view text, std::string& out, std::vector<Shift>& shifts) const {
    out.clear();
    shifts.assign(1, {0, 0, false});
    for (std::size_t i = 0; i < text.size();) {
      const auto lead = static_cast<unsigned char>(text[i]);
      if (lead < 0x80 && normal_ascii_[lead]) {
        out.push_back(normal_ascii_[lead]);
        ++i;
        continue;
      }
      const std::size_t before = out.size(), n = unicode::length(lead);
      append_normal(unicode::decode(text.data() + i), out);
      const std::size_t made = out.size() - before;
      if (made != n || unicode::length(static_cast<unsigned char>(out[before])) != n) {
        const auto at = static_cast<std::uint32_t>(before), raw = static_cast<std::uint32_t>(i);
        if (shifts.back().normal != at || shifts.back().raw != raw) shifts.push_back({at, raw, false});
        shifts.back().opens = true;
        shifts.push_back({static_cast<std::uint32_t>(out.size()), static_cast<std::uint32_t>(i + n), false});
      }
      i += n;
    }
  }

  // The byte of the raw text for one of the normalised text, behind or before characters that left nothing there; none
  // within what a character became.
  static std::optional<std::uint32_t> in_raw(const std::vector<Shift>& shifts, std::uint32_t normal, bool behind) {
    const auto less = [](const Shift& shift, std::uint32_t x) { return shift.normal < x; };
    auto at = std::lower_bound(shifts.begin(), shifts.end(), normal, less);
    if (at == shifts.end() || at->normal != normal) {
      --at;
      if (at->opens) return std::nullopt;
      return at->raw + (normal - at->normal);
    }
    while (behind && at + 1 != shifts.end() && (at + 1)->normal == normal) ++at;
    return at->raw;
  }

  // Tokens of one raw word; returns its characters.
  std::uint32_t find(std::string_view word, Buffer<Found>& found, Scratch& scratch) const {
    std::string& text = scratch.word;     // the word as the normaliser leaves it
    auto& owners = scratch.characters_of;  // for each of its bytes, the character of the raw word it comes from
    text.clear();
    owners.clear();
    std::uint32_t character = 0;
    for (std::size_t i = 0; i < word.size(); ++character) {
      const char32_t c = unicode::decode(word.data() + i);
      i += unicode::length(static_cast<unsigned char>(word[i]));
      append_letter(c, text);
      owners.resize(text.size(), character);
    }
    if (text.empty()) return character;
    scratch.pieces.clear();
    model_.tokenize(text, scratch.pieces);
    for (const Piece& piece : scratch.pieces) {
      found.push_back({piece.id, owners[piece.begin], owners[piece.end - 1] + 1});
    }
    return character;
  }

  const Model& model_;
  const BertNormalizer& normalizer_;
  std::array<std::uint8_t, 512> classes_{};
  std::array<std::uint8_t, 128> ascii_{};
  std::array<char, 128> normal_ascii_{};  // zero: another number of bytes
  std::vector<std::pair<char32_t, Class>> exceptions_;
};

}  // namespace

std::unique_ptr<Plan> bert_plan(const Model& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer) {
  const auto* bert = dynamic_cast<const BertNormalizer*>(normalizer);
  if (!bert || !dynamic_cast<const BertPreTokenizer*>(pre_tokenizer)) return nullptr;
  return std::make_unique<BertPlan>(model, *bert);
}

}  // namespace enfold::tok
