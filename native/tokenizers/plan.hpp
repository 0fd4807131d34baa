#pragma once

#include <memory>
#include <string_view>

#include "added_tokens.hpp"
#include "pre_tokenizers.hpp"
#include "rows.hpp"

namespace enfold::tok {

// Tokens of words seen before. Bounded: a slot is one cache line, a newcomer takes its place.
class WordCache {
 public:
  static constexpr std::size_t kMaxKey = 22, kMaxTokens = 6;
  struct Token {
    Id id;
    std::uint8_t begin, end;  // bytes or characters of the word, as the plan likes
  };
  struct Slot {
    std::uint8_t size = 0;   // bytes of the key; 0 for an empty slot
    std::uint8_t count = 0;  // tokens
    char key[kMaxKey];
    Id ids[kMaxTokens];
    std::uint8_t begin[kMaxTokens], end[kMaxTokens];
  };
  WordCache() : slots_(kSlots) {}
  Slot& at(std::uint64_t hash) { return slots_[hash & (kSlots - 1)]; }

 private:
  static constexpr std::size_t kSlots = 1 << 15;
  std::vector<Slot> slots_;
};

// Working memory of one thread.
struct Scratch {
  WordCache cache;
  Tokens first, second;
  std::vector<Piece> pieces;
  std::vector<Bpe::Symbol> symbols;
  std::vector<Section> sections;
  std::string word, text;
  std::string utf8[2];
};

// A short way for a configuration that is known by heart. It must give exactly what the literal path gives.
class Plan {
 public:
  virtual ~Plan() = default;
  // Encodes bytes [begin, end) of the text, the first of which is character `at`. False, with nothing appended, if this
  // text needs the literal path.
  virtual bool run(std::string_view text, std::size_t begin, std::size_t end, std::uint32_t at, std::uint32_t& word,
                   Tokens& out, Scratch& scratch) const = 0;
};

// Null if there is no plan for this configuration.
std::unique_ptr<Plan> make_plan(const Model& model, const Normalizer* normalizer, const PreTokenizer* pre_tokenizer,
                                const AddedTokens& added);

}  // namespace enfold::tok
