#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "merge_table.hpp"
#include "vocabulary.hpp"

namespace enfold::tok {

// A token of one word: bytes [begin, end) of it.
struct Piece {
  Id id;
  std::uint32_t begin, end;
};

class Model {
 public:
  virtual ~Model() = default;
  // Appends the tokens of one word (valid UTF-8).
  virtual void tokenize(std::string_view word, std::vector<Piece>& out) const = 0;
  // The specification; with an empty vocabulary if only the options are asked for.
  virtual std::string spec(bool with_vocabulary) const = 0;
  std::string dump() const { return spec(true); }
  virtual const char* type() const = 0;
  // The id of unknown tokens, if those read as the text that they stand for.
  virtual Id own_text_id() const { return kNoId; }
  Vocabulary vocab;
};

std::unique_ptr<Model> read_model(json::Value spec);

class WordPiece final : public Model {
 public:
  explicit WordPiece(json::Value spec);
  void tokenize(std::string_view word, std::vector<Piece>& out) const override;
  std::string spec(bool with_vocabulary) const override;
  const char* type() const override { return "WordPiece"; }

 private:
  std::string unk_token_, prefix_;
  std::size_t max_characters_;
  Id unk_;
  Trie words_, continuations_;  // tokens as they are; tokens that begin with the prefix, without it
};

// Whole words only.
class WordLevel final : public Model {
 public:
  explicit WordLevel(json::Value spec);
  void tokenize(std::string_view word, std::vector<Piece>& out) const override;
  std::string spec(bool with_vocabulary) const override;
  const char* type() const override { return "WordLevel"; }

 private:
  std::string unk_token_;
  Id unk_;
};

class Bpe final : public Model {
 public:
  explicit Bpe(json::Value spec);
  void tokenize(std::string_view word, std::vector<Piece>& out) const override;
  std::string spec(bool with_vocabulary) const override;
  const char* type() const override { return "BPE"; }

  struct Symbol {
    Id id;
    std::uint32_t size;  // bytes of the word
  };
  static constexpr std::uint32_t kNever = MergeTable::kNever;
  const MergeTable& merges() const { return merges_; }
  // Applies the merges, lowest rank first, leftmost among equals.
  void merge(std::vector<Symbol>& symbols) const;
  bool ignores_merges() const { return ignore_merges_; }
  // The ids of <0x00> … <0xFF>, if every unknown character is spelt with them and no merge knows them.
  const std::array<Id, 256>* byte_ids() const;
  // The id of an unknown character, if it always has that one and no merge knows it.
  std::optional<Id> unknown_id() const;
  bool fuses_unknown() const { return fuse_unk_; }
  bool is_random() const { return dropout_ && *dropout_ > 0; }
  bool is_plain() const { return !prefix_ && !suffix_ && !is_random(); }

 private:
  static constexpr std::size_t kShort = 256;  // symbols up to which scanning for the lowest rank beats a heap
  void symbols_of(std::string_view word, std::vector<Symbol>& out) const;
  void merge_short(std::vector<Symbol>& symbols) const;
  void merge_long(std::vector<Symbol>& symbols) const;
  void read_merges(json::Value merges);

  MergeTable merges_;
  std::optional<double> dropout_;
  std::optional<std::string> unk_token_, prefix_, suffix_;
  std::optional<Id> unk_;
  bool fuse_unk_, byte_fallback_, ignore_merges_;
  std::optional<std::array<Id, 256>> bytes_;  // ids of <0x00> … <0xFF>; kNoId for those that are missing
  std::array<Id, 128> ascii_{};               // ids of the one-byte characters
};

}  // namespace enfold::tok
