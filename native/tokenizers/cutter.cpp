#include "cutter.hpp"

namespace enfold::tok {

bool Cutter::add(const PreTokenizer& pre_tokenizer) {
  if (const auto* sequence = dynamic_cast<const PreTokenizerSequence*>(&pre_tokenizer)) {
    for (const auto& step : sequence->steps) {
      if (!add(*step)) return false;
    }
    return true;
  }
  Step step{Step::Kind::other, Style::gpt2, true, &pre_tokenizer};
  if (const auto* digits = dynamic_cast<const DigitsPreTokenizer*>(&pre_tokenizer)) {
    step.kind = digits->individual ? Step::Kind::digits : Step::Kind::runs_of_digits;
  } else if (const auto* split = dynamic_cast<const SplitPreTokenizer*>(&pre_tokenizer)) {
    const auto style = split->pattern.style();
    const bool removes = split->behavior == Behavior::removed && split->invert;
    if (style && (removes || (split->behavior == Behavior::isolated && !split->invert))) {
      step.kind = Step::Kind::style;
      step.style = *style;
      step.keeps = !removes;
    }
  } else if (!pre_tokenizer.only_cuts()) {
    return false;
  }
  steps_.push_back(step);
  return true;
}

}  // namespace enfold::tok
