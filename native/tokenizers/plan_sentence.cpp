#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <optional>

#include "plan.hpp"
#include "unigram.hpp"

namespace enfold::tok {

namespace {

// Made when it is needed first: many tokenizers are loaded, changed and saved before they encode, if they ever do.
template <typename T>
class Late {
 public:
  template <typename Make>
  const T& get(Make&& make) const {
    std::call_once(state_->once, [&] { state_->value.emplace(make()); });
    return *state_->value;
  }

 private:
  struct State {
    std::once_flag once;
    std::optional<T> value;
  };
  std::unique_ptr<State> state_ = std::make_unique<State>();
};

std::uint32_t size_of(const char* p) {
  return static_cast<std::uint32_t>(unicode::length(static_cast<unsigned char>(*p)));
}

// What the plans of both models share: normalised text with marks in, words out. Model has
//   each_part(const MarkedText&, splits, f): calls f(begin, end, character, ends) for each stretch of the text that is
//     tokenized by itself; `ends` says whether a word ends with it
//   tokens_of(part, memory): adds its tokens to memory.found.
template <typename Model>
class SentencePlan final : public Plan {
 public:
  SentencePlan(std::unique_ptr<Marker> marker, Model model) : marker_(std::move(marker)), model_(std::move(model)) {}

  bool run_raw(std::string_view text, std::uint32_t at, std::uint32_t& word, Tokens& out,
               Scratch& scratch) const override {
    if (!scratch.sentence) scratch.sentence = std::make_unique<SentenceMemory>();
    SentenceMemory& memory = *scratch.sentence;
    MarkedText& marked = memory.text;
    if (!marker_->write(text, at, marked)) return false;
    if (!marked.size) return true;
    // Some at a time, so that the memory of their slots is on its way while others are worked on.
    std::array<Part, 16> parts;
    std::size_t waiting = 0;
    const auto flush = [&] {
      for (std::size_t i = 0; i < waiting; ++i) {
        take(memory, parts[i], word, out);
        word += parts[i].ends;
      }
      waiting = 0;
    };
    model_.each_part(marked, marker_->splits(),
                     [&](std::uint32_t begin, std::uint32_t end, std::uint32_t character, bool ends) {
                       Part& part = parts[waiting++];
                       part = {begin, end - begin, character, ends, {}};
                       if (part.size <= SentenceMemory::kMaxBytes) {
                         part.key = memory.key_of(marked.bytes.data() + begin, part.size);
                       }
                       if (waiting == parts.size()) flush();
                     });
    flush();
    return true;
  }

 private:
  struct Part {
    std::uint32_t begin, size, character;
    bool ends;
    SentenceMemory::Key key;  // if it is short enough
  };

  void take(SentenceMemory& memory, const Part& part, std::uint32_t word, Tokens& out) const {
    const char* const p = memory.text.bytes.data() + part.begin;
    const std::uint32_t* const origins = memory.text.origins.data() + part.character;
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
  Model model_;
};

template <typename F>
void each_word(const MarkedText& text, bool splits, F&& f) {
  const auto size = static_cast<std::uint32_t>(text.size);
  if (!splits || text.words.empty()) return f(0u, size, 0u, true);
  for (std::size_t w = 0; w < text.words.size(); ++w) {
    const auto [byte, character] = text.words[w];
    f(byte, w + 1 < text.words.size() ? text.words[w + 1].byte : size, character, true);
  }
}

class UnigramWords {
 public:
  explicit UnigramWords(const Unigram& model) : own_text_id(model.own_text_id()), model_(model) {
    if (own_text_id != kNoId) own_text = model.vocab[own_text_id];
  }

  template <typename F>
  void each_part(const MarkedText& text, bool splits, F&& f) const {
    each_word(text, splits, f);
  }

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

class BpeWords {
 public:
  static std::optional<BpeWords> make(const Bpe& model) {
    const auto* bytes = model.byte_ids();
    if (!bytes || model.vocab.find("\u2581") == kNoId || model.ignores_merges() || !model.is_plain()) return std::nullopt;
    return BpeWords(model, *bytes);
  }

  template <typename F>
  void each_part(const MarkedText& text, bool splits, F&& f) const {
    const JoinedPairs& pairs = tables_.get([&] { return make_tables(); }).pairs;
    each_word(text, splits, [&](std::uint32_t begin, std::uint32_t end, std::uint32_t character, bool) {
      // Within a word that is not split at its marks most cuts are there, and short words need no other.
      const char* const bytes = text.bytes.data();
      auto mark = std::upper_bound(text.words.begin(), text.words.end(), begin,
                                   [](std::uint32_t at, const MarkedText::Word& word) { return at < word.byte; });
      std::uint32_t from = begin, from_character = character;
      for (;;) {
        const bool last = mark == text.words.end() || mark->byte >= end;
        const std::uint32_t to = last ? end : mark->byte;
        if (!last && joined_before(bytes, to, pairs)) {
          ++mark;
          continue;
        }
        cut(bytes, from, to, from_character, last, pairs, f);
        if (last) return;
        from = to;
        from_character = mark->character;
        ++mark;
      }
    });
  }

  void tokens_of(std::string_view part, SentenceMemory& memory) const {
    const Tables& tables = tables_.get([&] { return make_tables(); });
    auto& symbols = memory.symbols;
    symbols.clear();
    for (const char* p = part.data(); p < part.data() + part.size();) {
      const std::uint32_t n = size_of(p);
      const Id id = n < 4 ? tables.characters[unicode::decode(p)] : model_.vocab.find({p, n});
      if (id != kNoId) {
        symbols.push_back({id, n});
      } else {
        for (std::uint32_t k = 0; k < n; ++k) symbols.push_back({bytes_[static_cast<unsigned char>(p[k])], 1});
      }
      p += n;
    }
    merge(symbols);
    // A byte of a character stands for the whole of it.
    std::uint32_t begun = 0;
    const char* p = part.data();
    for (const Bpe::Symbol& symbol : symbols) {
      const std::uint32_t first = begun - unicode::is_continuation(*p);
      for (const char* const end = p + symbol.size; p < end; ++p) begun += !unicode::is_continuation(*p);
      memory.found.push_back({symbol.id, first, begun});
    }
  }

  Id own_text_id = kNoId - 1;  // no token reads otherwise
  std::string_view own_text;

 private:
  BpeWords(const Bpe& model, const std::array<Id, 256>& bytes) : model_(model), bytes_(bytes) {}

  struct Tables {
    JoinedPairs pairs;
    std::vector<Id> characters = std::vector<Id>(0x10000, kNoId);  // of the first plane
  };
  Tables make_tables() const {
    Tables made;
    std::string form;
    model_.vocab.each([&](std::string_view token, Id id) {
      if (token.empty() || !Marker::marked(token, form)) return;
      made.pairs.add(form);
      const std::size_t n = size_of(form.data());
      if (n == form.size() && n < 4) made.characters[unicode::decode(form.data())] = id;
    });
    return made;
  }

  // Lowest rank first, leftmost among equals, as the model does it.
  void merge(std::vector<Bpe::Symbol>& symbols) const {
    if (symbols.size() > kShort || model_.vocab.has_shared_ids()) return model_.merge(symbols);
    std::uint32_t ranks[kShort];  // of the pair that begins at each symbol
    const MergeTable& merges = model_.merges();
    std::size_t n = symbols.size();
    const auto look = [&](std::size_t i) {
      ranks[i] = i + 1 < n ? merges.rank(symbols[i].id, symbols[i + 1].id) : Bpe::kNever;
    };
    for (std::size_t i = 0; i < n; ++i) look(i);
    while (n > 1) {
      const auto best = static_cast<std::size_t>(std::min_element(ranks, ranks + n - 1) - ranks);
      if (ranks[best] == Bpe::kNever) break;
      symbols[best] = {merges.made(ranks[best]), symbols[best].size + symbols[best + 1].size};
      --n;
      for (std::size_t i = best + 1; i < n; ++i) {
        symbols[i] = symbols[i + 1];
        ranks[i] = ranks[i + 1];
      }
      look(best);
      if (best) look(best - 1);
    }
    symbols.resize(n);
  }

  static bool joined_before(const char* bytes, std::uint32_t at, const JoinedPairs& pairs) {
    std::uint32_t left = at - 1;
    while (unicode::is_continuation(bytes[left])) --left;
    return pairs.joined(bytes + left, at - left, bytes + at, size_of(bytes + at));
  }

  template <typename F>
  static void cut(const char* bytes, std::uint32_t begin, std::uint32_t end, std::uint32_t character, bool last,
                  const JoinedPairs& pairs, F&& f) {
    if (end - begin <= kCutFrom) return f(begin, end, character, last);
    std::uint32_t left = size_of(bytes + begin), from = begin, at = character + 1, from_character = character;
    for (std::uint32_t q = begin + left; q < end; ++at) {
      const std::uint32_t right = size_of(bytes + q);
      if (!pairs.joined(bytes + q - left, left, bytes + q, right)) {
        f(from, q, from_character, false);
        from = q;
        from_character = at;
      }
      left = right;
      q += right;
    }
    f(from, end, from_character, last);
  }

  static constexpr std::uint32_t kCutFrom = 7;  // bytes
  static constexpr std::size_t kShort = 48;     // symbols up to which scanning for the lowest rank beats a heap

  const Bpe& model_;
  std::array<Id, 256> bytes_;
  Late<Tables> tables_;
};

}  // namespace

std::unique_ptr<Plan> sentence_plan(const Model& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                    const AddedTokens& added) {
  const auto* unigram = dynamic_cast<const Unigram*>(&model);
  const auto* bpe = dynamic_cast<const Bpe*>(&model);
  auto words = bpe ? BpeWords::make(*bpe) : std::nullopt;
  if (!unigram && !words) return nullptr;
  auto marker = Marker::make(normalizer, pre_tokenizer, added);
  if (!marker) return nullptr;
  if (unigram) return std::make_unique<SentencePlan<UnigramWords>>(std::move(marker), UnigramWords(*unigram));
  return std::make_unique<SentencePlan<BpeWords>>(std::move(marker), std::move(*words));
}

}  // namespace enfold::tok
