#include "added_tokens.hpp"

#include <algorithm>

namespace enfold::tok {

AddedToken read_added_token(json::Value spec) {
  AddedToken token;
  token.content = spec.text("content", "an added token");
  const char* what = "an added token";
  const std::int64_t id = spec.need("id", what).integer("the id of an added token");
  if (id < 0 || id > 0xFFFFFFFFll) throw Error("the id of an added token is out of range: " + std::to_string(id));
  token.single_word = spec.truth("single_word", what);
  token.lstrip = spec.truth("lstrip", what);
  token.rstrip = spec.truth("rstrip", what);
  token.normalized = spec.truth("normalized", what);
  token.special = spec.truth("special", what);
  return token;
}

std::string dump_added_token(const AddedToken& token, Id id) {
  const auto flag = [](bool b) { return b ? "true" : "false"; };
  return "{\"id\":" + std::to_string(id) + ",\"content\":" + json::quoted(token.content) +
         ",\"single_word\":" + flag(token.single_word) + ",\"lstrip\":" + flag(token.lstrip) +
         ",\"rstrip\":" + flag(token.rstrip) + ",\"normalized\":" + flag(token.normalized) +
         ",\"special\":" + flag(token.special) + "}";
}

void Finder::add(std::string_view key, Id id) {
  if (key.empty()) return;
  // Of equal keys the first one wins, as with the reference's automaton.
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < key.size() && node != Trie::kNone; ++i) node = trie_.step(node, key[i]);
  if (node != Trie::kNone && trie_.value(node) != Trie::kNone) return;
  if (trie_.empty()) only_start_.assign(1, key[0]);
  else if (!only_start_.empty() && only_start_[0] != key[0]) only_start_.clear();
  trie_.add(key, static_cast<std::uint32_t>(id));
  starts_[static_cast<unsigned char>(key[0])] = true;
}

bool Finder::next(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end, Id& id) const {
  if (trie_.empty()) return false;
  for (std::size_t i = from; i < text.size(); ++i) {
    if (!only_start_.empty()) {
      const void* hit = std::memchr(text.data() + i, only_start_[0], text.size() - i);
      if (!hit) return false;
      i = static_cast<std::size_t>(static_cast<const char*>(hit) - text.data());
    } else if (!starts_[static_cast<unsigned char>(text[i])]) {
      continue;
    }
    bool found = false;
    std::uint32_t node = 0;
    for (std::size_t k = i; k < text.size(); ++k) {
      node = trie_.step(node, text[k]);
      if (node == Trie::kNone) break;
      if (const std::uint32_t value = trie_.value(node); value != Trie::kNone) {
        found = true;
        end = k + 1;
        id = static_cast<Id>(value);
      }
    }
    if (found) {
      begin = i;
      return true;
    }
  }
  return false;
}

Id AddedTokens::find(std::string_view token, const Model& model) const {
  const auto at = ids_.find(std::string(token));
  return at != ids_.end() ? at->second : model.vocab.find(token);
}

const AddedToken* AddedTokens::by_id(Id id) const {
  if (id >= id_limit_) return nullptr;
  const auto at = tokens_.find(id);
  return at != tokens_.end() ? &at->second : nullptr;
}

const std::string* AddedTokens::text(Id id) const {
  if (id >= id_limit_) return nullptr;
  if (const auto at = normal_forms_.find(id); at != normal_forms_.end()) return &at->second;
  const AddedToken* token = by_id(id);
  return token ? &token->content : nullptr;
}

std::size_t AddedTokens::add(const std::vector<AddedToken>& tokens, const Model& model, const Normalizer* normalizer) {
  for (const AddedToken& token : tokens) {
    if (token.special && !token.content.empty() && special_.insert(token.content).second) {
      given_special_.push_back(token);
    }
  }
  const auto size = static_cast<Id>(model.vocab.size());
  Id largest = -1;
  for (const auto& [content, id] : ids_) largest = std::max(largest, id);
  std::size_t ignored = 0;
  for (const AddedToken& token : tokens) {
    bool known = token.content.empty();
    if (const auto at = ids_.find(token.content); !known && at != ids_.end()) {
      const AddedToken* present = by_id(at->second);
      known = present && *present == token;
    }
    if (known) {
      ++ignored;
      continue;
    }
    Id id = find(token.content, model);
    if (id == kNoId) id = largest >= size || (largest >= 0 && size == 0) ? largest + 1 : size;
    ids_[token.content] = id;
    tokens_[id] = token;
    largest = std::max(largest, id);
    id_limit_ = std::max(id_limit_, id + 1);
    if (!special_.contains(token.content)) given_plain_.push_back(token);
  }
  refresh(normalizer);
  return tokens.size() - ignored;
}

void AddedTokens::refresh(const Normalizer* normalizer) {
  raw_ = Finder();
  normalized_ = Finder();
  normal_forms_.clear();
  for (const auto* list : {&given_special_, &given_plain_}) {
    for (const AddedToken& token : *list) {
      const Id id = ids_.at(token.content);
      if (!token.normalized) {
        raw_.add(token.content, id);
        continue;
      }
      Aligned text = Aligned::from(token.content, 0);
      if (normalizer) normalizer->apply(text);
      normalized_.add(text.text, id);
      normal_forms_[id] = std::move(text.text);
    }
  }
}

void AddedTokens::split(std::string_view text, bool normalized, bool keep_special, std::vector<Section>& out) const {
  const auto section = [](Id id, std::size_t begin, std::size_t end) {
    return Section{id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
  };
  const auto is = [](char32_t c, std::uint16_t flag) { return unicode::has(c, flag); };
  const Finder& finder = normalized ? normalized_ : raw_;
  std::size_t done = 0, from = 0, begin = 0, end = 0;
  std::size_t blank_end = 0;  // end of the white space that a token took last
  std::size_t overlap = 0;    // bytes given out twice, where a token starts in space that another has taken
  constexpr std::size_t kMaxOverlap = 1 << 20;
  Id id = kNoId;
  while (finder.next(text, from, begin, end, id)) {
    from = end;
    const AddedToken& token = tokens_.at(id);
    if (keep_special && special_.contains(token.content)) continue;
    if (token.single_word) {
      if (begin > 0 && is(unicode::decode_before(text, begin), unicode::kWord)) continue;
      if (end < text.size() && is(unicode::decode(text.data() + end), unicode::kWord)) continue;
    }
    if (token.lstrip) {
      // Never past what an earlier token has taken.
      while (begin > done && is(unicode::decode_before(text, begin), unicode::kSpace)) {
        do --begin;
        while (unicode::is_continuation(text[begin]));
      }
      begin = std::max(begin, done);
    }
    if (token.rstrip) {
      end = std::max(end, blank_end);
      while (end < text.size() && is(unicode::decode(text.data() + end), unicode::kSpace)) {
        end += unicode::length(static_cast<unsigned char>(text[end]));
      }
    }
    if (token.rstrip) blank_end = end;
    if (begin >= end || (begin < done && (overlap += done - begin) > kMaxOverlap)) continue;
    if (done < begin) out.push_back(section(kNoId, done, begin));
    out.push_back(section(id, begin, end));
    done = end;
  }
  if (done < text.size()) out.push_back(section(kNoId, done, text.size()));
}

}  // namespace enfold::tok
