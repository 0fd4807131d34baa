#include "byte_words.hpp"

#include <algorithm>
#include <bit>
#include <optional>

#include "byte_level.hpp"
#include "derivations.hpp"

namespace enfold::tok {

std::unique_ptr<const ByteWords> ByteWords::make(const Bpe& model) {
  auto made = std::unique_ptr<ByteWords>(new ByteWords(model));
  for (unsigned b = 0; b < 256; ++b) {
    std::string name;
    unicode::append(name, byte_level::kTable.character[b]);
    made->bytes_[b] = model.vocab.find(name);
    made->missing_[b] = made->bytes_[b] == kNoId;
    made->any_missing_ |= made->missing_[b];
  }
  made->characters_.assign(65536, kNoId);
  made->first_use_.assign(65536, Bpe::kNever);
  if (model.ignores_merges() || !model.vocab.has_shared_ids()) {
    const std::size_t slots = std::bit_ceil(model.vocab.size() * 3 / 2);
    made->whole_.assign(slots, Entry{0, 0, kNoId});
    made->whole_mask_ = slots - 1;
    made->longest_.assign(65536, 0);
    std::size_t many = 0;
    model.vocab.each([&](std::string_view token, Id) { many += token.size() > kInline; });
    made->long_whole_.assign(std::bit_ceil(many * 2 + 1), Long{});
    made->long_mask_ = made->long_whole_.size() - 1;
  }
  std::optional<Derivations> derivations;
  if (!model.ignores_merges()) derivations.emplace(model);
  std::string bytes;
  model.vocab.each([&](std::string_view token, Id id) {
    if (byte_level::bytes_of(token, bytes)) made->read_token(bytes, id, !derivations || derivations->makes(id));
  });
  for (std::size_t k = 0; k < made->waiting_.size(); ++k) {
    const Entry& waiting = made->waiting_[(made->waiting_at_ + k) % made->waiting_.size()];
    if (waiting.high) *made->entry(waiting.low, waiting.high) = waiting;
  }
  made->read_characters();
  return made;
}

bool ByteWords::spells(std::string_view text) const {
  return !any_missing_ ||
         std::none_of(text.begin(), text.end(), [&](char c) { return missing_[static_cast<unsigned char>(c)]; });
}

void ByteWords::read_token(std::string_view bytes, Id id, bool is_whole) {
  if (bytes.empty()) return;
  is_whole = is_whole && !whole_.empty();
  if (is_whole) {
    auto& longest = longest_[start_of(bytes.data(), bytes.size())];
    longest = static_cast<std::uint8_t>(std::min<std::size_t>(std::max<std::size_t>(longest, bytes.size()), 255));
  }
  if (is_whole && bytes.size() > kInline) {
    const std::uint64_t hash = hash_bytes(bytes.data(), bytes.size());
    std::size_t i = hash & long_mask_;
    while (long_whole_[i].id != kNoId) i = (i + 1) & long_mask_;
    long_whole_[i] = {hash, id};
  } else if (is_whole) {
    std::uint64_t key[2];
    detail::load_key(bytes.data(), bytes.size(), bytes.data() + bytes.size(), 0, key);
    const Entry made{key[0], static_cast<std::uint32_t>(key[1] | bytes.size() << 24), id};
    prefetch(&whole_[place_of(made.low, made.high)]);
    // It is written when its memory has come.
    Entry& waiting = waiting_[waiting_at_++ % waiting_.size()];
    if (waiting.high) *entry(waiting.low, waiting.high) = waiting;
    waiting = made;
  }
  if (bytes.size() < 2) return;
  if (bytes.size() == 2) {
    const auto a = static_cast<unsigned char>(bytes[0]), b = static_cast<unsigned char>(bytes[1]);
    starts_[static_cast<std::size_t>(a) << 8 | b] = model_.merges().rank(bytes_[a], bytes_[b]);
  }
  if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return;
  const std::uint32_t rank = model_.first_rank(id);
  std::size_t left = 0;  // start of the character before the boundary
  bool left_whole = !unicode::is_continuation(bytes[0]);
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    std::size_t n = 1;
    while (i + n < bytes.size() && unicode::is_continuation(bytes[i + n]) && n < 4) ++n;
    const bool starts = !unicode::is_continuation(bytes[i]);
    const bool whole = starts && n == unicode::length(lead);
    if (i > 0 && (lead >= 0x80 || static_cast<unsigned char>(bytes[i - 1]) >= 0x80)) {
      boundaries_.set(place(bytes.data() + left, i - left, bytes.data() + i, n));
      if (!left_whole || !whole) partial_[coarse(bytes[i - 1], bytes[i])] |= kind(i - left, n);
    }
    if (whole && (n == 2 || n == 3)) {
      const char32_t c = unicode::decode(bytes.data() + i);
      if (n == bytes.size())
        characters_[c] = id;
      else
        first_use_[c] = std::min(first_use_[c], rank);
    }
    left = i;
    left_whole = whole;
    i += n;
  }
}

// Keeps the characters that may be taken for one symbol from the start: their merges come before any that joins them
// with something else.
void ByteWords::read_characters() {
  for (std::size_t c = 0x80; c < characters_.size(); ++c) {
    if (characters_[c] == kNoId) continue;
    char text[4];
    const std::size_t n = unicode::encode(static_cast<char32_t>(c), text);
    Id ids[3];
    for (std::size_t i = 0; i < n; ++i) ids[i] = bytes_[static_cast<unsigned char>(text[i])];
    const MergeTable& merges = model_.merges();
    const auto made = [&](std::uint32_t rank) { return rank == Bpe::kNever ? kNoId : merges.made(rank); };
    std::uint32_t rank = starts_[coarse(text[0], text[1])], latest = rank;
    if (n == 3) {
      const std::uint32_t other = starts_[coarse(text[1], text[2])];
      rank = rank <= other ? merges.rank(made(rank), ids[2]) : merges.rank(ids[0], made(other));
      latest = std::max(std::min(latest, other), rank);
    }
    if (made(rank) != characters_[c] || latest >= first_use_[c]) characters_[c] = kNoId;
  }
  first_use_ = {};
}

std::size_t ByteWords::place_of(std::uint64_t low, std::uint32_t high) const {
  return mix(low ^ 0x9E3779B97F4A7C15ull, high ^ 0xD6E8FEB86659FD93ull) & whole_mask_;
}

std::size_t ByteWords::place_of(const char* p, std::size_t n) const {
  std::uint64_t key[2];
  detail::load_key(p, n, p + n, 0, key);
  return place_of(key[0], static_cast<std::uint32_t>(key[1] | n << 24));
}

ByteWords::Entry* ByteWords::entry(std::uint64_t low, std::uint32_t high) {
  std::size_t i = place_of(low, high);
  while (whole_[i].high && (whole_[i].low != low || whole_[i].high != high)) i = (i + 1) & whole_mask_;
  return &whole_[i];
}

Id ByteWords::whole(const char* p, std::size_t n, std::string& spelled) const {
  if (too_long(p, n)) return kNoId;
  if (n <= kInline) {
    std::uint64_t key[2];
    detail::load_key(p, n, p + n, 0, key);
    return const_cast<ByteWords*>(this)->entry(key[0], static_cast<std::uint32_t>(key[1] | n << 24))->id;
  }
  const std::uint64_t hash = hash_bytes(p, n);
  for (std::size_t i = hash & long_mask_; long_whole_[i].id != kNoId; i = (i + 1) & long_mask_) {
    if (long_whole_[i].hash != hash) continue;
    spelled.clear();
    for (std::size_t k = 0; k < n; ++k) {
      unicode::append(spelled, byte_level::kTable.character[static_cast<unsigned char>(p[k])]);
    }
    if (const Id id = model_.vocab.find(spelled); id != kNoId) return id;
  }
  return kNoId;
}

void ByteWords::prefetch_whole(const char* p, std::size_t n) const {
  if (too_long(p, n)) return;
  if (n <= kInline) prefetch(&whole_[place_of(p, n)]);
  else prefetch(&long_whole_[hash_bytes(p, n) & long_mask_]);
}

// Calls add(id, bytes) for each symbol that a word's merges start from.
template <typename Add>
void ByteWords::start(const Query& query, Add&& add) const {
  const char* const end = query.p + query.n;
  bool clean = true;  // no token reaches over the boundary before this character with a part of it
  for (const char* q = query.p; q < end;) {
    const auto lead = static_cast<unsigned char>(*q);
    const std::size_t size = unicode::length(lead);
    bool clean_behind = true;
    if (q + size < end) {
      const auto next = static_cast<unsigned char>(q[size]);
      if (lead >= 0x80 || next >= 0x80) clean_behind = !breaks(q, size, q + size, unicode::length(next));
    }
    const Id id = size == 2 || size == 3 ? characters_[unicode::decode(q)] : kNoId;
    if (id != kNoId && clean && clean_behind) {
      add(id, size);
    } else {
      for (std::size_t i = 0; i < size; ++i) add(bytes_[static_cast<unsigned char>(q[i])], std::size_t{1});
    }
    clean = clean_behind;
    q += size;
  }
}

void ByteWords::find(Query* queries, std::size_t n, std::vector<Found>& found, MergeQueries& merging,
                     std::string& spelled) const {
  const bool look_whole = !whole_.empty();
  if (look_whole && n > 1) {
    for (const Query* query = queries; query < queries + n; ++query) {
      if (!query->variant) prefetch_whole(query->p, query->n);
    }
  }
  merging.clear();
  for (Query* query = queries; query < queries + n; ++query) {
    if (look_whole && !query->variant) {
      if (const Id id = whole(query->p, query->n, spelled); id != kNoId) {
        query->characters = static_cast<std::uint32_t>(unicode::count({query->p, query->n}));
        query->begin = static_cast<std::uint32_t>(found.size());
        query->end = query->begin + 1;
        found.push_back({id, 0, query->characters});
        continue;
      }
    }
    // Two bytes have a table of their own.
    merging.add(
        model_, *query, [&](auto&& add) { start(*query, add); }, [](int bytes) { return bytes > 2; }, found);
  }
  merging.run(
      model_,
      [&](const char* p, Id a, Id b, int bytes) {
        return bytes > 2 ? model_.merges().rank(a, b) : starts_[coarse(p[0], p[1])];
      },
      found);
}

}  // namespace enfold::tok
