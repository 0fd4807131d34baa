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
  keys_.emplace_back(key, id);
  longest_ = std::max(longest_, key.size());
}

void Finder::finish() {
  constexpr std::size_t kLong = 64;
  reversed_.reset();
  if (longest_ <= kLong) return;
  Reversed& made = reversed_.emplace();
  struct Place {
    std::string reversed;
    std::uint32_t node;
    std::size_t key;
  };
  std::vector<Place> places;
  for (std::size_t k = 0; k < keys_.size(); ++k) {
    places.push_back({std::string(keys_[k].first.rbegin(), keys_[k].first.rend()), 0, k});
    made.trie.add(places.back().reversed, static_cast<std::uint32_t>(k));
  }
  // Level by level: a node's failure leads to a shallower one.
  made.nodes.assign(made.trie.size(), {Trie::kNone, 0, kNoId});
  made.nodes[0].fail = 0;
  for (std::size_t depth = 0; depth < longest_; ++depth) {
    std::erase_if(places, [&](const Place& place) { return place.reversed.size() <= depth; });
    for (Place& place : places) {
      const std::uint32_t parent = place.node, node = made.trie.step(parent, place.reversed[depth]);
      place.node = node;
      if (made.nodes[node].fail != Trie::kNone) continue;
      std::uint32_t fail = 0;
      if (parent) {
        std::uint32_t from = made.nodes[parent].fail;
        while ((fail = made.trie.step(from, place.reversed[depth])) == Trie::kNone && from) from = made.nodes[from].fail;
        if (fail == Trie::kNone) fail = 0;
      }
      made.nodes[node] = {fail, made.nodes[fail].length, made.nodes[fail].id};
      if (const std::uint32_t key = made.trie.value(node); key != Trie::kNone) {
        made.nodes[node].length = static_cast<std::uint32_t>(keys_[key].first.size());
        made.nodes[node].id = keys_[key].second;
      }
    }
  }
}

bool Finder::Search::next(std::size_t from, Match& match) {
  constexpr std::size_t kPatience = 16;  // steps for each byte
  if (finder_.trie_.empty()) return false;
  if (finder_.reversed_ && !all_found_ && steps_ > kPatience * text_.size() + 4096) find_all(from);
  if (!all_found_) return walk(from, match);
  while (!found_.empty() && found_.back().begin < from) found_.pop_back();
  if (found_.empty()) return false;
  match = found_.back();
  return true;
}

void Finder::Search::find_all(std::size_t from) {
  const Reversed& automaton = *finder_.reversed_;
  std::uint32_t node = 0;
  std::vector<Match> found;
  for (std::size_t i = text_.size(); i-- > from;) {
    std::uint32_t next;
    while ((next = automaton.trie.step(node, text_[i])) == Trie::kNone && node) node = automaton.nodes[node].fail;
    node = next == Trie::kNone ? 0 : next;
    if (const auto& at = automaton.nodes[node]; at.length) found.push_back({i, i + at.length, at.id});
  }
  found_ = std::move(found);
  all_found_ = true;
}

bool Finder::Search::walk(std::size_t from, Match& match) {
  const std::string& only_start = finder_.only_start_;
  for (std::size_t i = from; i < text_.size(); ++i) {
    if (!only_start.empty()) {
      const void* hit = std::memchr(text_.data() + i, only_start[0], text_.size() - i);
      if (!hit) return false;
      i = static_cast<std::size_t>(static_cast<const char*>(hit) - text_.data());
    } else if (!finder_.starts_[static_cast<unsigned char>(text_[i])]) {
      continue;
    }
    bool found = false;
    std::uint32_t node = 0;
    std::size_t k = i;
    for (; k < text_.size(); ++k) {
      node = finder_.trie_.step(node, text_[k]);
      if (node == Trie::kNone) break;
      if (const std::uint32_t value = finder_.trie_.value(node); value != Trie::kNone) {
        found = true;
        match = {i, k + 1, static_cast<Id>(value)};
      }
    }
    steps_ += k - i;
    if (found) return true;
    if (finder_.reversed_ && steps_ > 16 * text_.size() + 4096) return next(i + 1, match);
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
  raw_.finish();
  normalized_.finish();
}

void AddedTokens::split(std::string_view text, bool normalized, bool keep_special, std::vector<Section>& out) const {
  const auto section = [](Id id, std::size_t begin, std::size_t end) {
    return Section{id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
  };
  const auto is = [](char32_t c, std::uint16_t flag) { return unicode::has(c, flag); };
  const Finder& finder = normalized ? normalized_ : raw_;
  std::size_t done = 0, from = 0;
  std::size_t blank_end = 0;  // end of the white space that a token took last
  std::size_t overlap = 0;    // bytes given out twice, where a token starts in space that another has taken
  constexpr std::size_t kMaxOverlap = 1 << 20;
  Finder::Search search(finder, text);
  Finder::Match match{};
  while (search.next(from, match)) {
    auto [begin, end, id] = match;
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
