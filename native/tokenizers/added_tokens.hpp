#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "models.hpp"
#include "normalizers.hpp"

namespace enfold::tok {

struct AddedToken {
  std::string content;
  bool single_word = false, lstrip = false, rstrip = false, normalized = true, special = false;
  friend bool operator==(const AddedToken&, const AddedToken&) = default;
};

AddedToken read_added_token(json::Value spec);
std::string dump_added_token(const AddedToken& token, Id id);

// A stretch of text: an added token (id) or what lies between two of them (kNoId).
struct Section {
  Id id;
  std::uint32_t begin, end;
};

// Leftmost-longest search for a set of strings.
class Finder {
 public:
  void add(std::string_view key, Id id);
  // To be called when all keys are there.
  void finish();
  bool empty() const { return trie_.empty(); }

  struct Match {
    std::size_t begin, end;
    Id id;
  };
  // The matches in one text. The text is walked from each place where a key may start; where long keys nearly match
  // everywhere that would take a step for each pair of a place and a byte of a key, so after a while all places are
  // found in one pass from the end.
  class Search {
   public:
    Search(const Finder& finder, std::string_view text) : finder_(finder), text_(text) {}
    // The next match at or after `from`, which never decreases; false if there is none.
    bool next(std::size_t from, Match& match);

   private:
    bool walk(std::size_t from, Match& match);
    void find_all(std::size_t from);
    const Finder& finder_;
    std::string_view text_;
    std::size_t steps_ = 0;
    bool all_found_ = false;
    std::vector<Match> found_;  // the longest match of each place, the last place first
  };

 private:
  // Aho and Corasick's automaton of the reversed keys: read from the end, a text shows the longest key of each place.
  struct Reversed {
    Trie trie;
    struct Node {
      std::uint32_t fail;
      std::uint32_t length;  // of the longest key that ends here, 0 for none
      Id id;
    };
    std::vector<Node> nodes;
  };

  Trie trie_;
  std::array<bool, 256> starts_{};
  std::string only_start_;  // the first byte, when all keys share it: memchr finds the candidates
  std::vector<std::pair<std::string, Id>> keys_;
  std::size_t longest_ = 0;
  std::optional<Reversed> reversed_;  // if there are keys long enough to be worth it
};

// Tokens that were put on top of the model's vocabulary.
class AddedTokens {
 public:
  // Returns how many were new.
  std::size_t add(const std::vector<AddedToken>& tokens, const Model& model, const Normalizer* normalizer);

  Id find(std::string_view token, const Model& model) const;
  const AddedToken* by_id(Id id) const;
  // What an id reads as: the content, in its normalised form if the token matches normalised text.
  const std::string* text(Id id) const;
  bool is_special(std::string_view token) const { return special_.contains(std::string(token)); }
  const std::unordered_map<std::string, Id>& ids() const { return ids_; }
  const std::unordered_map<Id, AddedToken>& tokens() const { return tokens_; }
  Id id_limit() const { return id_limit_; }

  // The sections of a text under the tokens that match the raw (or the normalised) text.
  void split(std::string_view text, bool normalized, bool keep_special, std::vector<Section>& out) const;
  bool any(bool normalized) const { return !(normalized ? normalized_ : raw_).empty(); }

  // Takes the normalised forms anew: the normalizer is another one.
  void refresh(const Normalizer* normalizer);

 private:
  std::unordered_map<std::string, Id> ids_;
  std::unordered_map<Id, AddedToken> tokens_;
  std::unordered_map<Id, std::string> normal_forms_;
  std::unordered_set<std::string> special_;
  std::vector<AddedToken> given_special_, given_plain_;
  Finder raw_, normalized_;
  Id id_limit_ = 0;
};

}  // namespace enfold::tok
