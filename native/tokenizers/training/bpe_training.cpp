#include "bpe_training.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <new>

#include "../unicode.hpp"

namespace enfold::tok {

std::int64_t& PairCounts::operator[](std::uint64_t pair) {
  if (2 * (used_ + 1) > slots_.size()) grow();
  std::size_t i = place(pair);
  while (slots_[i].pair != pair && slots_[i].pair != kEmpty) i = (i + 1) & (slots_.size() - 1);
  if (slots_[i].pair == kEmpty) {
    slots_[i].pair = pair;
    ++used_;
  }
  return slots_[i].count;
}

std::int64_t PairCounts::get(std::uint64_t pair) const {
  for (std::size_t i = place(pair);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].pair == pair) return slots_[i].count;
    if (slots_[i].pair == kEmpty) return 0;
  }
}

void PairCounts::grow() {
  std::vector<Slot> old(2 * slots_.size(), Slot{kEmpty, 0});
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.pair == kEmpty) continue;
    std::size_t i = place(slot.pair);
    while (slots_[i].pair != kEmpty) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = slot;
  }
}

BpeTraining::BpeTraining(const WordCounts& words, BpeOptions options) : options_(std::move(options)) {
  for (const std::string& special : options_.special_tokens) token(special);
  choose_alphabet(words);
  lay_out(words);
  count_pairs();
}

BpeTraining::~BpeTraining() {
  for (const Waiting& waiting : queue_) free_list(waiting.where);
}

std::uint32_t BpeTraining::token(const std::string& text, bool* existed) {
  const auto [at, is_new] = ids_.try_emplace(text, static_cast<std::uint32_t>(tokens_.size()));
  if (is_new) tokens_.push_back(text);
  if (existed) *existed = !is_new;
  return at->second;
}

void BpeTraining::choose_alphabet(const WordCounts& words) {
  std::vector<std::uint64_t> counts(0x110000);
  for (std::size_t w = 0; w < words.size(); ++w) {
    const std::string_view word = words.word(w);
    for (std::size_t i = 0; i < word.size(); i += unicode::length(static_cast<unsigned char>(word[i]))) {
      counts[unicode::decode(word.data() + i)] += words.count(w);
    }
  }
  for (const char32_t c : options_.initial_alphabet) counts[c] = ~0ull;
  std::vector<char32_t> alphabet;
  for (char32_t c = 0; c < counts.size(); ++c) {
    if (counts[c]) alphabet.push_back(c);
  }
  if (options_.limit_alphabet && alphabet.size() > *options_.limit_alphabet) {
    // The most frequent ones stay; among equals those with the smaller code points.
    std::stable_sort(alphabet.begin(), alphabet.end(), [&](char32_t a, char32_t b) { return counts[a] > counts[b]; });
    alphabet.resize(*options_.limit_alphabet);
    std::sort(alphabet.begin(), alphabet.end());
  }
  for (const char32_t c : alphabet) {
    std::string text;
    unicode::append(text, c);
    token(text);
  }
  // A special token of one character counts as one of the alphabet.
  characters_.assign(counts.size(), kGone);
  for (std::uint32_t id = 0; id < tokens_.size(); ++id) {
    if (unicode::count(tokens_[id]) == 1) characters_[unicode::decode(tokens_[id].data())] = id;
  }
}

void BpeTraining::lay_out(const WordCounts& words) {
  // By what a character's symbol carries: nothing, the prefix (not the first of its word), the suffix (the last), both.
  std::vector<std::uint32_t> of_kind[4];
  of_kind[0] = characters_;
  std::vector<std::pair<char32_t, int>> kept;
  const auto read = [&](std::string_view word) {
    kept.clear();
    for (std::size_t i = 0; i < word.size();) {
      const std::size_t n = unicode::length(static_cast<unsigned char>(word[i]));
      const char32_t c = unicode::decode(word.data() + i);
      const int kind = (options_.prefix && i > 0 ? 1 : 0) | (options_.suffix && i + n == word.size() ? 2 : 0);
      if (characters_[c] != kGone) kept.push_back({c, kind});
      i += n;
    }
  };
  if (options_.prefix || options_.suffix) {
    for (int kind : {1, 2, 3}) of_kind[kind].assign(characters_.size(), kGone);
    std::map<std::string, std::vector<std::pair<char32_t, int>>> dressed;
    for (std::size_t w = 0; w < words.size(); ++w) {
      read(words.word(w));
      for (const auto& [c, kind] : kept) {
        if (of_kind[kind][c] != kGone) continue;
        std::string text = kind & 1 ? *options_.prefix : "";
        unicode::append(text, c);
        if (kind & 2) text += *options_.suffix;
        dressed[text].push_back({c, kind});
        of_kind[kind][c] = 0;
      }
    }
    // The reference numbers these as its hash table happens to hold the words; here they are sorted.
    for (const auto& [text, uses] : dressed) {
      const std::uint32_t id = token(text);
      for (const auto& [c, kind] : uses) of_kind[kind][c] = id;
    }
  }
  cells_.push_back({kEdge, 1});
  word_of_.push_back(0);
  for (std::size_t w = 0; w < words.size(); ++w) {
    read(words.word(w));
    if (kept.size() < 2 || !words.count(w)) continue;
    if (cells_.size() + kept.size() + 1 > 0xFFFFFFF0u) {
      throw Error("the distinct words hold more than 4294967280 characters; train on less text or on shorter words");
    }
    const auto number = static_cast<std::uint32_t>(starts_.size());
    starts_.push_back(static_cast<std::uint32_t>(cells_.size()));
    counts_.push_back(words.count(w));
    for (const auto& [c, kind] : kept) cells_.push_back({of_kind[kind][c], 1});
    cells_.push_back({kEdge, 1});
    word_of_.resize(cells_.size(), number);
  }
}

std::uint32_t* BpeTraining::new_list(std::size_t n) {
  auto* list = static_cast<std::uint32_t*>(std::malloc((n + 1) * sizeof(std::uint32_t)));
  if (!list) throw std::bad_alloc();
  *list = 0;
  return list;
}

std::uintptr_t BpeTraining::packed(std::uint32_t* list) {
  if (*list != 1) return reinterpret_cast<std::uintptr_t>(list);
  const auto single = static_cast<std::uintptr_t>(list[1]) << 1 | 1;
  std::free(list);
  return single;
}

void BpeTraining::free_list(std::uintptr_t where) {
  if (!(where & 1)) std::free(reinterpret_cast<void*>(where));
}

void BpeTraining::count_pairs() {
  struct Pair {
    std::uint64_t pair, count;
    std::size_t positions;
    std::uint32_t* list;
  };
  std::vector<Pair> found;
  PairCounts place;  // one more than each pair's place among those found
  const auto each = [&](auto&& f) {
    for (std::uint32_t i = 1; i + 1 < cells_.size(); ++i) {
      if (cells_[i].id != kEdge && cells_[i + 1].id != kEdge) f(i, pair_of(cells_[i].id, cells_[i + 1].id));
    }
  };
  each([&](std::uint32_t i, std::uint64_t pair) {
    std::int64_t& at = place[pair];
    if (!at) {
      found.push_back({pair, 0, 0, nullptr});
      at = static_cast<std::int64_t>(found.size());
    }
    Pair& entry = found[static_cast<std::size_t>(at) - 1];
    entry.count += counts_[word_of_[i]];
    ++entry.positions;
  });
  for (Pair& entry : found) entry.list = new_list(entry.positions);
  each([&](std::uint32_t i, std::uint64_t pair) {
    std::uint32_t* list = found[static_cast<std::size_t>(place.get(pair)) - 1].list;
    list[++*list] = i;
  });
  queue_.reserve(found.size());
  for (const Pair& entry : found) {
    pairs_[entry.pair] = static_cast<std::int64_t>(entry.count);
    queue_.push_back({entry.count, entry.pair, packed(entry.list)});
  }
  std::make_heap(queue_.begin(), queue_.end());
}

bool BpeTraining::advance(std::size_t merges) {
  while (merges > 0) {
    if (tokens_.size() >= options_.vocab_size || queue_.empty()) return false;
    const Waiting top = queue_.front();
    std::pop_heap(queue_.begin(), queue_.end());
    const auto now = static_cast<std::uint64_t>(pairs_.get(top.pair));
    if (top.count != now) {
      queue_.back().count = now;
      std::push_heap(queue_.begin(), queue_.end());
      continue;
    }
    if (now < 1 || now < options_.min_frequency) {
      std::push_heap(queue_.begin(), queue_.end());
      return false;
    }
    queue_.pop_back();
    merge(top);
    --merges;
  }
  return true;
}

std::string BpeTraining::joined(std::uint32_t a, std::uint32_t b) const {
  std::string_view second = tokens_[b];
  if (options_.prefix && second.starts_with(*options_.prefix)) second.remove_prefix(options_.prefix->size());
  std::string made = tokens_[a];
  return made.append(second);
}

void BpeTraining::merge(const Waiting& top) {
  const auto a = static_cast<std::uint32_t>(top.pair >> 32), b = static_cast<std::uint32_t>(top.pair);
  bool existed = false;
  const std::uint32_t made = token(joined(a, b), &existed);
  merges_.push_back({a, b});
  left_.changes.resize(tokens_.size());
  right_.changes.resize(tokens_.size());
  const auto single = static_cast<std::uint32_t>(top.where >> 1);
  const auto* list = reinterpret_cast<const std::uint32_t*>(top.where);
  const std::uint32_t* positions = top.where & 1 ? &single : list + 1;
  const std::size_t n = top.where & 1 ? 1 : *list;
  if (scattered_.contains(top.pair)) {
    for (const std::uint32_t p : in_whole_words(positions, n, a)) join(p, a, b, made);
  } else {
    constexpr std::size_t kAhead = 12;
    for (std::size_t i = 0; i < n; ++i) {
      if (i + kAhead < n) {
        prefetch(&cells_[positions[i + kAhead]]);
        prefetch(&word_of_[positions[i + kAhead]]);
      }
      join(positions[i], a, b, made);
    }
  }
  free_list(top.where);
  put_back(a, b, made, existed);
}

// Cells of all symbols `a` in the words that the positions lie in.
std::vector<std::uint32_t> BpeTraining::in_whole_words(const std::uint32_t* positions, std::size_t n,
                                                       std::uint32_t a) const {
  std::vector<std::uint32_t> words, found;
  for (std::size_t i = 0; i < n; ++i) words.push_back(word_of_[positions[i]]);
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  for (const std::uint32_t word : words) {
    for (std::uint32_t p = starts_[word]; cells_[p].id != kEdge; p += cells_[p].length) {
      if (cells_[p].id == a) found.push_back(p);
    }
  }
  return found;
}

void BpeTraining::Flank::record(std::uint32_t neighbour, std::uint64_t weight, bool joins, std::uint32_t position) {
  Change& change = changes[neighbour];
  if (!change.lost && !change.won) touched.push_back(neighbour);
  change.lost += weight;
  if (!joins) return;
  change.won += weight;
  ++change.positions;
  events.push_back({neighbour, position});
}

void BpeTraining::join(std::uint32_t position, std::uint32_t a, std::uint32_t b, std::uint32_t made) {
  Cell& first = cells_[position];
  if (first.id != a) return;
  const std::uint32_t middle = position + first.length;
  Cell& second = cells_[middle];
  if (second.id != b) return;
  const std::uint64_t weight = counts_[word_of_[position]];
  const std::uint32_t length = first.length + second.length;
  const auto fits = [&](std::uint32_t other) {
    return !options_.max_token_length || static_cast<std::size_t>(other) + length < *options_.max_token_length;
  };
  if (cells_[position - 1].id != kEdge) {
    const std::uint32_t before = position - cells_[position - 1].length;
    left_.record(cells_[before].id, weight, fits(cells_[before].length), before);
  }
  second.id = kGone;
  first = {made, length};
  cells_[position + length - 1].length = length;
  const Cell& after = cells_[position + length];
  if (after.id != kEdge) right_.record(after.id, weight, fits(after.length), position);
}

void BpeTraining::Flank::make_lists() {
  for (const std::uint32_t x : touched) {
    if (changes[x].positions) changes[x].list = new_list(changes[x].positions);
  }
  for (const Event& event : events) {
    std::uint32_t* list = changes[event.neighbour].list;
    list[++*list] = event.position;
  }
}

void BpeTraining::put_back(std::uint32_t a, std::uint32_t b, std::uint32_t made, bool existed) {
  left_.make_lists();
  right_.make_lists();
  if (left_.changes[made].list && right_.changes[made].list) {
    // The symbol beside itself, seen from both sides: one pair, one list.
    std::uint32_t*& one = left_.changes[made].list;
    std::uint32_t*& two = right_.changes[made].list;
    std::uint32_t* both = new_list(*one + *two);
    *both = static_cast<std::uint32_t>(std::set_union(one + 1, one + 1 + *one, two + 1, two + 1 + *two, both + 1) -
                                       (both + 1));
    std::free(one);
    std::free(two);
    one = both;
    two = nullptr;
  }
  for (const std::uint32_t x : left_.touched) {
    pairs_[pair_of(x, a)] -= static_cast<std::int64_t>(left_.changes[x].lost);
    if (left_.changes[x].won) pairs_[pair_of(x, made)] += static_cast<std::int64_t>(left_.changes[x].won);
  }
  for (const std::uint32_t x : right_.touched) {
    pairs_[pair_of(b, x)] -= static_cast<std::int64_t>(right_.changes[x].lost);
    if (right_.changes[x].won) pairs_[pair_of(made, x)] += static_cast<std::int64_t>(right_.changes[x].won);
  }
  for (const std::uint32_t x : left_.touched) wait_for(pair_of(x, made), left_.changes[x].list, existed);
  for (const std::uint32_t x : right_.touched) wait_for(pair_of(made, x), right_.changes[x].list, existed);
  for (Flank* flank : {&left_, &right_}) {
    for (const std::uint32_t x : flank->touched) flank->changes[x] = Change();
    flank->touched.clear();
    flank->events.clear();
  }
}

// Takes the list over.
void BpeTraining::wait_for(std::uint64_t pair, std::uint32_t* list, bool scattered) {
  if (!list) return;
  const std::int64_t count = pairs_.get(pair);
  if (count <= 0) {
    std::free(list);
    return;
  }
  if (scattered) scattered_.insert(pair);
  queue_.push_back({static_cast<std::uint64_t>(count), pair, packed(list)});
  std::push_heap(queue_.begin(), queue_.end());
}

std::vector<std::pair<std::uint32_t, std::uint32_t>> BpeTraining::merges() const {
  std::unordered_map<std::uint64_t, std::size_t> last;
  for (std::size_t i = 0; i < merges_.size(); ++i) last[pair_of(merges_[i].first, merges_[i].second)] = i;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> kept;
  for (std::size_t i = 0; i < merges_.size(); ++i) {
    if (last[pair_of(merges_[i].first, merges_[i].second)] == i) kept.push_back(merges_[i]);
  }
  return kept;
}

}  // namespace enfold::tok
