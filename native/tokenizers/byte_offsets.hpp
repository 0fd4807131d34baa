#pragma once

#include <vector>

#include "tokenizer.hpp"

namespace enfold::tok {

// Offsets in characters of an input as offsets in its UTF-8 bytes. Those of an input of words count within each word.
class ByteOffsets {
 public:
  explicit ByteOffsets(const SequenceInput& input) : input_(input) {}
  // `word`: the index of the word, for an input of words.
  Span operator()(Span characters, std::int32_t word) {
    if (const std::int32_t wanted = input_.words ? word : 0; wanted != word_) index(wanted);
    const auto byte = [&](std::uint32_t at) { return starts_[std::min<std::size_t>(at, starts_.size() - 1)]; };
    return {byte(characters.begin), byte(characters.end)};
  }

 private:
  void index(std::int32_t word) {
    word_ = word;
    std::string_view text = input_.text;
    if (input_.words) {
      const auto at = static_cast<std::size_t>(word);
      text = word >= 0 && at < input_.words->size() ? (*input_.words)[at] : std::string_view();
    }
    starts_.clear();
    for (std::uint32_t i = 0; i < text.size(); ++i) {
      if (!unicode::is_continuation(text[i])) starts_.push_back(i);
    }
    starts_.push_back(static_cast<std::uint32_t>(text.size()));
  }

  SequenceInput input_;
  std::int32_t word_ = -1;
  std::vector<std::uint32_t> starts_{0};
};

}  // namespace enfold::tok
