#include <algorithm>
#include <optional>

#include "byte_level.hpp"
#include "plan.hpp"

namespace enfold::tok {

namespace {

// Boundaries between two characters that no token of the vocabulary spans. The merges of a word never reach over one,
// so a long word (a sentence, in scripts without spaces) may be cut there and its parts looked up in the cache.
class Boundaries {
 public:
  explicit Boundaries(const Vocabulary& vocab) : pairs_(kBits / 64), partial_(256 * 256 / 64) {
    std::string bytes;
    vocab.each([&](std::string_view token, Id) {
      if (token.size() < 2 || !byte_level::bytes_of(token, bytes)) return;
      for (std::size_t i = 1; i < bytes.size(); ++i) {
        if (unicode::is_continuation(bytes[i])) continue;
        // The characters on both sides, if the token holds all of their bytes.
        std::size_t left = i - 1;
        while (left > 0 && unicode::is_continuation(bytes[left]) && i - left < 4) --left;
        const auto lead = static_cast<unsigned char>(bytes[left]);
        const std::size_t right = unicode::length(static_cast<unsigned char>(bytes[i]));
        const bool whole =
            !unicode::is_continuation(bytes[left]) && unicode::length(lead) == i - left && i + right <= bytes.size();
        if (whole) set(pairs_, place(bytes.data() + left, i - left, bytes.data() + i, right));
        else set(partial_, coarse(bytes[i - 1], bytes[i]));
      }
    });
  }
  bool may_join(const char* left, std::size_t left_size, const char* right, std::size_t right_size) const {
    return get(partial_, coarse(left[left_size - 1], *right)) || get(pairs_, place(left, left_size, right, right_size));
  }

 private:
  static constexpr std::size_t kBits = 1 << 20;
  static std::size_t coarse(char a, char b) {
    return static_cast<std::size_t>(static_cast<unsigned char>(a)) << 8 | static_cast<unsigned char>(b);
  }
  static std::size_t place(const char* a, std::size_t n, const char* b, std::size_t m) {
    std::uint32_t x = 0, y = 0;
    std::memcpy(&x, a, n);
    std::memcpy(&y, b, m);
    return (x * 0x9E3779B97F4A7C15ull ^ y * 0xD6E8FEB86659FD93ull) * 0x8BB84B93962EACC9ull >> 44;
  }
  static void set(std::vector<std::uint64_t>& bits, std::size_t i) { bits[i >> 6] |= 1ull << (i & 63); }
  static bool get(const std::vector<std::uint64_t>& bits, std::size_t i) { return bits[i >> 6] >> (i & 63) & 1; }

  std::vector<std::uint64_t> pairs_;    // hashed: a false yes only costs speed
  std::vector<std::uint64_t> partial_;  // by last and first byte, for tokens that hold a part of a character
};

class ByteLevelPlan final : public Plan {
 public:
  struct Shape {
    Style style;
    bool digits_first, add_prefix_space;
    std::optional<unicode::Form> form;
  };

  static std::unique_ptr<Plan> make(const Bpe& model, const Shape& shape) {
    auto made = std::make_unique<ByteLevelPlan>(model, shape);
    for (unsigned b = 0; b < 256; ++b) {
      std::string name;
      unicode::append(name, byte_level::kTable.character[b]);
      made->bytes_[b] = model.vocab.find(name);
      if (made->bytes_[b] == kNoId) return nullptr;
    }
    if (model.ignores_merges()) {
      model.vocab.each([&](std::string_view token, Id) { made->longest_ = std::max(made->longest_, token.size()); });
    }
    return made;
  }

  ByteLevelPlan(const Bpe& model, const Shape& shape) : model_(model), shape_(shape), boundaries_(model.vocab) {}

  bool takes(std::string_view text) const override { return !shape_.form || !unicode::may_change(text, *shape_.form); }

  void run(std::string_view text, const char* limit, std::uint32_t at, std::uint32_t& word, Tokens& out,
           Scratch& scratch) const override {
    if (text.empty()) return;
    Run state{out, scratch, at, word, limit};
    if (shape_.add_prefix_space && text[0] != ' ') {
      scratch.text.assign(1, ' ').append(text);
      state.limit = scratch.text.data() + scratch.text.size();
      const std::size_t before = out.ids.size();
      run_all(scratch.text, state);
      // The added space stands where the first character stands.
      for (std::size_t i = before; out.want_offsets && i < out.ids.size(); ++i) {
        Span& span = out.offsets[i];
        span = {span.begin > at ? span.begin - 1 : at, span.end > at + 1 ? span.end - 1 : at + 1};
      }
    } else {
      run_all(text, state);
    }
    word = state.word;
  }

 private:
  struct Run {
    Tokens& out;
    Scratch& scratch;
    std::uint32_t at, word;
    const char* limit;
    std::vector<Found> found{};
  };

  void run_all(std::string_view text, Run& state) const {
    const char* p = text.data();
    const char* const end = p + text.size();
    const auto each = [&](const char* a, const char* b) {
      take(a, static_cast<std::size_t>(b - a), state);
      ++state.word;
    };
    if (!shape_.digits_first) return scan(shape_.style, p, end, each);
    // Every digit is a piece by itself, and the text between two digits is cut as if it stood alone.
    const char* from = p;
    while (p < end) {
      const auto lead = static_cast<unsigned char>(*p);
      const std::size_t n = unicode::length(lead);
      if (lead < 0x80 ? lead >= '0' && lead <= '9' : unicode::has(unicode::decode(p), unicode::kDigit)) {
        scan(shape_.style, from, p, each);
        each(p, p + n);
        from = p + n;
      }
      p += n;
    }
    scan(shape_.style, from, end, each);
  }

  // One piece of the pattern, whole or cut where no merge can reach across.
  void take(const char* p, std::size_t n, Run& state) const {
    if (n <= kCutFrom) return encode(p, n, state);
    if (model_.ignores_merges()) {
      if (find_whole(p, n, state.scratch) != kNoId) return encode(p, n, state);
    }
    const char* const end = p + n;
    const char* from = p;
    std::size_t left = unicode::length(static_cast<unsigned char>(*p));
    for (const char* q = p + left; q < end;) {
      const std::size_t right = unicode::length(static_cast<unsigned char>(*q));
      if (!boundaries_.may_join(q - left, left, q, right)) {
        encode_part(from, static_cast<std::size_t>(q - from), state);
        from = q;
      }
      left = right;
      q += right;
    }
    encode_part(from, static_cast<std::size_t>(end - from), state);
  }

  void encode(const char* p, std::size_t n, Run& state) const { encode_word(p, n, state, model_.ignores_merges()); }
  // A part of a piece is never looked up whole: the reference would not either.
  void encode_part(const char* p, std::size_t n, Run& state) const { encode_word(p, n, state, false); }

  void encode_word(const char* p, std::size_t n, Run& state, bool whole) const {
    if (n > WordCache::kMaxKey) {
      const std::size_t characters = find(p, n, state, whole);
      for (const Found& f : state.found) {
        state.out.push(f.id, {state.at + f.begin, state.at + f.end}, static_cast<std::int32_t>(state.word));
      }
      state.at += static_cast<std::uint32_t>(characters);
      return;
    }
    auto key = WordCache::key_of(p, n, state.limit);
    // Parts and whole pieces differ under ignore_merges, so they live in different slots.
    if (!whole && model_.ignores_merges()) key.hash = ~key.hash, key.part[2] = ~key.part[2];
    auto& slot = state.scratch.cache.at(key);
    if (!WordCache::holds(slot, key, n)) {
      const std::size_t characters = find(p, n, state, whole);
      keep(slot, key, n, characters, state.found);
      if (state.found.size() > WordCache::kMaxTokens) {
        for (const Found& f : state.found) {
          state.out.push(f.id, {state.at + f.begin, state.at + f.end}, static_cast<std::int32_t>(state.word));
        }
        state.at += static_cast<std::uint32_t>(characters);
        return;
      }
    }
    emit(slot, state.at, state.word, state.out);
    state.at += slot.characters;
  }

  // The token that stands for these bytes, whether merges reach it or not.
  Id find_whole(const char* p, std::size_t n, Scratch& scratch) const {
    if (n > longest_) return kNoId;  // a byte takes at least one byte of the token's spelling
    scratch.word.clear();
    for (std::size_t i = 0; i < n; ++i)
      unicode::append(scratch.word, byte_level::kTable.character[static_cast<unsigned char>(p[i])]);
    return model_.vocab.find(scratch.word);
  }

  // Fills state.found and returns the characters of the word.
  std::size_t find(const char* p, std::size_t n, Run& state, bool whole) const {
    state.found.clear();
    if (whole) {
      if (const Id id = find_whole(p, n, state.scratch); id != kNoId) {
        const std::size_t characters = unicode::count({p, n});
        state.found.push_back({id, 0, static_cast<std::uint32_t>(characters)});
        return characters;
      }
    }
    auto& symbols = state.scratch.symbols;
    symbols.clear();
    for (std::size_t i = 0; i < n; ++i) symbols.push_back({bytes_[static_cast<unsigned char>(p[i])], 1});
    model_.merge(symbols);
    // A token that begins or ends within a character takes the whole of it.
    std::uint32_t begun = 0;  // characters that have begun before this byte
    for (std::size_t i = 0, s = 0; s < symbols.size(); ++s) {
      const std::uint32_t first = begun - unicode::is_continuation(p[i]);
      for (const std::size_t end = i + symbols[s].size; i < end; ++i) begun += !unicode::is_continuation(p[i]);
      state.found.push_back({symbols[s].id, first, begun});
    }
    return begun;
  }

  static constexpr std::size_t kCutFrom = 12;  // bytes; shorter words are one look-up anyway

  const Bpe& model_;
  Shape shape_;
  Boundaries boundaries_;
  std::array<Id, 256> bytes_{};
  std::size_t longest_ = 0;  // bytes of the longest token's spelling, for ignore_merges
};

std::optional<ByteLevelPlan::Shape> byte_level_shape(const Normalizer* normalizer, const PreTokenizer* pre_tokenizer) {
  ByteLevelPlan::Shape shape{Style::gpt2, false, false, std::nullopt};
  if (normalizer) {
    const auto* form = dynamic_cast<const FormNormalizer*>(normalizer);
    if (!form) return std::nullopt;
    shape.form = form->form;
  }
  if (const auto* bytes = dynamic_cast<const ByteLevelPreTokenizer*>(pre_tokenizer)) {
    if (!bytes->use_regex) return std::nullopt;
    shape.add_prefix_space = bytes->add_prefix_space;
    return shape;
  }
  const auto* sequence = dynamic_cast<const PreTokenizerSequence*>(pre_tokenizer);
  if (!sequence || sequence->steps.size() != 2) return std::nullopt;
  const auto* bytes = dynamic_cast<const ByteLevelPreTokenizer*>(sequence->steps[1].get());
  if (!bytes || bytes->add_prefix_space) return std::nullopt;
  if (const auto* digits = dynamic_cast<const DigitsPreTokenizer*>(sequence->steps[0].get())) {
    if (!digits->individual || !bytes->use_regex) return std::nullopt;
    shape.digits_first = true;
    return shape;
  }
  const auto* split = dynamic_cast<const SplitPreTokenizer*>(sequence->steps[0].get());
  if (!split || !split->pattern.style() || bytes->use_regex) return std::nullopt;
  // These patterns match everything, so nothing lies between two matches: isolated keeps, removed inverted as well.
  if (split->behavior != (split->invert ? Behavior::removed : Behavior::isolated)) return std::nullopt;
  shape.style = *split->pattern.style();
  return shape;
}

}  // namespace

std::unique_ptr<Plan> byte_level_plan(const Bpe& model, const Normalizer* normalizer,
                                      const PreTokenizer* pre_tokenizer) {
  if (!model.is_plain()) return nullptr;
  const auto shape = byte_level_shape(normalizer, pre_tokenizer);
  return shape ? ByteLevelPlan::make(model, *shape) : nullptr;
}

}  // namespace enfold::tok
