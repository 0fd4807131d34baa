#pragma once

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "unicode.hpp"
#include "whole_words.hpp"
#include "word_cache.hpp"

namespace enfold::tok {

// A word that the cache lacks. Whoever answers appends its tokens to a list and tells where, and its characters.
struct Query {
  const char* p;
  const std::uint64_t* key;  // as the cache has it, if it is short enough for that
  std::uint64_t hash;
  std::uint32_t n;
  bool variant;
  std::uint32_t characters, begin, end;
};

// Answers a query. `each(f)` calls f(id, bytes) for each token of the word; one that begins or ends within a character
// takes the whole of it.
template <typename Each>
void answer(Query& query, Each&& each, Buffer<Found>& found) {
  query.begin = static_cast<std::uint32_t>(found.size());
  found.reserve(found.size() + query.n);  // no token is empty
  std::uint32_t begun = 0;  // characters that have begun before this byte
  const char* p = query.p;
  each([&](Id id, std::uint32_t bytes) {
    const std::uint32_t first = begun - unicode::is_continuation(*p);
    for (const char* const stop = p + bytes; p < stop; ++p) begun += !unicode::is_continuation(*p);
    found.put({id, first, begun});
  });
  query.end = static_cast<std::uint32_t>(found.size());
  query.characters = begun;
}

inline constexpr std::size_t kWordBatch = 512;  // words that are looked up together

// Words on their way to tokens. They are looked up some at a time, so that the memory of what is known of them is on
// its way while others are worked on. `find(queries, count, found)` answers what is not.
template <typename Find>
class Words {
 public:
  // `whole`: short words that are one token, null for none. Those of ASCII, which a text is full of if it has any, are
  // looked for here before the cache; about others `find` is asked.
  // `empty_counts`: a word without any token takes a number all the same.
  Words(WordCache& cache, const WholeWords* whole, Buffer<Found>& found, Tokens& out, const char* limit,
        std::uint32_t at, std::uint32_t word, bool empty_counts, Find& find)
      : cache_(cache),
        whole_(whole),
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
    item.may_be_whole = false;
    const unsigned mark = static_cast<unsigned>(n | (variant ? 0x80u : 0u));
    if (n <= WordCache::kShortKey) {
      std::uint64_t key[2];
      detail::load_key(p, n, limit_, mark, key);
      item.key[0] = key[0];
      item.key[1] = key[1];
      item.hash = WordCache::hash_short(key);
      if (whole_ && n <= WholeWords::kShort && !variant && !((p[0] | p[n > 1]) & 0x80)) {
        item.may_be_whole = true;
        whole_->prefetch_short(item.hash);
      } else {
        prefetch(cache_.short_slots(item.hash));
      }
    } else if (n <= WordCache::kLongKey) {
      detail::load_key(p, n, limit_, mark, item.key);
      item.hash = WordCache::hash_long(item.key);
      const auto* slots = cache_.long_slots(item.hash);
      prefetch(slots);
      prefetch(slots + 1);
    } else {
      item.hash = hash_bytes(p, n);
    }
    if (count_ == kWordBatch) flush();
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
      if (item.first) keep(item);
    }
    count_ = 0;
  }

 private:
  enum class Where : std::uint8_t { few, long_slot, apart, longest, missing };
  // Up to three tokens of a word, with their places as WordCache::Short has them.
  struct Few {
    Id ids[WordCache::kShortTokens];
    std::uint32_t places;
  };
  static_assert(sizeof(Few) == 16);
  struct Item {
    const char* p;
    std::uint64_t key[4];
    union {
      std::uint64_t hash;  // before look_up(), and of missing words
      Few few;             // after it
      const WordCache::Long* long_slot;
      const WordCache::Apart* apart;
      const WordCache::Longest* longest;
    };
    std::uint32_t n, gap;
    std::uint16_t query;              // of a missing word
    std::uint8_t tokens, characters;  // of a word whose tokens lie apart
    Where where;
    bool ends, variant, first;  // the first of its kind in the batch
    bool may_be_whole;
  };

  void look_up() {
    queried_ = missing_ = many_ = 0;
    std::size_t others = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      Item& item = items_[i];
      if (item.may_be_whole) {
        if (const auto* word = whole_->find_short(item.hash, item.key)) {
          item.where = Where::few;
          item.few.ids[0] = word->id;
          item.few.places = 1u << 28 | word->characters() * (1u << 24 | 1u << 4);
          continue;
        }
        prefetch(cache_.short_slots(item.hash));
      }
      others_[others++] = static_cast<std::uint16_t>(i);
    }
    for (std::size_t k = 0; k < others; ++k) {
      if (!look_in_cache(items_[others_[k]])) ask(others_[k]);
    }
  }

  bool look_in_cache(Item& item) {
    const std::uint64_t hash = item.hash;
    if (item.n <= WordCache::kShortKey) {
      const auto* slot = WordCache::find(cache_.short_slots(hash), item.key);
      if (!slot) return false;
      const std::size_t n = slot->places >> 28;
      if (n > WordCache::kShortTokens) return find_apart(item, slot->ids, n, slot->places >> 24 & 15);
      item.where = Where::few;
      static_assert(offsetof(WordCache::Short, places) == offsetof(WordCache::Short, ids) + offsetof(Few, places));
      std::memcpy(&item.few, reinterpret_cast<const char*>(slot) + offsetof(WordCache::Short, ids), sizeof item.few);
    } else if (item.n <= WordCache::kLongKey) {
      const auto* slot = WordCache::find(cache_.long_slots(hash), item.key);
      if (!slot) return false;
      const std::size_t n = slot->count;
      if (n > WordCache::kLongTokens) return find_apart(item, slot->ids, n, slot->characters);
      item.where = Where::long_slot;
      item.long_slot = slot;
    } else {
      const auto* word = cache_.find_longest(hash, {item.p, item.n}, item.variant);
      if (!word) return false;
      item.where = Where::longest;
      item.longest = word;
      many_ += word->tokens.size();
    }
    return true;
  }

  bool find_apart(Item& item, const Id* ids, std::size_t n, std::uint32_t characters) {
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
  void ask(std::uint16_t i) {
    Item& item = items_[i];
    item.where = Where::missing;
    item.first = true;
    missing_items_[missing_++] = i;
    if (queried_ == 0) asked_.fill(kNothing);
    std::uint16_t& same = asked_[(item.hash >> 16) % asked_.size()];
    if (same != kNothing && equal(item, items_[same])) {
      item.first = false;
      item.query = items_[same].query;
      return;
    }
    same = i;
    item.query = static_cast<std::uint16_t>(queried_);
    queries_[queried_++] = {item.p, item.key, item.hash, item.n, item.variant, 0, 0, 0};
  }

  static bool equal(const Item& a, const Item& b) {
    if (a.n != b.n) return false;
    if (a.n <= WordCache::kLongKey) return std::equal(a.key, a.key + (a.n <= WordCache::kShortKey ? 2 : 4), b.key);
    return a.variant == b.variant && std::equal(a.p, a.p + a.n, b.p);
  }

  void keep(const Item& item) {
    const Query& answer = queries_[item.query];
    const Found* const tokens = found_.data() + answer.begin;
    const std::size_t n = answer.end - answer.begin;
    if (item.n <= WordCache::kLongKey) return cache_.add(item.key, item.n, answer.characters, tokens, n);
    cache_.add_longest(item.hash, {item.p, item.n}, item.variant, answer.characters, tokens, n);
  }

  // Where the next token goes.
  struct Cursor {
    Id* ids;
    Span* offsets;
    std::int32_t* words;
    std::uint32_t at, word;
  };

  // Writes all tokens that there might be and as many after them as make four, which is faster than to ask how many
  // there are.
  template <bool kOffsets, bool kWords>
  static void put_few(const Few& few, const Cursor& to) {
    const std::uint32_t begins = few.places & 0x0F0F0Fu, ends = few.places >> 4 & 0x0F0F0Fu;
#if defined(__SSE2__)
    const auto store = [](void* p, __m128i value) { _mm_storeu_si128(static_cast<__m128i*>(p), value); };
    store(to.ids, _mm_loadu_si128(reinterpret_cast<const __m128i*>(few.ids)));
    if constexpr (kOffsets) {
      const __m128i zero = _mm_setzero_si128(), at = _mm_set1_epi32(static_cast<int>(to.at));
      const __m128i bytes = _mm_unpacklo_epi8(_mm_cvtsi32_si128(static_cast<int>(begins)),
                                              _mm_cvtsi32_si128(static_cast<int>(ends)));
      const __m128i halves = _mm_unpacklo_epi8(bytes, zero);
      store(to.offsets, _mm_add_epi32(_mm_unpacklo_epi16(halves, zero), at));
      store(to.offsets + 2, _mm_add_epi32(_mm_unpackhi_epi16(halves, zero), at));
    }
    if constexpr (kWords) store(to.words, _mm_set1_epi32(static_cast<int>(to.word)));
#else
    for (std::size_t i = 0; i < WordCache::kShortTokens; ++i) {
      to.ids[i] = few.ids[i];
      if constexpr (kOffsets) to.offsets[i] = {to.at + (begins >> 8 * i & 15), to.at + (ends >> 8 * i & 15)};
      if constexpr (kWords) to.words[i] = static_cast<std::int32_t>(to.word);
    }
#endif
  }

  template <bool kOffsets, bool kWords, typename Token>
  static void put_all(const Token* tokens, std::size_t n, const Cursor& to) {
    for (std::size_t i = 0; i < n; ++i) {
      to.ids[i] = tokens[i].id;
      if constexpr (kOffsets) to.offsets[i] = {to.at + tokens[i].begin, to.at + tokens[i].end};
      if constexpr (kWords) to.words[i] = static_cast<std::int32_t>(to.word);
    }
  }

  // Writes the tokens of a word that are not few; returns how many there are and sets the word's characters.
  template <bool kOffsets, bool kWords>
  std::size_t put_many(const Item& item, const Cursor& to, std::uint32_t& characters) const {
    switch (item.where) {
      case Where::few: break;
      case Where::long_slot: {
        const auto& slot = *item.long_slot;
        for (std::size_t i = 0; i < slot.count; ++i) {
          const Found token{slot.ids[i], slot.begin[i], slot.end[i]};
          put_all<kOffsets, kWords>(&token, 1, {to.ids + i, to.offsets + i, to.words + i, to.at, to.word});
        }
        characters = slot.characters;
        return slot.count;
      }
      case Where::apart:
        put_all<kOffsets, kWords>(item.apart, item.tokens, to);
        characters = item.characters;
        return item.tokens;
      case Where::longest:
        put_all<kOffsets, kWords>(item.longest->tokens.data(), item.longest->tokens.size(), to);
        characters = item.longest->characters;
        return item.longest->tokens.size();
      case Where::missing: break;
    }
    const Query& answer = queries_[item.query];
    put_all<kOffsets, kWords>(found_.data() + answer.begin, answer.end - answer.begin, to);
    characters = answer.characters;
    return answer.end - answer.begin;
  }

  template <bool kOffsets, bool kWords>
  void write() {
    Cursor to{out_.ids.end(), out_.offsets.end(), out_.words.end(), at_, word_};
    for (std::size_t k = 0; k < count_; ++k) {
      const Item& item = items_[k];
      to.at += item.gap;
      std::size_t n;
      std::uint32_t characters;
      if (item.where == Where::few) {
        put_few<kOffsets, kWords>(item.few, to);
        n = item.few.places >> 28;
        characters = item.few.places >> 24 & 15;
      } else {
        n = put_many<kOffsets, kWords>(item, to, characters);
      }
      to.ids += n;
      if constexpr (kOffsets) to.offsets += n;
      if constexpr (kWords) to.words += n;
      to.at += characters;
      to.word += item.ends && (n || empty_counts_);
    }
    out_.ids.end_at(to.ids);
    if constexpr (kOffsets) out_.offsets.end_at(to.offsets);
    if constexpr (kWords) out_.words.end_at(to.words);
    at_ = to.at;
    word_ = to.word;
  }

  static constexpr std::uint16_t kNothing = 0xFFFF;

  WordCache& cache_;
  const WholeWords* whole_;
  Buffer<Found>& found_;
  Tokens& out_;
  const char* limit_;
  std::uint32_t at_, word_;
  bool empty_counts_;
  Find& find_;
  std::size_t count_ = 0, queried_ = 0, missing_ = 0, many_ = 0;
  std::array<Item, kWordBatch> items_;
  std::array<Query, kWordBatch> queries_;
  std::array<std::uint16_t, kWordBatch> others_;  // items that the table of whole words does not have
  std::array<std::uint16_t, kWordBatch> missing_items_;
  std::array<std::uint16_t, kWordBatch> asked_;  // by hash, the item that asked first
};

}  // namespace enfold::tok
