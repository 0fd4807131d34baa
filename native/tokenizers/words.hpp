#pragma once

#include <array>

#include "unicode.hpp"
#include "word_cache.hpp"

namespace enfold::tok {

// A word that the cache lacks. Whoever answers appends its tokens to a list and tells where, and its characters.
struct Query {
  const char* p;
  const std::uint64_t* key;  // its bytes with zeros behind them, if there are not more than WordCache::kLongKey
  std::uint32_t n;
  bool variant;
  std::uint32_t characters, begin, end;
};

// Answers a query. `each(f)` calls f(id, bytes) for each token of the word; one that begins or ends within a character
// takes the whole of it.
template <typename Each>
void answer(Query& query, Each&& each, std::vector<Found>& found) {
  query.begin = static_cast<std::uint32_t>(found.size());
  std::uint32_t begun = 0;  // characters that have begun before this byte
  const char* p = query.p;
  each([&](Id id, std::uint32_t bytes) {
    const std::uint32_t first = begun - unicode::is_continuation(*p);
    for (const char* const stop = p + bytes; p < stop; ++p) begun += !unicode::is_continuation(*p);
    found.push_back({id, first, begun});
  });
  query.end = static_cast<std::uint32_t>(found.size());
  query.characters = begun;
}

// Words on their way to tokens. They are looked up some at a time, so that the memory of their slots is on its way
// while others are worked on. `find(queries, count, found)` answers what the cache can't.
template <typename Find>
class Words {
 public:
  static constexpr std::size_t kBatch = 128;

  // `empty_counts`: a word without any token takes a number all the same.
  Words(WordCache& cache, std::vector<Found>& found, Tokens& out, const char* limit, std::uint32_t at,
        std::uint32_t word, bool empty_counts, Find& find)
      : cache_(cache),
        found_(found),
        out_(out),
        limit_(limit),
        at_(at),
        word_(word),
        empty_counts_(empty_counts),
        find_(find) {}

  std::uint32_t word() const { return word_; }

  // The next word: bytes [p, p + n), `gap` characters behind the last one. `ends`: the next one has another number.
  // A variant is looked up apart from the others, because `find` treats it in another way.
  void add(const char* p, std::size_t n, std::uint32_t gap = 0, bool ends = true, bool variant = false) {
    Item& item = items_[count_++];
    item.p = p;
    item.n = static_cast<std::uint32_t>(n);
    item.gap = gap;
    item.ends = ends;
    item.variant = variant;
    const unsigned mark = static_cast<unsigned>(n | (variant ? 0x80u : 0u));
    if (n <= WordCache::kShortKey) {
      std::uint64_t key[2];
      detail::load_key(p, n, limit_, mark, key);
      item.key[0] = key[0];
      item.key[1] = key[1];
      item.hash = WordCache::hash_short(key);
      prefetch(cache_.short_slots(item.hash));
    } else if (n <= WordCache::kLongKey) {
      detail::load_key(p, n, limit_, mark, item.key);
      item.hash = WordCache::hash_long(item.key);
      const auto* slots = cache_.long_slots(item.hash);
      prefetch(slots);
      prefetch(slots + 1);
    }
    if (count_ == kBatch) flush();
  }

  void flush() {
    look_up();
    found_.clear();
    if (queried_) find_(queries_.data(), queried_, found_);
    std::size_t room = count_ * WordCache::kLongTokens + many_;
    for (std::size_t k = 0; k < missing_; ++k) {
      const Query& answer = queries_[items_[missing_items_[k]].query];
      room += answer.end - answer.begin;
    }
    out_.reserve(room);
    if (out_.want_offsets) out_.want_words ? write<true, true>() : write<true, false>();
    else out_.want_words ? write<false, true>() : write<false, false>();
    for (std::size_t k = 0; k < missing_; ++k) {
      const Item& item = items_[missing_items_[k]];
      if (!item.first || item.n > WordCache::kLongKey) continue;
      const Query& answer = queries_[item.query];
      cache_.add(item.key, item.n, answer.characters, found_.data() + answer.begin, answer.end - answer.begin);
    }
    count_ = 0;
  }

 private:
  enum class Where : std::uint8_t { short_slot, long_slot, apart, missing };
  struct Item {
    const char* p;
    std::uint64_t key[4];
    union {
      std::uint64_t hash;                // before look_up()
      const WordCache::Short* short_slot;  // after it
      const WordCache::Long* long_slot;
      const WordCache::Apart* apart;
    };
    std::uint32_t n, gap;
    std::uint8_t query;             // of a missing word
    std::uint8_t tokens, characters;  // of a word whose tokens lie apart
    Where where;
    bool ends, variant, first;  // the first of its kind in the batch
  };
  static_assert(kBatch <= 255);

  void look_up() {
    queried_ = missing_ = many_ = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      Item& item = items_[i];
      const std::uint64_t hash = item.hash;
      if (item.n <= WordCache::kShortKey) {
        if (const auto* slot = WordCache::find(cache_.short_slots(hash), item.key)) {
          item.where = Where::short_slot;
          item.short_slot = slot;
          const std::size_t n = slot->places >> 28;
          if (n <= WordCache::kShortTokens || is_apart(item, slot->ids, n, slot->places >> 24 & 15)) continue;
        }
      } else if (item.n <= WordCache::kLongKey) {
        if (const auto* slot = WordCache::find(cache_.long_slots(hash), item.key)) {
          item.where = Where::long_slot;
          item.long_slot = slot;
          const std::size_t n = slot->count;
          if (n <= WordCache::kLongTokens || is_apart(item, slot->ids, n, slot->characters)) continue;
        }
      }
      ask(i, hash);
    }
  }

  bool is_apart(Item& item, const Id* ids, std::size_t n, std::uint32_t characters) {
    const WordCache::Apart* tokens = cache_.apart(ids);
    if (!tokens) return false;
    item.where = Where::apart;
    item.apart = tokens;
    item.tokens = static_cast<std::uint8_t>(n);
    item.characters = static_cast<std::uint8_t>(characters);
    many_ += n;
    return true;
  }

  // A word that comes several times is asked for once.
  void ask(std::size_t i, std::uint64_t hash) {
    Item& item = items_[i];
    item.where = Where::missing;
    item.first = true;
    missing_items_[missing_++] = static_cast<std::uint8_t>(i);
    if (item.n <= WordCache::kLongKey) {
      if (queried_ == 0) asked_.fill(kNothing);
      std::uint8_t& same = asked_[hash >> 16 & 255];
      if (same != kNothing) {
        const Item& other = items_[same];
        const std::size_t parts = item.n <= WordCache::kShortKey ? 2 : 4;
        if (item.n == other.n && std::equal(item.key, item.key + parts, other.key)) {
          item.first = false;
          item.query = other.query;
          return;
        }
      }
      same = static_cast<std::uint8_t>(i);
    }
    item.query = static_cast<std::uint8_t>(queried_);
    queries_[queried_++] = {item.p, item.key, item.n, item.variant, 0, 0, 0};
  }

  template <bool kOffsets, bool kWords>
  void write() {
    Id* ids = out_.ids.end();
    Span* offsets = out_.offsets.end();
    std::int32_t* words = out_.words.end();
    std::uint32_t at = at_;
    std::uint32_t word = word_;
    const auto put = [&](std::size_t i, Id id, std::uint32_t begin, std::uint32_t end) {
      ids[i] = id;
      if constexpr (kOffsets) offsets[i] = {at + begin, at + end};
      if constexpr (kWords) words[i] = static_cast<std::int32_t>(word);
    };
    for (std::size_t k = 0; k < count_; ++k) {
      const Item& item = items_[k];
      std::size_t n = 0;
      std::uint32_t characters = 0;
      at += item.gap;
      switch (item.where) {
        case Where::short_slot: {
          // All that there might be, as that is faster than to ask how many there are.
          const auto& slot = *item.short_slot;
          const std::uint32_t places = slot.places;
          for (std::size_t i = 0; i < WordCache::kShortTokens; ++i) {
            put(i, slot.ids[i], places >> 8 * i & 15, places >> (8 * i + 4) & 15);
          }
          n = places >> 28;
          characters = places >> 24 & 15;
          break;
        }
        case Where::long_slot: {
          const auto& slot = *item.long_slot;
          n = slot.count;
          for (std::size_t i = 0; i < n; ++i) put(i, slot.ids[i], slot.begin[i], slot.end[i]);
          characters = slot.characters;
          break;
        }
        case Where::apart:
          n = item.tokens;
          for (std::size_t i = 0; i < n; ++i) put(i, item.apart[i].id, item.apart[i].begin, item.apart[i].end);
          characters = item.characters;
          break;
        case Where::missing: {
          const Query& answer = queries_[item.query];
          const Found* found = found_.data() + answer.begin;
          n = answer.end - answer.begin;
          for (std::size_t i = 0; i < n; ++i) put(i, found[i].id, found[i].begin, found[i].end);
          characters = answer.characters;
        }
      }
      ids += n;
      if constexpr (kOffsets) offsets += n;
      if constexpr (kWords) words += n;
      at += characters;
      word += item.ends && (n || empty_counts_);
    }
    out_.ids.end_at(ids);
    if constexpr (kOffsets) out_.offsets.end_at(offsets);
    if constexpr (kWords) out_.words.end_at(words);
    at_ = at;
    word_ = word;
  }

  static constexpr std::uint8_t kNothing = 255;

  WordCache& cache_;
  std::vector<Found>& found_;
  Tokens& out_;
  const char* limit_;
  std::uint32_t at_, word_;
  bool empty_counts_;
  Find& find_;
  std::size_t count_ = 0, queried_ = 0, missing_ = 0, many_ = 0;
  std::array<Item, kBatch> items_;
  std::array<Query, kBatch> queries_;
  std::array<std::uint8_t, kBatch> missing_items_;
  std::array<std::uint8_t, 256> asked_;  // by hash, the item that asked first
};

}  // namespace enfold::tok
