#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "word_counts.hpp"

namespace enfold::tok {

struct BpeOptions {
  std::size_t vocab_size = 30000;
  std::uint64_t min_frequency = 0;
  std::vector<std::string> special_tokens;
  std::optional<std::size_t> limit_alphabet;
  std::vector<char32_t> initial_alphabet;
  std::optional<std::string> prefix, suffix;
  std::optional<std::size_t> max_token_length;
};

// How often a pair of symbols occurs: an open-addressed table from pair to count.
class PairCounts {
 public:
  PairCounts() : slots_(1 << 12, Slot{kEmpty, 0}) {}
  std::int64_t& operator[](std::uint64_t pair);
  std::int64_t get(std::uint64_t pair) const;
  template <typename F>
  void each(F&& f) const {
    for (const Slot& slot : slots_) {
      if (slot.pair != kEmpty) f(slot.pair, slot.count);
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = ~0ull;
  struct Slot {
    std::uint64_t pair;
    std::int64_t count;
  };
  std::size_t place(std::uint64_t pair) const { return mix(pair, 0x9E3779B97F4A7C15ull) & (slots_.size() - 1); }
  void grow();
  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

// Byte-pair encoding (Sennrich et al. 2016), one merge at a time: the most frequent pair of neighbours becomes a symbol;
// among equals the pair with the smaller ids. Which merges come out, down to ties and tokens that two merges spell, is
// what the reference library's trainer gives.
class BpeTraining {
 public:
  BpeTraining(const WordCounts& words, BpeOptions options);
  ~BpeTraining();
  BpeTraining(const BpeTraining&) = delete;
  BpeTraining& operator=(const BpeTraining&) = delete;

  // Applies up to `merges` merges; false once there is nothing left to do.
  bool advance(std::size_t merges);

  const std::vector<std::string>& tokens() const { return tokens_; }  // by id
  // Pairs of ids in the order of their ranks.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> merges() const;

 private:
  static constexpr std::uint32_t kEdge = 0xFFFFFFFFu;  // stands before, between and after words
  static constexpr std::uint32_t kGone = 0xFFFFFFFEu;  // the inside of a symbol

  // The words lie one behind the other. A symbol of n characters takes n cells: the first one has its id, the first
  // and the last one its length, so that both neighbours of a symbol are one step away.
  struct Cell {
    std::uint32_t id, length;
  };
  // A pair that waits, with the count it had when it was put there and the cells where it began. A single cell is
  // kept in place, more of them in a list that starts with their number.
  struct Waiting {
    std::uint64_t count, pair;
    std::uintptr_t where;
    bool operator<(const Waiting& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };
  // What a merge changes for one neighbour of the merged pair.
  struct Change {
    std::uint64_t lost = 0, won = 0;
    std::uint32_t positions = 0;
    std::uint32_t* list = nullptr;
  };
  struct Event {
    std::uint32_t neighbour, position;
  };
  struct Flank {
    std::vector<Change> changes;  // by neighbour
    std::vector<std::uint32_t> touched;
    std::vector<Event> events;
    void record(std::uint32_t neighbour, std::uint64_t weight, bool joins, std::uint32_t position);
    void make_lists();
  };

  static std::uint64_t pair_of(std::uint32_t a, std::uint32_t b) { return static_cast<std::uint64_t>(a) << 32 | b; }
  static std::uint32_t* new_list(std::size_t n);
  static std::uintptr_t packed(std::uint32_t* list);
  static void free_list(std::uintptr_t where);

  std::uint32_t token(const std::string& text, bool* existed = nullptr);
  void choose_alphabet(const WordCounts& words);
  void lay_out(const WordCounts& words);
  void count_pairs();
  std::string joined(std::uint32_t a, std::uint32_t b) const;
  void merge(const Waiting& top);
  void join(std::uint32_t position, std::uint32_t a, std::uint32_t b, std::uint32_t made);
  void put_back(std::uint32_t a, std::uint32_t b, std::uint32_t made, bool existed);
  void wait_for(std::uint64_t pair, std::uint32_t* list, bool scattered);
  std::vector<std::uint32_t> in_whole_words(const std::uint32_t* positions, std::size_t n, std::uint32_t a) const;

  BpeOptions options_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::uint32_t> ids_;
  std::vector<std::uint32_t> characters_;  // ids by code point, kGone for those outside of the alphabet

  std::vector<Cell> cells_;
  std::vector<std::uint32_t> word_of_;  // by cell
  std::vector<std::uint32_t> starts_;   // by word
  std::vector<std::uint64_t> counts_;   // by word

  PairCounts pairs_;
  // Pairs whose occurrences may be spread over several entries of the queue.
  std::unordered_set<std::uint64_t> scattered_;
  std::vector<Waiting> queue_;  // a heap
  std::vector<std::pair<std::uint32_t, std::uint32_t>> merges_;
  Flank left_, right_;
};

}  // namespace enfold::tok
