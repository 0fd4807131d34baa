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
  slots_.assign(slots, Slot{0, 0, kEmpty});
  mask_ = slots - 1;
  for (std::uint32_t e = 0; e < entries_.size(); ++e) {
    const auto token = text(entries_[e]);
    const std::uint64_t h = hash_bytes(token.data(), token.size());
    std::size_t i = h & mask_;
    while (slots_[i].entry != kEmpty) i = (i + 1) & mask_;
    slots_[i] = {head_of(token), mark_of(token, h), e};
  }
}

void Vocabulary::add(std::string_view token, std::int64_t id) {
  add(token, id, hash_bytes(token.data(), token.size()));
}

void Vocabulary::add(std::string_view token, std::int64_t id, std::uint64_t hash) {
  // Ids index flat tables, so one absurd id must not ask for gigabytes.
  const auto limit = static_cast<std::int64_t>(std::max<std::size_t>(std::size_t{1} << 22, 16 * slots_.size()));
  if (id < 0 || id >= limit) {
    throw Error("the vocabulary gives '" + std::string(token) + "' the id " + std::to_string(id) +
                ", which is out of range: ids should be dense and start at 0");
  }
  if ((entries_.size() + 1) * 2 > slots_.size()) grow(std::max<std::size_t>(64, slots_.size() * 2));
  if (static_cast<std::size_t>(id) >= by_id_.size()) by_id_.resize(static_cast<std::size_t>(id) + 1, kEmpty);
  const std::size_t i = slot_of(token, hash);
  if (slots_[i].entry != kEmpty) {
    Entry& entry = entries_[slots_[i].entry];
    by_id_[static_cast<std::size_t>(entry.id)] = kEmpty;
    entry.id = static_cast<Id>(id);
    by_id_[static_cast<std::size_t>(id)] = slots_[i].entry;
    return;
  }
  const auto e = static_cast<std::uint32_t>(entries_.size());
  slots_[i] = {head_of(token), mark_of(token, hash), e};
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

namespace {
constexpr std::size_t kBlock = 32;  // look-ups whose memory is asked for at once
}

void Vocabulary::add_all(const std::pair<std::string_view, std::int64_t>* tokens, std::size_t n) {
  std::uint64_t hashes[kBlock];
  for (std::size_t start = 0; start < n; start += kBlock) {
    const std::size_t m = std::min(kBlock, n - start);
    for (std::size_t k = 0; k < m; ++k) {
      hashes[k] = hash_bytes(tokens[start + k].first.data(), tokens[start + k].first.size());
      if (!slots_.empty()) prefetch(&slots_[hashes[k] & mask_]);
    }
    for (std::size_t k = 0; k < m; ++k) add(tokens[start + k].first, tokens[start + k].second, hashes[k]);
  }
}

void Vocabulary::find_all(const std::string_view* tokens, std::size_t n, Id* out) const {
  if (slots_.empty()) {
    std::fill(out, out + n, kNoId);
    return;
  }
  std::uint64_t hashes[kBlock];
  std::size_t places[kBlock];
  for (std::size_t start = 0; start < n; start += kBlock) {
    const std::size_t m = std::min(kBlock, n - start);
    for (std::size_t k = 0; k < m; ++k) {
      hashes[k] = hash_bytes(tokens[start + k].data(), tokens[start + k].size());
      prefetch(&slots_[hashes[k] & mask_]);
    }
    for (std::size_t k = 0; k < m; ++k) {
      places[k] = slot_of(tokens[start + k], hashes[k]);
      if (const std::uint32_t entry = slots_[places[k]].entry; entry != kEmpty) prefetch(&entries_[entry]);
    }
    for (std::size_t k = 0; k < m; ++k) {
      const std::uint32_t entry = slots_[places[k]].entry;
      out[start + k] = entry == kEmpty ? kNoId : entries_[entry].id;
    }
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
