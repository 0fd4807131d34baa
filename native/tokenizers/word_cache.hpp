#pragma once

#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "rows.hpp"

namespace enfold::tok {

// A word's tokens as they were found; kept in the cache if they fit.
struct Found {
  Id id;
  std::uint32_t begin, end;  // characters of the word
};

// Tokens of words seen before. Bounded: every word has one slot, a newcomer takes it over. Short words, which are most,
// have small slots of their own.
class WordCache {
 public:
  static constexpr std::size_t kShortKey = 15, kLongKey = 31;  // bytes
  static constexpr std::size_t kShortTokens = 3, kLongTokens = 5;
  struct Short {
    std::uint64_t key[2];  // the word's bytes, zeros behind them, and in the last byte its length
    Id ids[kShortTokens];
    std::uint32_t places;  // four bits each: begin and end of the tokens, characters of the word; then the count
  };
  struct Long {
    std::uint64_t key[4];
    Id ids[kLongTokens];
    std::uint8_t begin[kLongTokens], end[kLongTokens];
    std::uint8_t characters, count;
  };
  static_assert(sizeof(Short) == 32 && sizeof(Long) == 64);

  Short& short_slot(std::uint64_t hash) { return short_.get()[hash & (kShortSlots - 1)]; }
  Long& long_slot(std::uint64_t hash) { return long_.get()[hash & (kLongSlots - 1)]; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  // Pages that no word has touched cost nothing.
  template <typename T>
  static std::unique_ptr<T, Free> cleared(std::size_t n) {
    void* p = std::calloc(n, sizeof(T));
    if (!p) throw std::bad_alloc();
    return std::unique_ptr<T, Free>(static_cast<T*>(p));
  }
  static constexpr std::size_t kShortSlots = 1 << 16, kLongSlots = 1 << 14;
  std::unique_ptr<Short, Free> short_ = cleared<Short>(kShortSlots);
  std::unique_ptr<Long, Free> long_ = cleared<Long>(kLongSlots);
};

namespace detail {

// Bytes [0, n) of `p` with zeros behind them and `mark` as the last byte.
template <std::size_t kWords>
inline void load_key(const char* p, std::size_t n, const char* limit, unsigned mark, std::uint64_t (&key)[kWords]) {
  constexpr std::size_t kBytes = 8 * kWords;
  if (std::endian::native == std::endian::little && p + kBytes <= limit) {
    for (std::size_t k = 0; k < kWords; ++k) {
      const std::size_t left = n > 8 * k ? n - 8 * k : 0;
      key[k] = load64(p + 8 * k) & (left >= 8 ? ~0ull : (1ull << 8 * left) - 1);
    }
    key[kWords - 1] |= static_cast<std::uint64_t>(mark) << 56;
    return;
  }
  char copy[kBytes] = {};
  std::memcpy(copy, p, n);
  copy[kBytes - 1] = static_cast<char>(mark);
  for (std::size_t k = 0; k < kWords; ++k) key[k] = load64(copy + 8 * k);
}

}  // namespace detail

// A word that the cache lacks. Whoever answers appends its tokens to a list and tells where, and its characters.
struct Query {
  const char* p;
  std::uint32_t n;
  bool variant;
  std::uint32_t characters, begin, end;
};

// Words on their way to tokens. They are looked up some at a time, so that the memory of their slots is on its way
// while others are worked on. `find(queries, count, found)` answers what the cache can't.
template <typename Find>
class Words {
 public:
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
      item.slot = &cache_.short_slot(mix(key[0] ^ 0x9E3779B97F4A7C15ull, key[1] ^ 0xD6E8FEB86659FD93ull));
      prefetch(item.slot);
    } else if (n <= WordCache::kLongKey) {
      detail::load_key(p, n, limit_, mark, item.key);
      const std::uint64_t h = mix(item.key[0] ^ 0x9E3779B97F4A7C15ull, item.key[1] ^ 0xD6E8FEB86659FD93ull) ^
                              mix(item.key[2] ^ 0x8BB84B93962EACC9ull, item.key[3] ^ 0x4B33A62ED433D4A3ull);
      item.slot = &cache_.long_slot(h ^ h >> 32);
      prefetch(item.slot);
    }
    if (count_ == kBatch) flush();
  }

  void flush() {
    Query queries[kBatch];
    std::size_t missing = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      if (holds(items_[i])) continue;
      queries[missing++] = {items_[i].p, items_[i].n, items_[i].variant, 0, 0, 0};
    }
    found_.clear();
    if (missing) find_(queries, missing, found_);
    out_.reserve(found_.size() + count_ * WordCache::kLongTokens);
    const Query* answer = queries;
    for (std::size_t i = 0; i < count_; ++i) {
      const Item& item = items_[i];
      at_ += item.gap;
      std::size_t tokens;
      if (answer < queries + missing && answer->p == item.p) {
        tokens = push(*answer);
        keep(item, *answer++);
      } else if (holds(item)) {
        tokens = item.n <= WordCache::kShortKey ? take_short(item) : take_long(item);
      } else {
        // A word of this batch has taken the slot over.
        Query query{item.p, item.n, item.variant, 0, 0, 0};
        find_(&query, 1, found_);
        out_.reserve(found_.size() + count_ * WordCache::kLongTokens);
        tokens = push(query);
      }
      word_ += item.ends && (tokens || empty_counts_);
    }
    count_ = 0;
  }

 private:
  static constexpr std::size_t kBatch = 32;
  struct Item {
    const char* p;
    void* slot;
    std::uint64_t key[4];
    std::uint32_t n, gap;
    bool ends, variant;
  };

  bool holds(const Item& item) const {
    if (item.n <= WordCache::kShortKey) {
      const auto& slot = *static_cast<const WordCache::Short*>(item.slot);
      return slot.key[0] == item.key[0] && slot.key[1] == item.key[1];
    }
    if (item.n > WordCache::kLongKey) return false;
    const auto& slot = *static_cast<const WordCache::Long*>(item.slot);
    return slot.key[0] == item.key[0] && slot.key[1] == item.key[1] && slot.key[2] == item.key[2] &&
           slot.key[3] == item.key[3];
  }

  void keep(const Item& item, const Query& answer) {
    const std::size_t n = answer.end - answer.begin;
    const Found* found = found_.data() + answer.begin;
    if (item.n <= WordCache::kShortKey) {
      if (n > WordCache::kShortTokens) return;
      auto& slot = *static_cast<WordCache::Short*>(item.slot);
      slot.key[0] = item.key[0];
      slot.key[1] = item.key[1];
      slot.places = static_cast<std::uint32_t>(answer.characters << 24 | n << 28);
      for (std::size_t i = 0; i < n; ++i) {
        slot.ids[i] = found[i].id;
        slot.places |= (found[i].begin | found[i].end << 4) << 8 * i;
      }
    } else if (item.n <= WordCache::kLongKey && n <= WordCache::kLongTokens) {
      auto& slot = *static_cast<WordCache::Long*>(item.slot);
      std::copy(std::begin(item.key), std::end(item.key), slot.key);
      slot.characters = static_cast<std::uint8_t>(answer.characters);
      slot.count = static_cast<std::uint8_t>(n);
      for (std::size_t i = 0; i < n; ++i) {
        slot.ids[i] = found[i].id;
        slot.begin[i] = static_cast<std::uint8_t>(found[i].begin);
        slot.end[i] = static_cast<std::uint8_t>(found[i].end);
      }
    }
  }

  void put(Id id, std::uint32_t begin, std::uint32_t end) {
    out_.put(id, {at_ + begin, at_ + end}, static_cast<std::int32_t>(word_));
  }

  // Each writes the tokens of a word and returns how many.
  std::size_t take_short(const Item& item) {
    const auto& slot = *static_cast<const WordCache::Short*>(item.slot);
    const std::uint32_t places = slot.places;
    const std::size_t n = places >> 28;
    if (n == 1) {
      put(slot.ids[0], places & 15, places >> 4 & 15);
    } else {
      for (std::size_t i = 0; i < n; ++i) put(slot.ids[i], places >> 8 * i & 15, places >> (8 * i + 4) & 15);
    }
    at_ += places >> 24 & 15;
    return n;
  }
  std::size_t take_long(const Item& item) {
    const auto& slot = *static_cast<const WordCache::Long*>(item.slot);
    for (std::size_t i = 0; i < slot.count; ++i) put(slot.ids[i], slot.begin[i], slot.end[i]);
    at_ += slot.characters;
    return slot.count;
  }
  std::size_t push(const Query& answer) {
    for (std::size_t i = answer.begin; i < answer.end; ++i) put(found_[i].id, found_[i].begin, found_[i].end);
    at_ += answer.characters;
    return answer.end - answer.begin;
  }

  WordCache& cache_;
  std::vector<Found>& found_;
  Tokens& out_;
  const char* limit_;
  std::uint32_t at_, word_;
  bool empty_counts_;
  Find& find_;
  std::size_t count_ = 0;
  std::array<Item, kBatch> items_;
};

}  // namespace enfold::tok
