#include "models.hpp"

#include <array>
#include <utility>

#include "unicode.hpp"
#include "unigram.hpp"

namespace enfold::tok {

namespace {

// Files from before the models named their type are told apart by their fields.
std::string type_of(json::Value spec) {
  if (!spec["type"].is_null()) return spec.text("type", "model");
  if (spec["merges"].is(json::Kind::array)) return "BPE";
  if (spec.has("continuing_subword_prefix") && spec.has("max_input_chars_per_word")) return "WordPiece";
  if (spec["vocab"].is(json::Kind::array)) return "Unigram";
  if (spec.has("vocab") && spec.has("unk_token")) return "WordLevel";
  return spec.text("type", "model");
}

}  // namespace

std::unique_ptr<Model> read_model(json::Value spec) {
  if (!spec.is(json::Kind::object)) throw Error("the tokenizer file has no model");
  const std::string type = type_of(spec);
  if (type == "BPE") return std::make_unique<Bpe>(spec);
  if (type == "WordPiece") return std::make_unique<WordPiece>(spec);
  if (type == "WordLevel") return std::make_unique<WordLevel>(spec);
  if (type == "Unigram") return std::make_unique<Unigram>(spec);
  throw Error("unknown tokenizer model '" + type + "': expected BPE, WordPiece, WordLevel or Unigram");
}

void read_vocabulary(json::Value tokens, Vocabulary& vocab) {
  vocab.reserve(tokens.size(), tokens.size() * 8);
  std::array<std::pair<std::string_view, std::int64_t>, 256> block;
  std::size_t n = 0;
  tokens.each_member("model.vocab", [&](std::string_view token, json::Value id) {
    block[n++] = {token, id.integer("an id in model.vocab")};
    if (n == block.size()) vocab.add_all(block.data(), std::exchange(n, 0));
  });
  vocab.add_all(block.data(), n);
}

WordPiece::WordPiece(json::Value spec)
    : unk_token_(spec.text("unk_token", "model")), prefix_(spec.text("continuing_subword_prefix", "model")) {
  const std::int64_t characters =
      spec.need("max_input_chars_per_word", "model").integer("model.max_input_chars_per_word");
  if (characters < 0) throw Error("model.max_input_chars_per_word should not be negative");
  max_characters_ = static_cast<std::size_t>(characters);
  read_vocabulary(spec.need("vocab", "model"), vocab);
  unk_ = vocab.find(unk_token_);
  vocab.each([&](std::string_view token, Id id) {
    if (token.empty()) return;
    words_.add(token, static_cast<std::uint32_t>(id));
    if (token.size() > prefix_.size() && token.starts_with(prefix_)) {
      continuations_.add(token.substr(prefix_.size()), static_cast<std::uint32_t>(id));
    }
  });
}

void WordPiece::tokenize(std::string_view word, std::vector<Piece>& out) const {
  const auto size = static_cast<std::uint32_t>(word.size());
  const std::size_t before = out.size();
  const auto give_up = [&] {
    if (unk_ == kNoId) {
      throw Error("a word is not in the vocabulary, and neither is the unknown token '" + unk_token_ + "'");
    }
    out.resize(before);
    out.push_back({unk_, 0, size});
  };
  if (word.size() > max_characters_ && unicode::count(word) > max_characters_) return give_up();
  for (std::uint32_t start = 0; start < size;) {
    const Trie& trie = start ? continuations_ : words_;
    std::uint32_t node = 0, end = start;
    Id id = kNoId;
    for (std::uint32_t i = start; i < size; ++i) {
      node = trie.step(node, word[i]);
      if (node == Trie::kNone) break;
      if (const std::uint32_t value = trie.value(node); value != Trie::kNone) {
        id = static_cast<Id>(value);
        end = i + 1;
      }
    }
    if (id == kNoId) return give_up();
    out.push_back({id, start, end});
    start = end;
  }
}

std::string dump_vocabulary(const Vocabulary& vocab) {
  std::string out = "{";
  for (std::size_t id = 0; id < vocab.id_limit(); ++id) {
    if (!vocab.contains(static_cast<Id>(id))) continue;
    if (out.size() > 1) out += ',';
    out.append(json::quoted(vocab[static_cast<Id>(id)])).append(1, ':').append(std::to_string(id));
  }
  return out += '}';
}

std::string WordPiece::spec(bool with_vocabulary) const {
  return "{\"type\":\"WordPiece\",\"unk_token\":" + json::quoted(unk_token_) +
         ",\"continuing_subword_prefix\":" + json::quoted(prefix_) +
         ",\"max_input_chars_per_word\":" + std::to_string(max_characters_) +
         ",\"vocab\":" + (with_vocabulary ? dump_vocabulary(vocab) : "{}") + "}";
}

WordLevel::WordLevel(json::Value spec) : unk_token_(spec.text("unk_token", "model")) {
  read_vocabulary(spec.need("vocab", "model"), vocab);
  unk_ = vocab.find(unk_token_);
}

void WordLevel::tokenize(std::string_view word, std::vector<Piece>& out) const {
  Id id = vocab.find(word);
  if (id == kNoId) id = unk_;
  if (id == kNoId) {
    throw Error("a word is not in the vocabulary, and neither is the unknown token '" + unk_token_ + "'");
  }
  out.push_back({id, 0, static_cast<std::uint32_t>(word.size())});
}

std::string WordLevel::spec(bool with_vocabulary) const {
  return "{\"type\":\"WordLevel\",\"vocab\":" + (with_vocabulary ? dump_vocabulary(vocab) : "{}") +
         ",\"unk_token\":" + json::quoted(unk_token_) + "}";
}

}  // namespace enfold::tok
