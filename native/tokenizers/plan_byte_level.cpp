#include <algorithm>
#include <array>
#include <optional>

#include "byte_words.hpp"
#include "cutter.hpp"
#include "plan.hpp"

namespace enfold::tok {

namespace {

constexpr std::size_t kCutFrom = 12;  // bytes; shorter pieces are one look-up anyway

class ByteLevelPlan final : public Plan {
 public:
  struct Shape {
    std::optional<unicode::Form> form;
    bool add_prefix_space = false;
    Cutter cutter;
  };

  ByteLevelPlan(const Bpe& model, Shape shape, std::unique_ptr<const ByteWords> words)
      : model_(model), shape_(std::move(shape)), bytes_(std::move(words)) {}

  bool takes(std::string_view text) const override {
    return bytes_->spells(text) && !(shape_.form && unicode::may_change(text, *shape_.form));
  }

  void run(std::string_view text, const char* limit, std::uint32_t at, std::uint32_t& word, Tokens& out,
           Scratch& scratch) const override {
    if (text.empty()) return;
    if (!shape_.add_prefix_space || text[0] == ' ') return run_all(text, limit, at, word, out, scratch);
    scratch.text.assign(1, ' ').append(text);
    const std::size_t before = out.ids.size();
    run_all(scratch.text, scratch.text.data() + scratch.text.size(), at, word, out, scratch);
    // The added space stands where the first character stands.
    for (std::size_t i = before; out.want_offsets && i < out.ids.size(); ++i) {
      Span& span = out.offsets[i];
      span = {span.begin > at ? span.begin - 1 : at, span.end > at + 1 ? span.end - 1 : at + 1};
    }
  }

 private:
  void run_all(std::string_view text, const char* limit, std::uint32_t at, std::uint32_t& word, Tokens& out,
               Scratch& scratch) const {
    const auto find = [&](Query* queries, std::size_t n, Buffer<Found>& found) {
      bytes_->find(queries, n, found, scratch.merging);
    };
    Words words(scratch.cache, bytes_->whole_words(), scratch.found, out, limit, at, word, true, find);
    const char* last = text.data();
    shape_.cutter.cut(last, last + text.size(), [&](const char* a, const char* b) {
      const auto gap =
          static_cast<std::uint32_t>(a == last ? 0 : unicode::count({last, static_cast<std::size_t>(a - last)}));
      last = b;
      take(a, static_cast<std::size_t>(b - a), gap, words);
    });
    words.flush();
    word = words.word();
  }

  // One piece of the text, whole or cut where no merge can reach across.
  template <typename Find>
  void take(const char* p, std::size_t n, std::uint32_t gap, Words<Find>& words) const {
    const auto wide = [&] {
      return static_cast<unsigned char>(p[0]) >= 0xE0 || static_cast<unsigned char>(p[1]) >= 0xE0;
    };
    if (n <= kCutFrom || (n <= WordCache::kLongKey && !wide())) return words.add(p, n, gap);
    const bool ignores_merges = model_.ignores_merges();
    if (ignores_merges && bytes_->whole(p, n) != kNoId) return words.add(p, n, gap);
    const char* const end = p + n;
    const char* from = p;
    // The tables are asked about several boundaries at once, so that none waits for memory by itself.
    std::array<ByteWords::Boundary, 16> boundaries;
    auto left = static_cast<std::uint32_t>(unicode::length(static_cast<unsigned char>(*p)));
    std::uint32_t before = unicode::packed(p, left);
    for (const char* q = p + left; q < end;) {
      std::size_t count = 0;
      while (q < end && count < boundaries.size()) {
        const auto lead = static_cast<unsigned char>(*q);
        const auto right = static_cast<std::uint32_t>(unicode::length(lead));
        const std::uint32_t behind = unicode::packed(q, right);
        // Between two ASCII characters a look into the tables would cost more than it saves.
        if (left > 1 || right > 1) boundaries[count++] = bytes_->boundary(q, left, before, right, behind);
        q += right;
        left = right;
        before = behind;
      }
      for (std::size_t i = 0; i < count; ++i) {
        const char* const at = boundaries[i].at;
        if (bytes_->may_join(boundaries[i])) continue;
        words.add(from, static_cast<std::size_t>(at - from), gap, false, ignores_merges);
        gap = 0;
        from = at;
      }
    }
    // A part of a piece is never looked up whole: the reference would not either.
    words.add(from, static_cast<std::size_t>(end - from), gap, true, ignores_merges);
  }

  const Bpe& model_;
  Shape shape_;
  std::unique_ptr<const ByteWords> bytes_;
};

// Whether the normaliser and the pre-tokenizer are ones that the plan can follow.
std::optional<ByteLevelPlan::Shape> shape_of(const Normalizer* normalizer, const PreTokenizer* pre_tokenizer) {
  ByteLevelPlan::Shape shape;
  if (normalizer) {
    const auto* form = dynamic_cast<const FormNormalizer*>(normalizer);
    if (!form) return std::nullopt;
    shape.form = form->form;
  }
  const PreTokenizer* last = pre_tokenizer;
  if (const auto* sequence = dynamic_cast<const PreTokenizerSequence*>(pre_tokenizer)) {
    if (sequence->steps.empty()) return std::nullopt;
    for (std::size_t i = 0; i + 1 < sequence->steps.size(); ++i) {
      if (!shape.cutter.add(*sequence->steps[i])) return std::nullopt;
    }
    last = sequence->steps.back().get();
  }
  const auto* bytes = dynamic_cast<const ByteLevelPreTokenizer*>(last);
  // A space before every piece of several would not be the text any more.
  if (!bytes || (bytes->add_prefix_space && last != pre_tokenizer)) return std::nullopt;
  if (bytes->use_regex) shape.cutter.add(Style::gpt2);
  shape.add_prefix_space = bytes->add_prefix_space;
  return shape;
}

}  // namespace

std::unique_ptr<Plan> byte_level_plan(const Bpe& model, const Normalizer* normalizer,
                                      const PreTokenizer* pre_tokenizer) {
  if (!model.is_plain()) return nullptr;
  auto shape = shape_of(normalizer, pre_tokenizer);
  if (!shape) return nullptr;
  auto words = ByteWords::make(model);
  if (shape->add_prefix_space && !words->spells(" ")) return nullptr;
  return std::make_unique<ByteLevelPlan>(model, std::move(*shape), std::move(words));
}

}  // namespace enfold::tok
