#pragma once

#include <memory>
#include <string_view>

#include "added_tokens.hpp"
#include "byte_words.hpp"
#include "marked_text.hpp"
#include "merge_queries.hpp"
#include "pre_tokenizers.hpp"
#include "rows.hpp"
#include "sentence_cache.hpp"
#include "words.hpp"

namespace enfold::tok {

class Unigram;

// A place where the lengths of a normalised text and of what it comes from begin to differ in another way, in bytes of
// both. `opens`: what one character became lies between this place and the next.
struct Shift {
  std::uint32_t normal, raw;
  bool opens;
};

// Working memory of one thread.
struct Scratch {
  WordCache cache;
  Buffer<Found> found;
  MergeQueries merging;
  Tokens first, second;
  Rows rows;  // of a call for one text
  std::vector<Piece> pieces;
  std::vector<Section> sections, inner;
  std::vector<std::string_view> inner_texts;  // the normalised texts of `inner`
  std::vector<Shift> shifts;
  std::vector<std::uint32_t> characters;  // see encode_literally
  std::vector<std::uint32_t> characters_of;
  std::string word, text;
  std::string utf8[2];
  MarkedText marked;
  std::unique_ptr<SentenceMemory> sentence;  // of Unigram
};

// A short way for a configuration that is known by heart. It must give exactly what the literal path gives.
class Plan {
 public:
  virtual ~Plan() = default;
  // Whether the plan can take this text; those it can't go the literal path.
  virtual bool takes(std::string_view) const { return false; }
  // Finds the added tokens that match the normalised form of a text that the plan takes: its sections go into
  // scratch.inner, bytes of the text as it came. False if the literal path has to do it.
  virtual bool split(std::string_view text, const AddedTokens& added, bool keep_special, Scratch& scratch) const;
  // For plans that normalise: encodes a text as it came, which begins at character `at` of the input, or leaves it to
  // the literal path. The others take no part.
  virtual bool run_raw(std::string_view, std::uint32_t /*at*/, std::uint32_t& /*word*/, Tokens&, Scratch&) const {
    return false;
  }
  // Encodes a text that lies in a larger one and starts at its character `at`. Bytes up to `limit` are readable.
  virtual void run(std::string_view /*text*/, const char* /*limit*/, std::uint32_t /*at*/, std::uint32_t& /*word*/,
                   Tokens&, Scratch&) const {}
};

// Null if there is no plan for this configuration.
std::unique_ptr<Plan> make_plan(const Model& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                const AddedTokens& added);

// The plans there are, each null where it does not fit.
std::unique_ptr<Plan> byte_level_plan(const Bpe& model, const Normalizer* normalizer,
                                      const PreTokenizer* pre_tokenizer);
std::unique_ptr<Plan> bert_plan(const Model& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer);
std::unique_ptr<Plan> unigram_plan(const Unigram& model, const Normalizer* normalizer,
                                   const PreTokenizer* pre_tokenizer, const AddedTokens& added);
// BPE with marks for spaces.
std::unique_ptr<Plan> marked_bpe_plan(const Bpe& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                      const AddedTokens& added);

}  // namespace enfold::tok
