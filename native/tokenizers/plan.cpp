#include "plan.hpp"

namespace enfold::tok {

std::unique_ptr<Plan> make_plan(const Model& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                const AddedTokens& added) {
  if (auto made = sentence_plan(model, normalizer, pre_tokenizer, added)) return made;
  if (const auto* bpe = dynamic_cast<const Bpe*>(&model)) return byte_level_plan(*bpe, normalizer, pre_tokenizer);
  if (const auto* words = dynamic_cast<const WordPiece*>(&model)) {
    return bert_plan(*words, normalizer, pre_tokenizer, added);
  }
  return nullptr;
}

}  // namespace enfold::tok
