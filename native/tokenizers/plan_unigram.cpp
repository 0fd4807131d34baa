#include <algorithm>
#include <array>
#include <memory>

#include "late.hpp"
#include "plan.hpp"
#include "sentence_cache.hpp"
#include "unigram.hpp"

namespace enfold::tok {

namespace {

std::uint32_t size_of(const char* p) {
  return static_cast<std::uint32_t>(unicode::length(static_cast<unsigned char>(*p)));
}

class UnigramWords {
 public:
  explicit UnigramWords(const Unigram& model) : own_text_id(model.own_text_id()), model_(model) {
    if (own_text_id != kNoId) own_text = model.vocab[own_text_id];
  }

  // Adds the tokens of a word to memory.found.
  void tokens_of(std::string_view part, SentenceMemory& memory) const {
    auto& out = memory.found;
    thread_local std::vector<Piece> pieces;
    pieces.clear();
    model_.segment(trie_.get([&] { return make_trie(); }), part, true, pieces);
    std::uint32_t byte = 0, character = 0;
    for (const Piece& piece : pieces) {
      // The bytes that an unknown text falls back on all stand for the whole of it.
      const bool repeats = piece.begin < byte;
      const std::uint32_t begin = repeats ? out.back().begin : character;
      for (; byte < piece.end; ++character) byte += size_of(part.data() + byte);
      out.push_back({piece.id, begin, character});
    }
  }

  Id own_text_id;
  std::string_view own_text;

 private:
  DoubleArray make_trie() const {
    std::vector<std::pair<std::string, std::int32_t>> marked;
    marked.reserve(model_.vocab.size());
    std::string form;
    model_.vocab.each([&](std::string_view token, Id id) {
      if (!token.empty() && Marker::marked(token, form)) marked.emplace_back(form, id);
    });
    std::sort(marked.begin(), marked.end());
    return DoubleArray({marked.begin(), marked.end()});
  }

  const Unigram& model_;
  Late<DoubleArray> trie_;
};

// Unigram: normalised text with marks in, words out.
class UnigramPlan final : public Plan {
 public:
  UnigramPlan(std::unique_ptr<Marker> marker, const Unigram& model) : marker_(std::move(marker)), model_(model) {}

  bool run_raw(std::string_view text, std::uint32_t at, std::uint32_t& word, Tokens& out,
               Scratch& scratch) const override {
    if (!scratch.sentence) scratch.sentence = std::make_unique<SentenceMemory>();
    SentenceMemory& memory = *scratch.sentence;
    MarkedText& marked = scratch.marked;
    if (!marker_->write(text, at, marked)) return false;
    if (!marked.size) return true;
    // Some at a time, so that the memory of their slots is on its way while others are worked on.
    std::array<Part, 16> parts;
    std::size_t waiting = 0;
    const auto flush = [&] {
      for (std::size_t i = 0; i < waiting; ++i) {
        take(memory, marked, parts[i], word, out);
        ++word;
      }
      waiting = 0;
    };
    marked.each_word(marker_->splits(), [&](std::uint32_t begin, std::uint32_t end, std::uint32_t character) {
      Part& part = parts[waiting++];
      part = {begin, end - begin, character, {}};
      if (part.size <= SentenceMemory::kMaxBytes) part.key = memory.key_of(marked.bytes.data() + begin, part.size);
      if (waiting == parts.size()) flush();
    });
    flush();
    return true;
  }

 private:
  struct Part {
    std::uint32_t begin, size, character;
    SentenceMemory::Key key;  // if it is short enough
  };

  void take(SentenceMemory& memory, const MarkedText& text, const Part& part, std::uint32_t word, Tokens& out) const {
    const char* const p = text.bytes.data() + part.begin;
    const std::uint32_t* const origins = text.origins.data() + part.character;
    const auto put = [&](Id id, std::uint32_t from, std::uint32_t to) {
      if (id == model_.own_text_id) push_text(p, from, to, out);
      out.push(id, {origins[from], origins[to - 1] + 1}, static_cast<std::int32_t>(word));
    };
    const bool kept = part.size <= SentenceMemory::kMaxBytes;
    if (const SentenceMemory::Slot* slot = kept ? SentenceMemory::find(part.key) : nullptr) {
      for (std::size_t i = 0; i < slot->count; ++i) put(slot->ids[i], slot->begin[i], slot->end[i]);
      return;
    }
    auto& found = memory.found;
    found.clear();
    model_.tokens_of({p, part.size}, memory);
    for (const WordToken& token : found) put(token.id, token.begin, token.end);
    if (!kept || found.size() > SentenceMemory::kMaxTokens) return;
    SentenceMemory::Slot& slot = SentenceMemory::add(part.key);
    slot.count = static_cast<std::uint8_t>(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      slot.ids[i] = found[i].id;
      slot.begin[i] = static_cast<std::uint8_t>(found[i].begin);
      slot.end[i] = static_cast<std::uint8_t>(found[i].end);
    }
  }

  // An unknown token reads as the text that it stands for.
  void push_text(const char* p, std::uint32_t from, std::uint32_t to, Tokens& out) const {
    std::string text;
    for (std::uint32_t k = 0; k < to; ++k, p += size_of(p)) {
      if (k < from) continue;
      if (*p == ' ') text += "\u2581";
      else text.append(p, size_of(p));
    }
    if (text != model_.own_text) out.texts.push_back({out.ids.size(), std::move(text)});
  }

  std::unique_ptr<Marker> marker_;
  UnigramWords model_;
};

}  // namespace

std::unique_ptr<Plan> unigram_plan(const Unigram& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                   const AddedTokens& added) {
  auto marker = Marker::make(normalizer, pre_tokenizer, added);
  if (!marker) return nullptr;
  return std::make_unique<UnigramPlan>(std::move(marker), model);
}

}  // namespace enfold::tok
