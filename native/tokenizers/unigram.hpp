#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "double_array.hpp"
#include "models.hpp"

namespace enfold::tok {

// The likeliest way to write a word with the tokens of a vocabulary (Kudo 2018): scores are log probabilities.
class Unigram final : public Model {
 public:
  explicit Unigram(json::Value spec);
  void tokenize(std::string_view word, std::vector<Piece>& out) const override;
  std::string spec(bool with_vocabulary) const override;
  const char* type() const override { return "Unigram"; }
  Id own_text_id() const override { return unk_; }

  // Random segmentation: a way to write the word is drawn by its probability to the power of `alpha`, from the `nbest`
  // likeliest ways, or from all if `nbest` is missing or 0. Without `alpha`, or with 0, the likeliest is taken.
  struct Sampling {
    std::optional<double> alpha;
    std::optional<std::size_t> nbest;
  };
  const Sampling& sampling() const { return sampling_; }
  bool is_random() const { return sampling_.alpha && *sampling_.alpha != 0 && sampling_.nbest.value_or(0) != 1; }
  std::shared_ptr<const Unigram> with(Sampling sampling) const;

  // The same with the vocabulary in a form of the caller's; `marked`: with spaces for marks (▁), in the word as well.
  void segment(const DoubleArray& trie, std::string_view word, bool marked, std::vector<Piece>& out) const;

 private:
  // Where the best way to some place of the word comes from.
  struct Step {
    double score;
    std::uint32_t start;
    Id id;
  };
  // A token that may stand at some place of the word.
  struct Edge {
    std::uint32_t begin, end;
    Id id;
    double score;
  };
  void read_vocabulary(json::Value tokens);
  std::vector<Edge> edges(std::string_view word) const;
  void sample_all(const std::vector<Edge>& edges, std::vector<Piece>& way) const;
  void sample_best(const std::vector<Edge>& edges, std::uint32_t size, std::vector<Piece>& way) const;
  void sample(std::string_view word, std::vector<Piece>& out) const;
  void fill(const DoubleArray& trie, std::string_view word, std::vector<Step>& steps) const;
  void push_unknown(std::string_view text, std::uint32_t begin, std::uint32_t end, std::vector<Piece>& out) const;

  DoubleArray trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  Id unk_ = kNoId;
  bool byte_fallback_;
  Sampling sampling_;
  std::optional<std::array<Id, 256>> bytes_;  // ids of <0x00> … <0xFF>; kNoId for those that are missing
};

}  // namespace enfold::tok
