#include "vocabulary.hpp"

#include <algorithm>
#include <bit>

namespace enfold::tok {

void Vocabulary::reserve(std::size_t tokens, std::size_t bytes) {
  arena_.reserve(bytes);
  entries_.reserve(tokens);
  by_id_.reserve(tokens);
  grow(std::bit_ceil(tokens * 2 + 16));
}

void Vocabulary::grow(std::size_t slots) {
  slots_.assign(slots, Slot{0, kEmpty});
  mask_ = slots - 1;
  for (std::uint32_t e = 0; e < entries_.size(); ++e) {
    const auto token = text(entries_[e]);
    const std::uint64_t h = hash_bytes(token.data(), token.size());
    std::size_t i = h & mask_;
    while (slots_[i].entry != kEmpty) i = (i + 1) & mask_;
    slots_[i] = {static_cast<std::uint32_t>(h >> 32), e};
  }
}

void Vocabulary::add(std::string_view token, std::int64_t id) {
  // Ids index flat tables, so one absurd id must not ask for gigabytes.
  const auto limit = static_cast<std::int64_t>(std::max<std::size_t>(std::size_t{1} << 22, 16 * slots_.size()));
  if (id < 0 || id >= limit) {
    throw Error("the vocabulary gives '" + std::string(token) + "' the id " + std::to_string(id) +
                ", which is out of range: ids should be dense and start at 0");
  }
  if ((entries_.size() + 1) * 2 > slots_.size()) grow(std::max<std::size_t>(64, slots_.size() * 2));
  if (static_cast<std::size_t>(id) >= by_id_.size()) by_id_.resize(static_cast<std::size_t>(id) + 1, kEmpty);
  const std::uint64_t h = hash_bytes(token.data(), token.size());
  const auto tag = static_cast<std::uint32_t>(h >> 32);
  std::size_t i = h & mask_;
  for (; slots_[i].entry != kEmpty; i = (i + 1) & mask_) {
    Entry& entry = entries_[slots_[i].entry];
    if (slots_[i].tag == tag && text(entry) == token) {
      by_id_[static_cast<std::size_t>(entry.id)] = kEmpty;
      entry.id = static_cast<Id>(id);
      by_id_[static_cast<std::size_t>(id)] = slots_[i].entry;
      return;
    }
  }
  const auto e = static_cast<std::uint32_t>(entries_.size());
  slots_[i] = {tag, e};
  entries_.push_back(
      {static_cast<std::uint32_t>(arena_.size()), static_cast<std::uint32_t>(token.size()), static_cast<Id>(id)});
  arena_.append(token);
  if (by_id_[static_cast<std::size_t>(id)] != kEmpty) shared_ids_ = true;
  by_id_[static_cast<std::size_t>(id)] = e;
}

void Vocabulary::add_again(std::string_view token, std::int64_t id) {
  const Id before = find(token);
  const std::uint32_t entry = before == kNoId ? kEmpty : by_id_[static_cast<std::size_t>(before)];
  add(token, id);
  if (before == kNoId || before == id) return;
  by_id_[static_cast<std::size_t>(before)] = entry;
  ++again_;
}

void Vocabulary::find_all(const std::string_view* tokens, std::size_t n, Id* out) const {
  constexpr std::size_t kBlock = 32;
  const auto fetch = [](const void* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p);
#else
    (void)p;
#endif
  };
  std::uint64_t hashes[kBlock];
  std::uint32_t found[kBlock];
  for (std::size_t start = 0; start < n; start += kBlock) {
    const std::size_t m = std::min(kBlock, n - start);
    for (std::size_t k = 0; k < m; ++k) {
      hashes[k] = hash_bytes(tokens[start + k].data(), tokens[start + k].size());
      if (!slots_.empty()) fetch(&slots_[hashes[k] & mask_]);
    }
    for (std::size_t k = 0; k < m; ++k) {
      found[k] = slots_.empty() ? kEmpty : slots_[hashes[k] & mask_].entry;
      if (found[k] != kEmpty) fetch(&entries_[found[k]]);
    }
    for (std::size_t k = 0; k < m; ++k) {
      if (found[k] != kEmpty) fetch(arena_.data() + entries_[found[k]].at);
    }
    for (std::size_t k = 0; k < m; ++k) out[start + k] = find(tokens[start + k]);
  }
}

void Trie::insert(std::uint32_t node, unsigned char byte, std::uint32_t next) {
  std::size_t i = place(static_cast<std::uint64_t>(node) << 8 | byte);
  while (slots_[i].next != kNone) i = (i + 1) & mask_;
  slots_[i] = {node, next, byte};
}

void Trie::add(std::string_view key, std::uint32_t value) {
  std::uint32_t node = 0;
  for (const char byte : key) {
    std::uint32_t next = step(node, byte);
    if (next == kNone) {
      if (values_.size() * 2 > slots_.size()) {
        std::vector<Slot> old = std::move(slots_);
        slots_.assign(std::max<std::size_t>(64, old.size() * 2), Slot{0, kNone, 0});
        mask_ = slots_.size() - 1;
        for (const Slot& slot : old) {
          if (slot.next != kNone) insert(slot.node, slot.byte, slot.next);
        }
      }
      next = static_cast<std::uint32_t>(values_.size());
      values_.push_back(kNone);
      insert(node, static_cast<unsigned char>(byte), next);
    }
    node = next;
  }
  values_[node] = value;
}

}  // namespace enfold::tok
