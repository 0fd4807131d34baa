#include "unigram_training.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "../unicode.hpp"
#include "parallel.hpp"
#include "substrings.hpp"

namespace enfold::tok {

namespace {

constexpr double kUnknownPenalty = 10;
constexpr double kLeastExpected = 0.5;   // occurrences of a piece that is kept
constexpr double kPenaltyStep = 0.0001;  // between characters that the model itself would drop
constexpr std::size_t kShards = 8;       // whatever the number of threads: sums must not depend on it
constexpr std::size_t kMoreSums = 2;     // besides those of the pieces: unknown characters, words
constexpr std::size_t kShortWord = 24;   // bytes; the probabilities of longer words may be too small for a double

// Probabilities as they are, and as their logarithms.
struct Plain {
  static constexpr double one = 1, zero = 0;
  static double times(double a, double b) { return a * b; }
  static double plus(double a, double b) { return a + b; }
  static double of(double, double likelihood) { return likelihood; }
  static double share(double part, double whole) { return part / whole; }
  static bool possible(double whole) { return whole > std::numeric_limits<double>::min() && std::isfinite(whole); }
};
struct Logarithms {
  static constexpr double one = 0, zero = -std::numeric_limits<double>::infinity();
  static double times(double a, double b) { return a + b; }
  static double plus(double a, double b) {
    if (a < b) std::swap(a, b);
    return b == zero ? a : a + std::log1p(std::exp(b - a));
  }
  static double of(double score, double) { return score; }
  static double share(double part, double whole) { return std::exp(part - whole); }
  static bool possible(double whole) { return std::isfinite(whole); }
};

// The derivative of the logarithm of the gamma function: the recurrence up to 6, then the asymptotic series.
double digamma(double x) {
  double sum = 0;
  for (; x < 6; ++x) sum -= 1 / x;
  const double y = 1 / (x * x);
  return sum + std::log(x) - 0.5 / x - y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y / 132))));
}

}  // namespace

UnigramTraining::UnigramTraining(WordCounts& words, UnigramOptions options)
    : words_(words), options_(std::move(options)) {
  words.sort();
  std::vector<std::uint64_t> characters(kWordEnd);
  for (std::size_t w = 0; w < words.size(); ++w) {
    const std::string_view word = words.word(w);
    for (std::size_t i = 0; i < word.size(); i += unicode::length(static_cast<unsigned char>(word[i]))) {
      characters[unicode::decode(word.data() + i)] += words.count(w);
    }
  }
  std::vector<char32_t> required = options_.initial_alphabet;
  for (char32_t c = 0; c < kWordEnd; ++c) {
    if (characters[c]) required.push_back(c);
  }
  std::sort(required.begin(), required.end());
  required.erase(std::unique(required.begin(), required.end()), required.end());
  for (const char32_t c : required) unicode::append(required_.emplace_back(), c);
  check_room();
  seed(characters);
  index();
}

bool UnigramTraining::needs_unk() const {
  const auto& special = options_.special_tokens;
  return options_.unk_token && std::find(special.begin(), special.end(), *options_.unk_token) == special.end();
}

std::optional<std::size_t> UnigramTraining::unk_id() const {
  if (!options_.unk_token) return std::nullopt;
  const auto& special = options_.special_tokens;
  const auto at = std::find(special.begin(), special.end(), *options_.unk_token);
  return at == special.end() ? 0 : static_cast<std::size_t>(at - special.begin());
}

void UnigramTraining::check_room() const {
  const std::size_t special = options_.special_tokens.size() + needs_unk();
  if (required_.size() + special <= options_.vocab_size) return;
  throw Error("vocab_size " + std::to_string(options_.vocab_size) + " is too small: the text has " +
              std::to_string(required_.size()) + " different characters, and there are " + std::to_string(special) +
              " special tokens; all of them have to fit (or let the normalizer fold characters)");
}

// The characters by how often they occur, then substrings by how much text they cover.
void UnigramTraining::seed(const std::vector<std::uint64_t>& characters) {
  std::vector<std::pair<std::uint64_t, char32_t>> single;
  for (char32_t c = 0; c < kWordEnd; ++c) {
    if (characters[c]) single.push_back({characters[c], c});
  }
  std::stable_sort(single.begin(), single.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  double sum = 0;
  for (const auto& [count, c] : single) {
    unicode::append(pieces_.emplace_back().text, c);
    pieces_.back().score = static_cast<double>(count);
    sum += pieces_.back().score;
  }
  std::vector<char32_t> text;
  for (std::size_t w = 0; w < words_.size(); ++w) {
    const std::string_view word = words_.word(w);
    for (std::size_t i = 0; i < word.size(); i += unicode::length(static_cast<unsigned char>(word[i]))) {
      text.push_back(unicode::decode(word.data() + i));
    }
    text.push_back(kWordEnd);
  }
  if (text.size() > 0xFFFFFFF0u) throw Error("the distinct words hold more than 4294967280 characters");
  const auto longest = static_cast<std::uint32_t>(std::min<std::size_t>(options_.max_piece_length, 1 << 20));
  auto found = longest > 1 ? repeated_substrings(text, longest) : std::vector<Repeat>();
  const auto covered = [](const Repeat& r) { return static_cast<std::uint64_t>(r.length) * r.count; };
  const auto better = [&](const Repeat& a, const Repeat& b) {
    if (covered(a) != covered(b)) return covered(a) > covered(b);
    const auto at = text.begin();
    return std::lexicographical_compare(at + a.position, at + a.position + a.length, at + b.position,
                                        at + b.position + b.length);
  };
  const std::size_t room = options_.seed_size > pieces_.size() ? options_.seed_size - pieces_.size() : 0;
  if (found.size() > room) {
    std::nth_element(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(room), found.end(), better);
    found.resize(room);
  }
  std::sort(found.begin(), found.end(), better);
  for (const Repeat& r : found) {
    Piece& piece = pieces_.emplace_back();
    for (std::uint32_t i = 0; i < r.length; ++i) unicode::append(piece.text, text[r.position + i]);
    piece.score = static_cast<double>(covered(r));
    sum += piece.score;
  }
  for (Piece& piece : pieces_) piece.score = std::log(piece.score) - std::log(sum);
}

void UnigramTraining::index() {
  std::vector<std::pair<std::string_view, std::int32_t>> keys;
  likelihoods_.clear();
  lowest_score_ = std::numeric_limits<double>::max();
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    keys.push_back({pieces_[i].text, static_cast<std::int32_t>(i)});
    likelihoods_.push_back(std::exp(pieces_[i].score));
    lowest_score_ = std::min(lowest_score_, pieces_[i].score);
  }
  if (pieces_.empty()) lowest_score_ = 0;
  unknown_score_ = lowest_score_ - kUnknownPenalty;
  std::sort(keys.begin(), keys.end());
  trie_ = DoubleArray(keys);
}

void UnigramTraining::build(std::string_view word, Lattice& lattice) const {
  lattice.edges.clear();
  const char* const begin = word.data();
  const char* const end = begin + word.size();
  for (const char* p = begin; p < end;) {
    const char* const next = p + unicode::length(static_cast<unsigned char>(*p));
    const auto at = static_cast<std::uint32_t>(p - begin);
    bool single = false;
    trie_.each_prefix(p, end, [&](std::int32_t piece, const char* to) {
      single |= to == next;
      lattice.edges.push_back({at, static_cast<std::uint32_t>(to - begin), static_cast<std::uint32_t>(piece)});
    });
    if (!single) lattice.edges.push_back({at, static_cast<std::uint32_t>(next - begin), kUnknown});
    p = next;
  }
}

// Adds what is expected of each piece in this word; false if the numbers are too small.
template <typename Algebra>
bool UnigramTraining::expect(std::string_view word, double count, Lattice& lattice,
                             std::vector<double>& expected) const {
  lattice.forward.assign(word.size() + 1, Algebra::zero);
  lattice.backward.assign(word.size() + 1, Algebra::zero);
  auto& forward = lattice.forward;
  auto& backward = lattice.backward;
  const double unknown = Algebra::of(unknown_score_, std::exp(unknown_score_));
  const auto weight = [&](const Edge& e) {
    return e.piece == kUnknown ? unknown : Algebra::of(pieces_[e.piece].score, likelihoods_[e.piece]);
  };
  forward[0] = backward[word.size()] = Algebra::one;
  for (const Edge& e : lattice.edges) {
    forward[e.end] = Algebra::plus(forward[e.end], Algebra::times(forward[e.begin], weight(e)));
  }
  const double whole = forward[word.size()];
  if (!Algebra::possible(whole)) return false;
  for (auto e = lattice.edges.rbegin(); e != lattice.edges.rend(); ++e) {
    const double rest = Algebra::times(weight(*e), backward[e->end]);
    backward[e->begin] = Algebra::plus(backward[e->begin], rest);
    if (e->piece != kUnknown) {
      expected[e->piece] += count * Algebra::share(Algebra::times(forward[e->begin], rest), whole);
    }
  }
  return true;
}

template <typename F>
std::vector<double> UnigramTraining::over_words(F&& f) const {
  std::vector<std::vector<double>> sums(kShards);
  std::vector<std::size_t> bounds{0};
  std::size_t bytes = 0;
  for (std::size_t w = 0; w < words_.size(); ++w) {
    bytes += words_.word(w).size() + 1;
    if (bytes * kShards >= (words_.bytes() + words_.size()) * bounds.size()) bounds.push_back(w + 1);
  }
  bounds.resize(kShards + 1, words_.size());
  std::atomic<std::size_t> next{0};
  in_threads(std::min(kShards, threads_for(words_.bytes())), [&](std::size_t) {
    Lattice lattice;
    for (std::size_t s; (s = next.fetch_add(1)) < kShards;) {
      sums[s].assign(pieces_.size() + kMoreSums, 0);
      for (std::size_t w = bounds[s]; w < bounds[s + 1]; ++w) {
        f(words_.word(w), static_cast<double>(words_.count(w)), lattice, sums[s]);
      }
    }
  });
  for (std::size_t s = 1; s < kShards; ++s) {
    for (std::size_t i = 0; i < sums[0].size(); ++i) sums[0][i] += sums[s][i];
  }
  return std::move(sums[0]);
}

// One step of expectation-maximisation, with the digamma function in place of the logarithm: a Dirichlet prior that
// makes rare pieces rarer.
void UnigramTraining::fit() {
  const auto expected =
      over_words([&](std::string_view word, double count, Lattice& lattice, std::vector<double>& sums) {
        build(word, lattice);
        if (word.size() > kShortWord || !expect<Plain>(word, count, lattice, sums)) {
          expect<Logarithms>(word, count, lattice, sums);
        }
      });
  std::vector<Piece> kept;
  double sum = 0;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (expected[i] < kLeastExpected) continue;
    kept.push_back({std::move(pieces_[i].text), expected[i]});
    sum += expected[i];
  }
  for (Piece& piece : kept) piece.score = digamma(piece.score) - digamma(sum);
  pieces_ = std::move(kept);
  index();
}

// The likeliest way through a word, as pieces in lattice.path; returns its score, -infinity if there is none without
// the piece that is left out.
double UnigramTraining::best_path(std::string_view word, std::uint32_t without, Lattice& lattice) const {
  build(word, lattice);
  auto& best = lattice.forward;
  best.assign(word.size() + 1, -std::numeric_limits<double>::infinity());
  auto& from = lattice.path;
  from.assign(word.size() + 1, 0);
  best[0] = 0;
  for (std::uint32_t e = 0; e < lattice.edges.size(); ++e) {
    const Edge& edge = lattice.edges[e];
    if (edge.piece == without) continue;
    const double score = best[edge.begin] + score_of(edge.piece);
    if (score > best[edge.end]) {
      best[edge.end] = score;
      from[edge.end] = e;
    }
  }
  const double score = best[word.size()];
  if (!std::isfinite(score)) return score;
  std::vector<std::uint32_t> pieces;
  for (std::size_t at = word.size(); at > 0;) {
    const Edge& edge = lattice.edges[from[at]];
    pieces.push_back(edge.piece);
    at = edge.begin;
  }
  from.assign(pieces.rbegin(), pieces.rend());
  return score;
}

void UnigramTraining::prune() {
  // Pieces that can be written with others, and how.
  std::vector<std::vector<std::uint32_t>> instead(pieces_.size());
  std::vector<char> always(pieces_.size(), 1);
  std::atomic<std::size_t> next{0};
  in_threads(threads_for(pieces_.size() * 8), [&](std::size_t) {
    Lattice lattice;
    for (std::size_t i; (i = next.fetch_add(1)) < pieces_.size();) {
      const double score = best_path(pieces_[i].text, static_cast<std::uint32_t>(i), lattice);
      if (!std::isfinite(score)) continue;
      if (score > pieces_[i].score) always[i] = 0;
      else instead[i] = lattice.path;
    }
  });
  const auto counts = over_words([&](std::string_view word, double count, Lattice& lattice, std::vector<double>& sums) {
    best_path(word, kNone, lattice);
    for (const std::uint32_t piece : lattice.path) sums[piece == kUnknown ? pieces_.size() : piece] += count;
    sums[pieces_.size() + 1] += count;
  });
  const double words = counts[pieces_.size() + 1];
  double sum = 0;
  for (std::size_t i = 0; i <= pieces_.size(); ++i) sum += counts[i];
  std::vector<std::size_t> kept;
  std::vector<std::pair<double, std::size_t>> candidates;  // what the likelihood loses without the piece
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (counts[i] == 0 && !always[i]) continue;
    if (instead[i].empty()) {
      kept.push_back(i);
      continue;
    }
    if (counts[i] == 0) continue;
    const double with = std::log(counts[i]) - std::log(sum);
    const double total = std::log(sum + counts[i] * static_cast<double>(instead[i].size() - 1));
    double without = 0;
    for (const std::uint32_t piece : instead[i]) {
      without += std::log(counts[piece == kUnknown ? pieces_.size() : piece] + counts[i]) - total;
    }
    candidates.push_back({counts[i] / words * (with - without), i});
  }
  const std::size_t least = options_.vocab_size * 11 / 10;
  const auto target = std::max(
      least, static_cast<std::size_t>(options_.shrinking_factor * static_cast<double>(pieces_.size())));
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (std::size_t k = 0; k < candidates.size() && kept.size() < target; ++k) kept.push_back(candidates[k].second);
  std::vector<Piece> pieces;
  for (const std::size_t i : kept) pieces.push_back(std::move(pieces_[i]));
  pieces_ = std::move(pieces);
  index();
}

bool UnigramTraining::advance() {
  if (words_.size() == 0) return false;
  for (std::size_t i = 0; i < options_.n_sub_iterations; ++i) fit();
  if (pieces_.size() <= options_.vocab_size * 11 / 10) return false;
  const std::size_t before = pieces_.size();
  prune();
  return pieces_.size() < before;
}

std::vector<std::pair<std::string, double>> UnigramTraining::tokens() const {
  std::unordered_map<std::string_view, double> known;
  for (const Piece& piece : pieces_) known.emplace(piece.text, piece.score);
  std::vector<std::pair<std::string, double>> chosen;
  std::unordered_set<std::string_view> taken;
  double penalty = 0;
  for (const std::string& character : required_) {
    const auto at = known.find(character);
    taken.insert(character);
    if (at != known.end()) {
      chosen.push_back({character, at->second});
      continue;
    }
    chosen.push_back({character, (pieces_.empty() ? 0 : lowest_score_) + penalty});
    penalty += kPenaltyStep;
  }
  std::vector<std::pair<std::string, double>> made;
  if (needs_unk()) made.push_back({*options_.unk_token, 0.0});
  for (const std::string& token : options_.special_tokens) made.push_back({token, 0.0});
  const std::size_t room = options_.vocab_size - made.size();
  for (const Piece& piece : pieces_) {
    if (chosen.size() >= room) break;
    if (!taken.contains(piece.text)) chosen.push_back({piece.text, piece.score});
  }
  std::stable_sort(chosen.begin(), chosen.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  made.insert(made.end(), chosen.begin(), chosen.end());
  return made;
}

}  // namespace enfold::tok
