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
    if (made->bytes_[b] == kNoId) return nullptr;
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
  made->read_characters();
  return made;
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
    *entry(key[0], static_cast<std::uint32_t>(key[1] | bytes.size() << 24)) = {
        key[0], static_cast<std::uint32_t>(key[1] | bytes.size() << 24), id};
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
  std::size_t left = 0;        // start of the character before the boundary
  bool left_whole = !unicode::is_continuation(bytes[0]);
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    std::size_t n = 1;
    while (i + n < bytes.size() && unicode::is_continuation(bytes[i + n]) && n < 4) ++n;
    const bool starts = !unicode::is_continuation(bytes[i]);
    const bool whole = starts && n == unicode::length(lead);
    if (i > 0 && (lead >= 0x80 || static_cast<unsigned char>(bytes[i - 1]) >= 0x80)) {
      boundaries_.set(place(bytes.data() + left, i - left, bytes.data() + i, n));
      if (!left_whole || !whole) partial_.set(coarse(bytes[i - 1], bytes[i]));
    }
    if (whole && (n == 2 || n == 3)) {
      const char32_t c = unicode::decode(bytes.data() + i);
      if (n == bytes.size()) characters_[c] = id;
      else first_use_[c] = std::min(first_use_[c], rank);
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

bool ByteWords::breaks_indeed(const char* left, std::size_t left_size, const char* right,
                              std::size_t right_size) const {
  for (std::size_t n = 1; n <= left_size; ++n) {
    for (std::size_t m = 1; m <= right_size; ++m) {
      if (n == left_size && m == right_size) continue;
      if (boundaries_.get(place(left + left_size - n, n, right, m))) return true;
    }
  }
  return false;
}

ByteWords::Entry* ByteWords::entry(std::uint64_t low, std::uint32_t high) {
  std::size_t i = mix(low ^ 0x9E3779B97F4A7C15ull, high ^ 0xD6E8FEB86659FD93ull) & whole_mask_;
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

std::size_t ByteWords::find(const char* p, std::size_t n, std::vector<Found>& found,
                            std::vector<Bpe::Symbol>& symbols) const {
  symbols.clear();
  const char* const end = p + n;
  bool clean = true;  // no token reaches over the boundary before this character with a part of it
  for (const char* q = p; q < end;) {
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
  const char* at = p;
  model_.merge(symbols, [&](std::size_t i) {
    const char* const left = at;
    at += symbols[i].size;
    if (symbols[i].size == 1 && symbols[i + 1].size == 1) {
      return starts_[static_cast<std::size_t>(static_cast<unsigned char>(left[0])) << 8 |
                     static_cast<unsigned char>(left[1])];
    }
    const Bpe::Merge* merge = model_.find(symbols[i].id, symbols[i + 1].id);
    return merge ? Start{merge->rank, merge->id} : Start{};
  });
  // A token that begins or ends within a character takes the whole of it.
  std::uint32_t begun = 0;  // characters that have begun before this byte
  for (std::size_t i = 0, s = 0; s < symbols.size(); ++s) {
    const std::uint32_t first = begun - unicode::is_continuation(p[i]);
    for (const std::size_t stop = i + symbols[s].size; i < stop; ++i) begun += !unicode::is_continuation(p[i]);
    found.push_back({symbols[s].id, first, begun});
  }
  return begun;
}

}  // namespace enfold::tok
