#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../tokenizer.hpp"
#include "word_counts.hpp"

namespace enfold::tok {

// Words that were counted, and pieces of text whose words are still to be found.
struct Counted {
  WordCounts words, pieces;
  std::size_t size() const { return words.size() + pieces.size(); }
  void absorb(Counted& other) {
    words.absorb(other.words);
    pieces.absorb(other.pieces);
  }
};

// Cuts text into the words that a model learns from: what the tokenizer's normalizer and pre-tokenizer make of it, and
// the added tokens in it.
//
// Most words are seen again and again, so the work is done in two steps. `cut` counts raw pieces: stretches of the text
// whose words don't depend on what stands around them, found by a quick scan. `finish` turns each distinct piece into
// its words, once, by running the components. Where nothing is known of the components, a text's words are counted
// right away.
class WordSplitter {
 public:
  explicit WordSplitter(std::shared_ptr<const Core> core);

  // Whether the components are Python code and need its lock.
  bool needs_python() const { return needs_python_; }
  // Counts the pieces of a text (valid UTF-8), or its words.
  void cut(std::string_view text, Counted& counts) const;
  // Counts the words of pieces [begin, end).
  void finish(const WordCounts& pieces, std::size_t begin, std::size_t end, WordCounts& words) const;

 private:
  enum class Way {
    words,         // no shortcut
    scan,          // byte-level: the pieces of the pattern
    spaces,        // white space separates words and vanishes
    before_space,  // a space begins a new word
  };
  void choose(json::Value normalizer, json::Value pre_tokenizer);
  bool scans(json::Value pre_tokenizer);
  bool is_local(json::Value normalizer, bool& careful) const;
  std::string normalized(std::string_view text) const;
  void cut_plain(std::string_view text, Counted& counts) const;
  void run(Aligned text, bool normalize, std::uint64_t count, WordCounts& words) const;
  void cut_spaces(std::string_view text, WordCounts& pieces) const;
  void cut_before_space(std::string_view text, WordCounts& pieces) const;
  bool may_cut(std::string_view text, std::size_t begin, std::size_t end) const;

  std::shared_ptr<const Core> core_;
  const Normalizer* normalizer_;
  const PreTokenizer* pre_tokenizer_;
  Way way_ = Way::words;
  Style style_ = Style::gpt2;
  bool add_prefix_space_ = false, digits_first_ = false;
  std::optional<unicode::Form> form_;
  bool normalize_first_ = false;  // the whole text, before it is cut
  bool careful_ = false;          // cut only between characters that surely don't form a cluster with a space
  bool needs_python_ = false;
  bool has_added_ = false;
};

}  // namespace enfold::tok
