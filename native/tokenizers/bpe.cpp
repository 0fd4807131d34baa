#include <algorithm>
#include <bit>
#include <cstdio>
#include <queue>
#include <random>

#include "models.hpp"
#include "unicode.hpp"

namespace enfold::tok {

std::string dump_vocabulary(const Vocabulary& vocab);
void read_vocabulary(json::Value tokens, Vocabulary& vocab);

namespace {

std::optional<std::string> optional_text(json::Value spec, const char* key) {
  if (spec[key].is_null()) return std::nullopt;
  return spec.text(key, "model");
}

}  // namespace

Bpe::Bpe(json::Value spec)
    : unk_token_(optional_text(spec, "unk_token")),
      prefix_(optional_text(spec, "continuing_subword_prefix")),
      suffix_(optional_text(spec, "end_of_word_suffix")),
      fuse_unk_(spec.flag("fuse_unk", false, "model.fuse_unk")),
      byte_fallback_(spec.flag("byte_fallback", false, "model.byte_fallback")),
      ignore_merges_(spec.flag("ignore_merges", false, "model.ignore_merges")) {
  if (const auto dropout = spec["dropout"]; !dropout.is_null()) {
    dropout_ = dropout.number("model.dropout");
    if (!(*dropout_ >= 0 && *dropout_ <= 1)) throw Error("model.dropout should lie between 0 and 1");
  }
  if (prefix_ && prefix_->empty()) prefix_.reset();
  if (suffix_ && suffix_->empty()) suffix_.reset();
  const auto tokens = spec.need("vocab", "model");
  read_vocabulary(tokens, vocab);
  read_merges(spec.need("merges", "model"));
  if (unk_token_) {
    if (const Id id = vocab.find(*unk_token_); id != kNoId) unk_ = id;
  }
  if (byte_fallback_) {
    bytes_.emplace();
    for (unsigned b = 0; b < 256; ++b) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", b);
      (*bytes_)[b] = vocab.find(name);
    }
  }
  for (unsigned b = 0; b < 128; ++b) {
    const char c = static_cast<char>(b);
    ascii_[b] = vocab.find({&c, 1});
  }
}

void Bpe::read_merges(json::Value merges) {
  const std::size_t strip = prefix_ ? prefix_->size() : 0;
  Table<MergeTable::Merge> read;
  read.reserve(merges.size());
  // Merges are resolved in blocks: left and right tokens of each, then the joined ones.
  constexpr std::size_t kBlock = 256;
  std::vector<std::string_view> tokens, joined;
  std::vector<Id> ids(2 * kBlock), made;
  std::string text;
  std::uint32_t rank = 0;
  tokens.reserve(2 * kBlock);
  const auto resolve = [&] {
    // Most merges make the token that the merge before them makes, or the next one.
    const std::size_t n = tokens.size() / 2;
    Id last = read.empty() ? kNoId : read.back().made;
    made.assign(n, kNoId);
    joined.clear();
    text.clear();
    for (std::size_t k = 0; k < n; ++k) {
      const std::string_view left = tokens[2 * k], right = tokens[2 * k + 1].substr(strip);
      made[k] = vocab.id_if(last, left, right);
      if (made[k] == kNoId) made[k] = vocab.id_if(last + 1, left, right);
      if (made[k] != kNoId) last = made[k];
      else text.append(left).append(right);
    }
    std::size_t at = 0;
    for (std::size_t k = 0; k < n; ++k) {
      if (made[k] != kNoId) continue;
      joined.push_back(std::string_view(text).substr(at, tokens[2 * k].size() + tokens[2 * k + 1].size() - strip));
      at += joined.back().size();
    }
    vocab.find_all(tokens.data(), tokens.size(), ids.data());
    std::vector<Id> others(joined.size());
    vocab.find_all(joined.data(), joined.size(), others.data());
    const auto need = [&](Id id, std::string_view token) {
      if (id != kNoId) return id;
      throw Error("merge " + std::to_string(read.size()) + " uses '" + std::string(token) +
                  "', which is not in the vocabulary");
    };
    std::size_t other = 0;
    for (std::size_t k = 0; k < n; ++k) {
      const Id left = need(ids[2 * k], tokens[2 * k]), right = need(ids[2 * k + 1], tokens[2 * k + 1]);
      if (made[k] == kNoId) made[k] = need(others[other], joined[other]), ++other;
      read.push_back({left, right, made[k]});
    }
    tokens.clear();
  };
  std::optional<json::Kind> spelling;  // all pairs or all lines
  merges.each_item("model.merges", [&](json::Value item) {
    std::string_view a, b;
    if (spelling && !item.is(*spelling)) throw Error("model.merges should be all pairs or all lines of text");
    spelling = item.kind();
    if (item.is(json::Kind::array)) {
      if (item.size() != 2) throw Error("merge " + std::to_string(rank) + " should name two tokens");
      bool first = true;
      item.each_item("a merge", [&](json::Value part) {
        (first ? a : b) = part.string("a part of a merge");
        first = false;
      });
    } else {
      const std::string_view line = item.string("a merge");
      if (line.starts_with("#version")) return;
      const std::size_t space = line.find(' ');
      if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
        throw Error("merge " + std::to_string(rank) + " should be two tokens with one space between, got '" +
                    std::string(line) + "'");
      }
      a = line.substr(0, space);
      b = line.substr(space + 1);
    }
    if (b.size() < strip) throw Error("the right side of merge " + std::to_string(rank) + " lacks the prefix");
    tokens.insert(tokens.end(), {a, b});
    ++rank;
    if (tokens.size() == 2 * kBlock) resolve();
  });
  resolve();
  merges_ = MergeTable(read, vocab.id_limit());
}

void Bpe::symbols_of(std::string_view word, std::vector<Symbol>& out) const {
  std::string changed;
  std::optional<Symbol> unknown;
  for (std::size_t i = 0; i < word.size();) {
    const std::size_t n = unicode::length(static_cast<unsigned char>(word[i]));
    const auto size = static_cast<std::uint32_t>(n);
    std::string_view text = word.substr(i, n);
    const bool prefixed = prefix_ && i > 0, suffixed = suffix_ && i + n == word.size();
    if (prefixed || suffixed) {
      changed.clear();
      if (prefixed) changed += *prefix_;
      changed += text;
      if (suffixed) changed += *suffix_;
      text = changed;
    }
    i += n;
    const Id id = text.size() == 1 ? ascii_[static_cast<unsigned char>(text[0]) & 127] : vocab.find(text);
    if (id != kNoId) {
      if (unknown) out.push_back(*unknown), unknown.reset();
      out.push_back({id, size});
      continue;
    }
    if (byte_fallback_ && std::all_of(text.begin(), text.end(),
                                      [&](char c) { return (*bytes_)[static_cast<unsigned char>(c)] != kNoId; })) {
      for (const char c : text) out.push_back({(*bytes_)[static_cast<unsigned char>(c)], 1});
      continue;
    }
    if (!unk_token_) continue;
    if (!unk_)
      throw Error("a character is unknown, and the unknown token '" + *unk_token_ + "' is not in the vocabulary");
    if (unknown && fuse_unk_) {
      unknown->size += size;
    } else {
      if (unknown) out.push_back(*unknown);
      unknown = Symbol{*unk_, size};
    }
  }
  if (unknown) out.push_back(*unknown);
}

const std::array<Id, 256>* Bpe::byte_ids() const {
  if (!byte_fallback_) return nullptr;
  const auto is_byte = [&](Id id) { return std::find(bytes_->begin(), bytes_->end(), id) != bytes_->end(); };
  if (is_byte(kNoId)) return nullptr;
  const auto range = std::minmax_element(bytes_->begin(), bytes_->end());
  bool merged = false;
  merges_.each([&](const MergeTable::Merge& merge, std::uint32_t) {
    for (const Id id : {merge.left, merge.right, merge.made}) {
      merged |= id >= *range.first && id <= *range.second && is_byte(id);
    }
  });
  if (merged) return nullptr;
  return &*bytes_;
}

std::optional<Id> Bpe::unknown_id() const {
  if (byte_fallback_ || !unk_) return std::nullopt;
  bool merged = false;
  merges_.each([&](const MergeTable::Merge& merge, std::uint32_t) {
    merged |= merge.left == *unk_ || merge.right == *unk_ || merge.made == *unk_;
  });
  return merged ? std::nullopt : unk_;
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kShort && !is_random() && !vocab.has_shared_ids()) return merge_short(symbols);
  merge_long(symbols);
}

void Bpe::merge_short(std::vector<Symbol>& symbols) const {
  constexpr std::int32_t kLast = 0x7FFFFFFF;  // signed, as the oldest vector instructions compare; no rank is that high
  std::int32_t ranks[kShort];                 // of the pair that starts at each symbol
  std::size_t n = symbols.size();
  const auto look = [&](std::size_t i) {
    const std::uint32_t rank = i + 1 < n ? merges_.rank(symbols[i].id, symbols[i + 1].id) : kNever;
    ranks[i] = static_cast<std::int32_t>(rank & 0x7FFFFFFFu);
  };
  const auto same = [&](std::size_t i) { return symbols[i].id == symbols[i - 1].id; };
  for (std::size_t i = 0; i < n; ++i) {
    // Rules of tables and lines under titles are one character again and again.
    if (i && i + 1 < n && same(i) && same(i + 1)) ranks[i] = ranks[i - 1];
    else look(i);
  }
  for (;;) {
    std::int32_t lowest = kLast;
    for (std::size_t i = 0; i < n; ++i) lowest = std::min(lowest, ranks[i]);
    if (lowest == kLast) break;
    const auto best = static_cast<std::size_t>(std::find(ranks, ranks + n, lowest) - ranks);
    symbols[best].id = merges_.made(static_cast<std::uint32_t>(lowest));
    symbols[best].size += symbols[best + 1].size;
    const auto behind = static_cast<std::ptrdiff_t>(best + 2), end = static_cast<std::ptrdiff_t>(n--);
    std::copy(symbols.begin() + behind, symbols.begin() + end, symbols.begin() + behind - 1);
    std::copy(ranks + behind, ranks + end, ranks + behind - 1);
    look(best);
    if (best) look(best - 1);
  }
  symbols.resize(n);
}

void Bpe::merge_long(std::vector<Symbol>& symbols) const {
  struct Link {
    std::int32_t previous, next;
  };
  struct Entry {
    std::uint32_t rank, at;
    Id id;
    bool operator<(const Entry& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  const auto n = static_cast<std::int32_t>(symbols.size());
  std::vector<Link> links(symbols.size());
  std::vector<Entry> heap;
  for (std::int32_t i = 0; i < n; ++i) {
    links[static_cast<std::size_t>(i)] = {i - 1, i + 1 < n ? i + 1 : -1};
    if (i + 1 >= n) break;
    const auto at = static_cast<std::size_t>(i);
    if (const auto rank = merges_.rank(symbols[at].id, symbols[at + 1].id); rank != kNever) {
      heap.push_back({rank, static_cast<std::uint32_t>(i), merges_.made(rank)});
    }
  }
  std::make_heap(heap.begin(), heap.end());
  const auto push = [&](std::int32_t at) {
    const auto i = static_cast<std::size_t>(at);
    const Id next = symbols[static_cast<std::size_t>(links[i].next)].id;
    if (const auto rank = merges_.rank(symbols[i].id, next); rank != kNever) {
      heap.push_back({rank, static_cast<std::uint32_t>(at), merges_.made(rank)});
      std::push_heap(heap.begin(), heap.end());
    }
  };
  std::vector<Entry> skipped;
  const double dropout = dropout_.value_or(0);
  thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_real_distribution<double> chance(0, 1);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Entry top = heap.back();
    heap.pop_back();
    if (dropout > 0 && chance(random) < dropout) {
      skipped.push_back(top);
      continue;
    }
    for (const Entry& entry : skipped) {
      heap.push_back(entry);
      std::push_heap(heap.begin(), heap.end());
    }
    skipped.clear();
    const std::size_t i = top.at;
    if (symbols[i].size == 0 || links[i].next < 0) continue;
    const auto right = static_cast<std::size_t>(links[i].next);
    const std::uint32_t current = merges_.rank(symbols[i].id, symbols[right].id);
    if (current == kNever || merges_.made(current) != top.id) continue;
    symbols[i].id = top.id;
    symbols[i].size += symbols[right].size;
    symbols[right].size = 0;
    links[i].next = links[right].next;
    if (links[right].next >= 0)
      links[static_cast<std::size_t>(links[right].next)].previous = static_cast<std::int32_t>(i);
    if (links[i].previous >= 0) push(links[i].previous);
    if (links[i].next >= 0) push(static_cast<std::int32_t>(i));
  }
  std::erase_if(symbols, [](const Symbol& s) { return s.size == 0; });
}

void Bpe::tokenize(std::string_view word, std::vector<Piece>& out) const {
  if (word.empty()) return;
  if (ignore_merges_ && !(dropout_ && *dropout_ > 0)) {
    if (const Id id = vocab.find(word); id != kNoId) {
      out.push_back({id, 0, static_cast<std::uint32_t>(word.size())});
      return;
    }
  }
  thread_local std::vector<Symbol> symbols;
  symbols.clear();
  symbols_of(word, symbols);
  merge(symbols);
  std::uint32_t at = 0;
  for (const Symbol& symbol : symbols) {
    out.push_back({symbol.id, at, at + symbol.size});
    at += symbol.size;
  }
}

std::string Bpe::spec(bool with_vocabulary) const {
  const auto text = [](const std::optional<std::string>& s) { return s ? json::quoted(*s) : std::string("null"); };
  const auto flag = [](bool b) { return b ? "true" : "false"; };
  char dropout[40] = "null";
  if (dropout_) std::snprintf(dropout, sizeof dropout, "%.9g", *dropout_);
  std::string out = std::string("{\"type\":\"BPE\",\"dropout\":") + dropout + ",\"unk_token\":" + text(unk_token_) +
                    ",\"continuing_subword_prefix\":" + text(prefix_) + ",\"end_of_word_suffix\":" + text(suffix_) +
                    ",\"fuse_unk\":" + flag(fuse_unk_) + ",\"byte_fallback\":" + flag(byte_fallback_) +
                    ",\"ignore_merges\":" + flag(ignore_merges_) + ",\"vocab\":" +
                    (with_vocabulary ? dump_vocabulary(vocab) : "{}") + ",\"merges\":[";
  if (!with_vocabulary) return out += "]}";
  for (const auto& [merge, rank] : merges_.in_order()) {
    if (out.back() != '[') out += ',';
    out.append(1, '[').append(json::quoted(vocab[merge.left])).append(1, ',').append(json::quoted(vocab[merge.right])).append(1, ']');
  }
  return out += "]}";
}

}  // namespace enfold::tok
