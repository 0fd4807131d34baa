#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "errors.hpp"
#include "table_memory.hpp"

namespace enfold::tok {

using Id = std::int32_t;
inline constexpr Id kNoId = -1;

inline void prefetch(const void* p) {
#if defined(__GNUC__)
  __builtin_prefetch(p);
#else
  (void)p;
#endif
}

inline std::uint64_t load64(const char* p) {
  std::uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
#ifdef __SIZEOF_INT128__
  __extension__ using Wide = unsigned __int128;
  const Wide m = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(m) ^ static_cast<std::uint64_t>(m >> 64);
#else
  a *= 0x9E3779B97F4A7C15ull;
  a ^= (b + 0x632BE59BD9B4E019ull) * 0xD6E8FEB86659FD93ull;
  return a ^ a >> 32;
#endif
}

// All of up to eight bytes; as a number it tells them apart from others of the same length.
inline std::uint64_t load_few(const char* p, std::size_t n) {
  const auto byte = [p](std::size_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])); };
  if (n >= 4) {
    std::uint32_t first, last;
    std::memcpy(&first, p, 4);
    std::memcpy(&last, p + n - 4, 4);
    return first | static_cast<std::uint64_t>(last) << 32;
  }
  return n ? byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16 : 0;
}

inline std::uint64_t hash_bytes(const char* p, std::size_t n) {
  std::uint64_t h = n * 0x9E3779B97F4A7C15ull ^ 0x2D358DCCAA6C78A5ull;
  for (; n > 8; n -= 8, p += 8) h = mix(h ^ load64(p), 0x8BB84B93962EACC9ull);
  return mix(h ^ load_few(p, n), 0x4B33A62ED433D4A3ull);
}

// Token ⇄ id: strings in one arena, an open-addressed table of ids with the upper half of the hash beside them.
class Vocabulary {
 public:
  void reserve(std::size_t tokens, std::size_t bytes);
  // Adds a token; one that is there already gets the new id.
  void add(std::string_view token, std::int64_t id);
  // Adds a token to a list in which it may stand twice: the last id is found, the others read as the token too.
  void add_again(std::string_view token, std::int64_t id);

  // Adds many tokens, which is faster than one by one.
  void add_all(const std::pair<std::string_view, std::int64_t>* tokens, std::size_t n);

  Id find(std::string_view token) const {
    if (slots_.empty()) return kNoId;
    return find(token, hash_bytes(token.data(), token.size()));
  }
  // The id of the token left + right, if `guess` is an id of it; else kNoId.
  Id id_if(Id guess, std::string_view left, std::string_view right) const {
    if (!contains(guess)) return kNoId;
    const Entry& entry = entries_[by_id_[static_cast<std::size_t>(guess)]];
    const std::string_view token = text(entry);
    const bool same = token.size() == left.size() + right.size() && token.starts_with(left) && token.ends_with(right);
    return same ? entry.id : kNoId;
  }
  // Looks up many tokens at once: while one waits for memory, the others are fetched.
  void find_all(const std::string_view* tokens, std::size_t n, Id* out) const;
  bool contains(Id id) const {
    return static_cast<std::size_t>(id) < by_id_.size() && by_id_[static_cast<std::size_t>(id)] != kEmpty;
  }
  // The token of an id; check contains() first.
  std::string_view operator[](Id id) const { return text(entries_[by_id_[static_cast<std::size_t>(id)]]); }
  std::size_t size() const { return entries_.size() + again_; }
  std::size_t id_limit() const { return by_id_.size(); }  // one more than the largest id
  bool has_shared_ids() const { return shared_ids_; }

  template <typename F>
  void each(F&& f) const {
    for (const Entry& entry : entries_) f(text(entry), entry.id);
  }

 private:
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFFu;
  struct Entry {
    std::uint32_t at, size;
    Id id;
  };
  // The first bytes of a token, its length and a part of its hash: enough to know a short token by.
  struct Slot {
    std::uint64_t head;
    std::uint32_t mark, entry;
  };
  static std::uint64_t head_of(std::string_view token) {
    return load_few(token.data(), token.size() < 8 ? token.size() : 8);
  }
  static std::uint32_t mark_of(std::string_view token, std::uint64_t hash) {
    const std::size_t size = token.size() < 0xFFFF ? token.size() : 0xFFFF;
    return static_cast<std::uint32_t>(size | (hash >> 48) << 16);
  }
  // The slot of a token, or the empty one where it would go.
  std::size_t slot_of(std::string_view token, std::uint64_t hash) const {
    const std::uint64_t head = head_of(token);
    const std::uint32_t mark = mark_of(token, hash);
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (slot.entry == kEmpty) return i;
      if (slot.head == head && slot.mark == mark && (token.size() <= 8 || text(entries_[slot.entry]) == token)) {
        return i;
      }
    }
  }
  Id find(std::string_view token, std::uint64_t hash) const {
    const std::uint32_t entry = slots_[slot_of(token, hash)].entry;
    return entry == kEmpty ? kNoId : entries_[entry].id;
  }
  void add(std::string_view token, std::int64_t id, std::uint64_t hash);
  std::string_view text(const Entry& e) const { return {arena_.data() + e.at, e.size}; }
  void grow(std::size_t slots);

  std::string arena_;
  Table<Entry> entries_;
  std::vector<std::uint32_t> by_id_;
  Table<Slot> slots_;
  std::size_t mask_ = 0;
  std::size_t again_ = 0;  // ids of tokens that have a later one
  bool shared_ids_ = false;
};

// A set of byte strings walked byte by byte. Node 0 is the root.
class Trie {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  Trie() : values_(1, kNone) {}
  void add(std::string_view key, std::uint32_t value);
  std::uint32_t step(std::uint32_t node, char byte) const {
    if (slots_.empty()) return kNone;
    const std::uint64_t key = static_cast<std::uint64_t>(node) << 8 | static_cast<unsigned char>(byte);
    for (std::size_t i = place(key);; i = (i + 1) & mask_) {
      if (slots_[i].next == kNone) return kNone;
      if (slots_[i].node == node && slots_[i].byte == static_cast<unsigned char>(byte)) return slots_[i].next;
    }
  }
  std::uint32_t value(std::uint32_t node) const { return values_[node]; }
  std::size_t size() const { return values_.size(); }  // nodes
  bool empty() const { return values_.size() == 1 && values_[0] == kNone; }

 private:
  struct Slot {
    std::uint32_t node;
    std::uint32_t next;
    std::uint8_t byte;
  };
  std::size_t place(std::uint64_t key) const {
    return static_cast<std::size_t>(key * 0x9E3779B97F4A7C15ull >> 24) & mask_;
  }
  void insert(std::uint32_t node, unsigned char byte, std::uint32_t next);

  std::vector<std::uint32_t> values_;
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

}  // namespace enfold::tok
