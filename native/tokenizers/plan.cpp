#include "plan.hpp"

#include "unigram.hpp"

namespace enfold::tok {

std::unique_ptr<Plan> make_plan(const Model& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                const AddedTokens& added) {
  if (const auto* unigram = dynamic_cast<const Unigram*>(&model)) {
    if (unigram->is_random()) return nullptr;
    return unigram_plan(*unigram, normalizer, pre_tokenizer, added);
  }
  if (const auto* bpe = dynamic_cast<const Bpe*>(&model)) {
    if (auto made = marked_bpe_plan(*bpe, normalizer, pre_tokenizer, added)) return made;
    if (bpe->is_random()) return nullptr;
    if (auto made = bert_plan(*bpe, normalizer, pre_tokenizer)) return made;
    return byte_level_plan(*bpe, normalizer, pre_tokenizer);
  }
  if (const auto* words = dynamic_cast<const WordPiece*>(&model)) {
    return bert_plan(*words, normalizer, pre_tokenizer);
  }
  return nullptr;
}

bool Plan::split(std::string_view text, const AddedTokens& added, bool keep_special, Scratch& scratch) const {
  added.split(text, true, keep_special, scratch.inner);
  for (const Section& section : scratch.inner) {
    scratch.inner_texts.push_back(text.substr(section.begin, section.end - section.begin));
  }
  return true;
}

}  // namespace enfold::tok
