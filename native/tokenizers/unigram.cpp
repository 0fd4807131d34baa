#include "unigram.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

#include "unicode.hpp"

namespace enfold::tok {

namespace {

constexpr double kUnknownPenalty = 10;  // below the worst score of the vocabulary
constexpr std::uint32_t kNowhere = 0xFFFFFFFFu;

std::string number(double value) {
  char text[40];
  std::string out(text, std::to_chars(text, text + sizeof text, value).ptr);
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

// A number, or the text of one in the form of C's "%a": numbers are read with the reference's rounding, and scores that
// come from elsewhere than a file have to arrive as they are.
double read_score(json::Value part) {
  constexpr const char* kWhat = "a score in model.vocab";
  if (!part.is(json::Kind::string)) return part.number(kWhat);
  const std::string_view text = part.string(kWhat);
  const bool negative = text.starts_with('-');
  const char* const end = text.data() + text.size();
  double value = 0;
  const bool hexadecimal = text.substr(negative).starts_with("0x");
  const char* const digits = text.data() + (negative ? 3 : 2);
  const auto [stop, error] = hexadecimal ? std::from_chars(digits, end, value, std::chars_format::hex)
                                         : std::from_chars_result{end, std::errc::invalid_argument};
  if (stop != end || error != std::errc()) {
    throw Error(std::string(kWhat) + " should be a number, got '" + std::string(text) + "'");
  }
  if (!(value <= std::numeric_limits<double>::max())) throw Error(std::string(kWhat) + " should be finite");
  return negative ? -value : value;
}

}  // namespace

Unigram::Unigram(json::Value spec) : byte_fallback_(spec.flag("byte_fallback", false, "model.byte_fallback")) {
  read_vocabulary(spec.need("vocab", "model"));
  if (const auto unk = spec["unk_id"]; !unk.is_null()) {
    const std::int64_t id = unk.integer("model.unk_id");
    if (id < 0 || static_cast<std::size_t>(id) >= scores_.size()) {
      throw Error("model.unk_id is " + std::to_string(id) + ", but the vocabulary has " +
                  std::to_string(scores_.size()) + " tokens: it should be the index of one of them, or null");
    }
    unk_ = static_cast<Id>(id);
  }
  double lowest = std::numeric_limits<double>::infinity();
  for (const double score : scores_) lowest = std::min(lowest, score);
  unknown_score_ = lowest - kUnknownPenalty;
  std::vector<std::pair<std::string_view, std::int32_t>> keys;
  keys.reserve(vocab.size());
  vocab.each([&](std::string_view token, Id id) {
    if (!token.empty()) keys.emplace_back(token, id);
  });
  std::sort(keys.begin(), keys.end());
  trie_ = DoubleArray(keys);
  if (!byte_fallback_) return;
  bytes_.emplace();
  for (unsigned b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    (*bytes_)[b] = vocab.find(name);
  }
}

void Unigram::read_vocabulary(json::Value tokens) {
  vocab.reserve(tokens.size(), tokens.size() * 8);
  tokens.each_item("model.vocab", [&](json::Value entry) {
    const std::size_t id = scores_.size();
    if (!entry.is(json::Kind::array) || entry.size() != 2) {
      throw Error("model.vocab should be a list of [token, score], entry " + std::to_string(id) + " is none");
    }
    bool first = true;
    entry.each_item("an entry of model.vocab", [&](json::Value part) {
      if (first) vocab.add_again(part.string("a token in model.vocab"), static_cast<std::int64_t>(id));
      else scores_.push_back(read_score(part));
      first = false;
    });
  });
}

void Unigram::fill(const DoubleArray& trie, std::string_view word, std::vector<Step>& steps) const {
  steps.assign(word.size() + 1, Step{0, kNowhere, kNoId});
  const char* const begin = word.data();
  const char* const end = begin + word.size();
  for (std::uint32_t at = 0; at < word.size();) {
    const double so_far = steps[at].score;
    const char* const p = begin + at;
    const auto n = static_cast<std::uint32_t>(unicode::length(static_cast<unsigned char>(*p)));
    const auto offer = [&](std::size_t to, double score, Id id) {
      Step& step = steps[to];
      if (step.start != kNowhere && !(score > step.score)) return;
      if (id == kNoId) {
        throw Error("a character is unknown, and the model has no unk_id to stand for it: " +
                    json::quoted(word.substr(at, n)));
      }
      step = {score, at, id};
    };
    bool single = false;
    trie.each_prefix(p, end, [&](Id id, const char* q) {
      offer(static_cast<std::size_t>(q - begin), scores_[static_cast<std::size_t>(id)] + so_far, id);
      single |= q == p + n;
    });
    if (!single) offer(at + n, unknown_score_ + so_far, unk_);
    at += n;
  }
}

void Unigram::push_unknown(std::string_view text, std::uint32_t begin, std::uint32_t end,
                           std::vector<Piece>& out) const {
  if (const Id id = vocab.find(text); id != kNoId) {
    out.push_back({id, begin, end});
    return;
  }
  const auto byte_id = [&](char c) { return (*bytes_)[static_cast<unsigned char>(c)]; };
  if (byte_fallback_ && std::all_of(text.begin(), text.end(), [&](char c) { return byte_id(c) != kNoId; })) {
    for (const char c : text) out.push_back({byte_id(c), begin, end});
    return;
  }
  out.push_back({unk_, begin, end});
}

void Unigram::tokenize(std::string_view word, std::vector<Piece>& out) const {
  if (is_random()) sample(word, out);
  else segment(trie_, word, false, out);
}

std::shared_ptr<const Unigram> Unigram::with(Sampling sampling) const {
  if (sampling.alpha && !std::isfinite(*sampling.alpha)) throw Error("alpha should be a finite number");
  auto made = std::make_shared<Unigram>(*this);
  made->sampling_ = sampling;
  return made;
}

std::vector<Unigram::Edge> Unigram::edges(std::string_view word) const {
  std::vector<Edge> found;
  const char* const end = word.data() + word.size();
  for (std::uint32_t at = 0; at < word.size();) {
    const auto n = static_cast<std::uint32_t>(unicode::length(static_cast<unsigned char>(word[at])));
    bool single = false;
    trie_.each_prefix(word.data() + at, end, [&](Id id, const char* q) {
      const auto to = static_cast<std::uint32_t>(q - word.data());
      found.push_back({at, to, id, scores_[static_cast<std::size_t>(id)]});
      single |= to == at + n;
    });
    if (!single) {
      if (unk_ == kNoId) {
        throw Error("a character is unknown, and the model has no unk_id to stand for it: " +
                    json::quoted(word.substr(at, n)));
      }
      found.push_back({at, at + n, unk_, unknown_score_});
    }
    at += n;
  }
  return found;
}

namespace {

std::minstd_rand& generator() {
  thread_local std::minstd_rand random{std::random_device{}()};
  return random;
}

// The index of one of these weights, drawn in proportion; they are logarithms.
std::size_t drawn(const std::vector<double>& weights) {
  double most = -std::numeric_limits<double>::infinity(), total = 0;
  for (const double weight : weights) most = std::max(most, weight);
  for (const double weight : weights) total += std::exp(weight - most);
  double left = std::uniform_real_distribution<double>(0, total)(generator());
  for (std::size_t i = 0; i + 1 < weights.size(); ++i) {
    left -= std::exp(weights[i] - most);
    if (left < 0) return i;
  }
  return weights.size() - 1;
}

}  // namespace

// Forward: the logarithm of the sum over all ways to each place; backward: an edge is drawn by its share of that sum.
void Unigram::sample_all(const std::vector<Edge>& edges, std::vector<Piece>& way) const {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  std::uint32_t size = 0;
  for (const Edge& edge : edges) size = std::max(size, edge.end);
  std::vector<double> sums(size + 1, kNone);
  std::vector<std::vector<std::size_t>> into(size + 1);
  sums[0] = 0;
  for (std::size_t e = 0; e < edges.size(); ++e) {  // in the order of their beginnings
    const Edge& edge = edges[e];
    const double weight = sums[edge.begin] + *sampling_.alpha * edge.score;
    double& sum = sums[edge.end];
    sum = sum == kNone ? weight : std::max(sum, weight) + std::log1p(std::exp(-std::abs(sum - weight)));
    into[edge.end].push_back(e);
  }
  std::vector<double> weights;
  for (std::uint32_t at = size; at > 0; at = way.back().begin) {
    weights.clear();
    for (const std::size_t e : into[at]) weights.push_back(sums[edges[e].begin] + *sampling_.alpha * edges[e].score);
    const Edge& edge = edges[into[at][drawn(weights)]];
    way.push_back({edge.id, edge.begin, edge.end});
  }
}

// The best ways to each place, each by its last edge and the way before it.
void Unigram::sample_best(const std::vector<Edge>& edges, std::uint32_t size, std::vector<Piece>& way) const {
  struct Way {
    double score;
    std::size_t edge, before;
  };
  const std::size_t most = *sampling_.nbest;
  std::vector<std::vector<Way>> ways(size + 1);
  ways[0].push_back({0, 0, 0});
  const auto better = [](const Way& x, const Way& y) { return x.score > y.score; };
  const auto keep = [&](std::vector<Way>& all) {
    if (all.size() > most) {
      std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(most), all.end(), better);
      all.resize(most);
    }
  };
  std::uint32_t done = 0;
  for (std::size_t e = 0; e < edges.size(); ++e) {
    const Edge& edge = edges[e];
    for (; done <= edge.begin; ++done) keep(ways[done]);  // nothing leads there any more
    const auto& before = ways[edge.begin];
    for (std::size_t k = 0; k < before.size(); ++k) ways[edge.end].push_back({before[k].score + edge.score, e, k});
    if (ways[edge.end].size() > 4 * most + 64) keep(ways[edge.end]);
  }
  keep(ways[size]);
  std::vector<double> weights;
  for (const Way& one : ways[size]) weights.push_back(*sampling_.alpha * one.score);
  std::size_t which = drawn(weights);
  for (std::uint32_t at = size; at > 0;) {
    const Way& one = ways[at][which];
    const Edge& edge = edges[one.edge];
    way.push_back({edge.id, edge.begin, edge.end});
    which = one.before;
    at = edge.begin;
  }
}

void Unigram::sample(std::string_view word, std::vector<Piece>& out) const {
  if (word.empty()) return;
  const std::vector<Edge> all = edges(word);
  std::vector<Piece> way;
  if (sampling_.nbest.value_or(0)) sample_best(all, static_cast<std::uint32_t>(word.size()), way);
  else sample_all(all, way);
  for (std::size_t k = way.size(); k-- > 0;) {
    Piece piece = way[k];
    // Unknown characters in a row are one token.
    while (piece.id == unk_ && k > 0 && way[k - 1].id == unk_) piece.end = way[--k].end;
    if (piece.id == unk_) push_unknown(word.substr(piece.begin, piece.end - piece.begin), piece.begin, piece.end, out);
    else out.push_back(piece);
  }
}

void Unigram::segment(const DoubleArray& trie, std::string_view word, bool marked, std::vector<Piece>& out) const {
  if (word.empty()) return;
  thread_local std::vector<Step> steps;
  fill(trie, word, steps);
  // Backwards along the best way, turning it round: each place then knows where its step ends.
  std::uint32_t next = kNowhere;
  for (auto at = static_cast<std::uint32_t>(word.size()); at > 0;) {
    const std::uint32_t start = steps[at].start;
    steps[at].start = next;
    next = at;
    at = start;
  }
  constexpr std::size_t kKept = 1 << 16;
  for (std::uint32_t begin = 0; next != kNowhere;) {
    std::uint32_t end = next;
    const Id id = steps[end].id;
    next = steps[end].start;
    if (id != unk_) {
      out.push_back({id, begin, end});
    } else {
      // Unknown characters in a row are one token.
      while (next != kNowhere && steps[next].id == unk_) {
        end = next;
        next = steps[end].start;
      }
      const std::string_view text = word.substr(begin, end - begin);
      if (marked && text.find(' ') != std::string_view::npos) {
        std::string spelt;
        for (const char c : text) c == ' ' ? spelt.append("\u2581") : spelt.append(1, c);
        push_unknown(spelt, begin, end, out);
      } else {
        push_unknown(text, begin, end, out);
      }
    }
    begin = end;
  }
  if (steps.size() > kKept) std::vector<Step>().swap(steps);
}

std::string Unigram::spec(bool with_vocabulary) const {
  std::string out =
      "{\"type\":\"Unigram\",\"unk_id\":" + (unk_ == kNoId ? "null" : std::to_string(unk_)) + ",\"vocab\":[";
  for (std::size_t id = 0; with_vocabulary && id < scores_.size(); ++id) {
    if (id) out += ',';
    out.append(1, '[').append(json::quoted(vocab[static_cast<Id>(id)])).append(1, ',');
    out.append(number(scores_[id])).append(1, ']');
  }
  return out + "],\"byte_fallback\":" + (byte_fallback_ ? "true" : "false") + "}";
}

}  // namespace enfold::tok
