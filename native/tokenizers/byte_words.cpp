#include "byte_words.hpp"

#include <algorithm>
#include <bit>

#include "byte_level.hpp"

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
  if (model.ignores_merges()) {
    const std::size_t slots = std::bit_ceil(model.vocab.size() * 2);
    made->whole_.assign(slots, Entry{0, 0, kNoId});
    made->whole_mask_ = slots - 1;
    made->longest_.assign(65536, 0);
  }
  std::string bytes;
  model.vocab.each([&](std::string_view token, Id id) {
    if (byte_level::bytes_of(token, bytes)) made->read_token(bytes, id);
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

void ByteWords::read_token(std::string_view bytes, Id id) {
  if (bytes.empty()) return;
  if (!whole_.empty()) {
    auto& longest = longest_[start_of(bytes.data(), bytes.size())];
    longest = static_cast<std::uint8_t>(std::min<std::size_t>(std::max<std::size_t>(longest, bytes.size()), 255));
  }
  if (!whole_.empty() && bytes.size() <= kInline) {
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
    if (const auto* merge = model_.find(bytes_[a], bytes_[b])) {
      starts_[static_cast<std::size_t>(a) << 8 | b] = {merge->rank, merge->id};
    }
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
    const auto start = [&](std::size_t i) {
      return starts_[static_cast<std::size_t>(static_cast<unsigned char>(text[i])) << 8 |
                     static_cast<unsigned char>(text[i + 1])];
    };
    Start last = start(0);
    std::uint32_t latest = last.rank;
    if (n == 3) {
      const Start other = start(1);
      const bool left = last.rank <= other.rank;
      if (!left) last = other;
      const Bpe::Merge* merge = nullptr;
      if (last.id != kNoId) merge = left ? model_.find(last.id, ids[2]) : model_.find(ids[0], last.id);
      latest = merge ? std::max(last.rank, merge->rank) : Bpe::kNever;
      last.id = merge ? merge->id : kNoId;
    }
    if (last.id != characters_[c] || latest >= first_use_[c]) characters_[c] = kNoId;
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
  if (const std::size_t longest = longest_[start_of(p, n)]; n > longest && longest < 255) return kNoId;
  if (n <= kInline) {
    std::uint64_t key[2];
    detail::load_key(p, n, p + n, 0, key);
    return const_cast<ByteWords*>(this)->entry(key[0], static_cast<std::uint32_t>(key[1] | n << 24))->id;
  }
  spelled.clear();
  for (std::size_t i = 0; i < n; ++i) {
    unicode::append(spelled, byte_level::kTable.character[static_cast<unsigned char>(p[i])]);
  }
  return model_.vocab.find(spelled);
}

// The symbols that a word's merges start from.
void ByteWords::start(const Query& query, std::vector<Bpe::Symbol>& symbols) const {
  symbols.clear();
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
      symbols.push_back({id, static_cast<std::uint32_t>(size)});
    } else {
      for (std::size_t i = 0; i < size; ++i) symbols.push_back({bytes_[static_cast<unsigned char>(q[i])], 1});
    }
    clean = clean_behind;
    q += size;
  }
}

void ByteWords::tokens_of(Query& query, const Bpe::Symbol* symbols, std::size_t n, std::vector<Found>& found) const {
  query.begin = static_cast<std::uint32_t>(found.size());
  // A token that begins or ends within a character takes the whole of it.
  std::uint32_t begun = 0;  // characters that have begun before this byte
  const char* p = query.p;
  for (std::size_t s = 0; s < n; ++s) {
    const std::uint32_t first = begun - unicode::is_continuation(*p);
    for (const char* const stop = p + symbols[s].size; p < stop; ++p) begun += !unicode::is_continuation(*p);
    found.push_back({symbols[s].id, first, begun});
  }
  query.end = static_cast<std::uint32_t>(found.size());
  query.characters = begun;
}

void ByteWords::find(Query* queries, std::size_t n, std::vector<Found>& found, Lanes& memory,
                     std::string& spelled) const {
  using Lane = Lanes::Lane;
  const bool look_whole = !whole_.empty();
  if (look_whole && n > 1) {
    for (const Query* query = queries; query < queries + n; ++query) {
      if (!query->variant && query->n <= kInline) prefetch(&whole_[place_of(query->p, query->n)]);
    }
  }
  if (memory.lanes.size() < n) memory.lanes.resize(n);
  auto& symbols = memory.symbols;
  Lane* const lanes = memory.lanes.data();
  std::size_t running = 0;
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
    start(*query, symbols);
    if (symbols.size() > Lanes::kMost || model_.vocab.has_shared_ids()) {
      model_.merge(symbols);
      tokens_of(*query, symbols.data(), symbols.size(), found);
      continue;
    }
    Lane& lane = lanes[running++];
    lane.query = query;
    lane.n = static_cast<std::uint32_t>(symbols.size());
    std::copy(symbols.begin(), symbols.end(), lane.symbols);
    for (std::size_t i = 0; i + 1 < lane.n; ++i) {
      if (lane.symbols[i].size > 1 || lane.symbols[i + 1].size > 1) {
        model_.prefetch(lane.symbols[i].id, lane.symbols[i + 1].id);
      }
    }
  }
  const auto look = [&](Lane& lane, std::size_t i) {
    const Bpe::Merge* merge = i + 1 < lane.n ? model_.find(lane.symbols[i].id, lane.symbols[i + 1].id) : nullptr;
    lane.ranks[i] = merge ? merge->rank : Bpe::kNever;
    lane.made[i] = merge ? merge->id : kNoId;
  };
  // Applies the merge of lowest rank, if there is one, and asks for the memory that the next will need.
  const auto step = [&](Lane& lane) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < lane.n; ++i) {
      if (lane.ranks[i] < lane.ranks[best]) best = i;
    }
    if (lane.n < 2 || lane.ranks[best] == Bpe::kNever) return false;
    lane.symbols[best].id = lane.made[best];
    lane.symbols[best].size += lane.symbols[best + 1].size;
    --lane.n;
    for (std::size_t i = best + 1; i < lane.n; ++i) {
      lane.symbols[i] = lane.symbols[i + 1];
      lane.ranks[i] = lane.ranks[i + 1];
      lane.made[i] = lane.made[i + 1];
    }
    if (best + 1 < lane.n) model_.prefetch(lane.symbols[best].id, lane.symbols[best + 1].id);
    if (best) model_.prefetch(lane.symbols[best - 1].id, lane.symbols[best].id);
    lane.changed = static_cast<std::uint32_t>(best);
    return true;
  };
  std::uint8_t active[256];
  std::size_t still = 0;
  for (std::size_t k = 0; k < running; ++k) {
    Lane& lane = lanes[k];
    const char* p = lane.query->p;
    for (std::size_t i = 0; i < lane.n; ++i) {
      if (i + 1 < lane.n && lane.symbols[i].size == 1 && lane.symbols[i + 1].size == 1) {
        const Start& merge = starts_[coarse(p[0], p[1])];
        lane.ranks[i] = merge.rank;
        lane.made[i] = merge.id;
      } else {
        look(lane, i);
      }
      p += lane.symbols[i].size;
    }
    if (step(lane)) active[still++] = static_cast<std::uint8_t>(k);
  }
  while (still) {
    std::size_t left = 0;
    for (std::size_t k = 0; k < still; ++k) {
      Lane& lane = lanes[active[k]];
      look(lane, lane.changed);
      if (lane.changed) look(lane, lane.changed - 1);
      if (step(lane)) active[left++] = active[k];
    }
    still = left;
  }
  for (std::size_t k = 0; k < running; ++k) tokens_of(*lanes[k].query, lanes[k].symbols, lanes[k].n, found);
}

}  // namespace enfold::tok
