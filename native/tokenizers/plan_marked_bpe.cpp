#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "derivations.hpp"
#include "joined_pairs.hpp"
#include "late.hpp"
#include "plan.hpp"
#include "whole_words.hpp"

namespace enfold::tok {

namespace {

std::uint32_t size_of(const char* p) {
  return static_cast<std::uint32_t>(unicode::length(static_cast<unsigned char>(*p)));
}

// What becomes of characters that the vocabulary lacks: the tokens of their bytes, or one for each or for a run.
struct Unknown {
  std::optional<std::array<Id, 256>> bytes;
  Id id = kNoId;
  bool fused = false;
};

// BPE with marks for spaces.
class MarkedBpePlan final : public Plan {
 public:
  MarkedBpePlan(std::unique_ptr<Marker> marker, const Bpe& model, const Unknown& unknown)
      : marker_(std::move(marker)), model_(model), unknown_(unknown) {}

  bool run_raw(std::string_view text, std::uint32_t at, std::uint32_t& word, Tokens& out,
               Scratch& scratch) const override {
    MarkedText& marked = scratch.marked;
    if (!marker_->write(text, at, marked)) return false;
    if (!marked.size) return true;
    const Tables& tables = tables_.get([&] { return make_tables(); });
    const auto find = [&](Query* queries, std::size_t n, Buffer<Found>& found) {
      this->find(tables, queries, n, found, scratch.merging);
    };
    const std::size_t before = out.ids.size();
    const char* const bytes = marked.bytes.data();
    const WholeWords* const whole = tables.whole.empty() ? nullptr : &tables.whole;
    const char* const limit = bytes + marked.size + MarkedText::kRoom;
    Words words(scratch.cache, whole, scratch.found, out, limit, 0, word, true, find);
    each_part(marked, tables, [&](std::uint32_t begin, std::uint32_t end, bool ends) {
      words.add(bytes + begin, end - begin, 0, ends);
    });
    words.flush();
    word = words.word();
    // They count the characters of the marked text.
    for (std::size_t i = before; out.want_offsets && i < out.ids.size(); ++i) {
      Span& span = out.offsets[i];
      span = {marked.origins[span.begin], marked.origins[span.end - 1] + 1};
    }
    return true;
  }

 private:
  struct Tables {
    JoinedPairs pairs;
    WholeWords whole;  // that merges make
    std::vector<Id> characters = std::vector<Id>(0x10000, kNoId);  // of the first plane
  };
  Tables make_tables() const {
    Tables made;
    std::string form;
    const Derivations derivations(model_);
    if (!model_.vocab.has_shared_ids()) {
      std::size_t many = 0;
      model_.vocab.each([&](std::string_view token, Id) { many += token.size() > WholeWords::kShort; });
      made.whole = WholeWords(model_.vocab.size(), many);
    }
    model_.vocab.each([&](std::string_view token, Id id) {
      if (token.empty() || !Marker::marked(token, form)) return;
      made.pairs.add(form);
      if (!made.whole.empty() && derivations.makes(id)) made.whole.add(form, id);
      const std::size_t n = size_of(form.data());
      if (n == form.size() && n < 4) made.characters[unicode::decode(form.data())] = id;
    });
    made.whole.finish();
    return made;
  }

  void find(const Tables& tables, Query* queries, std::size_t n, Buffer<Found>& found,
            MergeQueries& merging) const {
    const WholeWords& whole = tables.whole;
    for (const Query* query = queries; !whole.empty() && query < queries + n; ++query) {
      whole.prefetch_first(query->p, query->n);
    }
    for (const Query* query = queries; !whole.empty() && query < queries + n; ++query) {
      whole.prefetch_then(query->p, query->n, query->hash);
    }
    merging.clear();
    for (Query* query = queries; query < queries + n; ++query) {
      if (!whole.empty()) {
        if (const Id id = whole.find(query->p, query->n, query->hash, query->key); id != kNoId) {
          answer(*query, [&](auto&& take) { take(id, query->n); }, found);
          continue;
        }
      }
      const auto start = [&](auto&& add) {
        std::uint32_t waiting = 0;  // bytes of a run of unknown characters
        const auto flush = [&] {
          if (waiting) add(unknown_.id, waiting);
          waiting = 0;
        };
        for (const char* p = query->p; p < query->p + query->n;) {
          const std::uint32_t size = size_of(p);
          const Id id = id_of(tables, p, size);
          if (id != kNoId || !unknown_.fused) flush();
          if (id != kNoId) {
            add(id, size);
          } else if (unknown_.bytes) {
            for (std::uint32_t k = 0; k < size; ++k) add((*unknown_.bytes)[static_cast<unsigned char>(p[k])], 1);
          } else {
            waiting += size;
          }
          p += size;
        }
        flush();
      };
      merging.add(model_, *query, start, [](int) { return true; }, found);
    }
    merging.run(model_, [&](const char*, Id a, Id b, int) { return model_.merges().rank(a, b); }, found);
  }

  Id id_of(const Tables& tables, const char* p, std::uint32_t size) const {
    return size < 4 ? tables.characters[unicode::decode(p)] : model_.vocab.find({p, size});
  }

  // Calls f(begin, end, ends) for each stretch of the text that is tokenized by itself; `ends` says whether a word ends
  // with it.
  template <typename F>
  void each_part(const MarkedText& text, const Tables& tables, F&& f) const {
    text.each_word(marker_->splits(), [&](std::uint32_t begin, std::uint32_t end, std::uint32_t) {
      // Within a word that is not split at its marks most cuts are there, and short words need no other.
      const char* const bytes = text.bytes.data();
      auto mark = std::upper_bound(text.words.begin(), text.words.end(), begin,
                                   [](std::uint32_t at, const MarkedText::Word& word) { return at < word.byte; });
      std::uint32_t from = begin;
      for (;;) {
        const bool last = mark == text.words.end() || mark->byte >= end;
        const std::uint32_t to = last ? end : mark->byte;
        if (!last && joined_before(bytes, to, tables.pairs)) {
          ++mark;
          continue;
        }
        cut(bytes, from, to, last, tables, f);
        if (last) return;
        from = to;
        ++mark;
      }
    });
  }

  static bool joined_before(const char* bytes, std::uint32_t at, const JoinedPairs& pairs) {
    std::uint32_t left = at - 1;
    while (unicode::is_continuation(bytes[left])) --left;
    return pairs.joined(bytes + left, at - left, bytes + at, size_of(bytes + at));
  }

  template <typename F>
  void cut(const char* bytes, std::uint32_t begin, std::uint32_t end, bool last, const Tables& tables, F&& f) const {
    if (end - begin <= kCutFrom) return f(begin, end, last);
    // A run of unknown characters may be one token, which no pair of them tells.
    const auto fused = [&](const char* p, std::uint32_t n, std::uint32_t m) {
      return unknown_.fused && id_of(tables, p, n) == kNoId && id_of(tables, p + n, m) == kNoId;
    };
    std::uint32_t left = size_of(bytes + begin), from = begin;
    for (std::uint32_t q = begin + left; q < end;) {
      const std::uint32_t right = size_of(bytes + q);
      if (!tables.pairs.joined(bytes + q - left, left, bytes + q, right) && !fused(bytes + q - left, left, right)) {
        f(from, q, false);
        from = q;
      }
      left = right;
      q += right;
    }
    f(from, end, last);
  }

  static constexpr std::uint32_t kCutFrom = 7;  // bytes

  std::unique_ptr<Marker> marker_;
  const Bpe& model_;
  Unknown unknown_;
  Late<Tables> tables_;
};

}  // namespace

std::unique_ptr<Plan> marked_bpe_plan(const Bpe& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                      const AddedTokens& added) {
  Unknown unknown;
  if (const auto* bytes = model.byte_ids()) {
    unknown.bytes = *bytes;
  } else if (const auto id = model.unknown_id()) {
    unknown.id = *id;
    unknown.fused = model.fuses_unknown();
  } else {
    return nullptr;
  }
  if (model.vocab.find("\u2581") == kNoId || model.ignores_merges() || !model.is_plain()) return nullptr;
  auto marker = Marker::make(normalizer, pre_tokenizer, added);
  if (!marker) return nullptr;
  return std::make_unique<MarkedBpePlan>(std::move(marker), model, unknown);
}

}  // namespace enfold::tok
