#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../double_array.hpp"
#include "word_counts.hpp"

namespace enfold::tok {

struct UnigramOptions {
  std::size_t vocab_size = 8000;
  std::size_t n_sub_iterations = 2;
  double shrinking_factor = 0.75;
  std::vector<std::string> special_tokens;
  std::vector<char32_t> initial_alphabet;
  std::optional<std::string> unk_token;
  std::size_t max_piece_length = 16;  // characters
  std::size_t seed_size = 1'000'000;
};

// The unigram language model (Kudo 2018): from many substrings of the words, those are kept that make the text likely.
// Expectation-maximisation fits the pieces' probabilities, then those whose loss would cost least are dropped, in turns.
// The result depends on the words alone, not on their order or on the number of threads.
class UnigramTraining {
 public:
  // Sorts the words.
  UnigramTraining(WordCounts& words, UnigramOptions options);

  // One turn; false once the vocabulary is small enough.
  bool advance();
  // Special tokens first, then pieces with their log probabilities, best first. Call when advance() gave false.
  std::vector<std::pair<std::string, double>> tokens() const;
  std::optional<std::size_t> unk_id() const;
  std::size_t size() const { return pieces_.size(); }

 private:
  struct Piece {
    std::string text;
    double score;  // log probability
  };
  // One way from byte to byte of a word.
  struct Edge {
    std::uint32_t begin, end, piece;
  };
  struct Lattice {
    std::vector<Edge> edges;
    std::vector<double> forward, backward;
    std::vector<std::uint32_t> path;
  };
  static constexpr std::uint32_t kUnknown = 0xFFFFFFFFu, kNone = 0xFFFFFFFEu;

  void check_room() const;
  void seed(const std::vector<std::uint64_t>& characters);
  void index();
  void fit();
  void prune();
  void build(std::string_view word, Lattice& lattice) const;
  template <typename Algebra>
  bool expect(std::string_view word, double count, Lattice& lattice, std::vector<double>& expected) const;
  double best_path(std::string_view word, std::uint32_t without, Lattice& lattice) const;
  // Sums f(word, count, lattice, sums) over all words; the sums are added in an order of their own.
  template <typename F>
  std::vector<double> over_words(F&& f) const;
  double score_of(std::uint32_t piece) const { return piece == kUnknown ? unknown_score_ : pieces_[piece].score; }
  bool needs_unk() const;

  const WordCounts& words_;
  UnigramOptions options_;
  std::vector<std::string> required_;  // characters that the vocabulary must have
  std::vector<Piece> pieces_;
  std::vector<double> likelihoods_;  // exp of the scores
  double lowest_score_ = 0, unknown_score_ = 0;
  DoubleArray trie_;
};

}  // namespace enfold::tok
