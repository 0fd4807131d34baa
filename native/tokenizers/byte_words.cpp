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
  // What a word is that is a token: if merges are ignored that token, else only if merges make it.
  std::optional<Derivations> derivations;
  if (!model.ignores_merges()) derivations.emplace(model);
  if (model.ignores_merges() || !model.vocab.has_shared_ids()) {
    std::size_t many = 0;
    model.vocab.each([&](std::string_view token, Id) { many += token.size() > WholeWords::kShort; });
    made->whole_ = WholeWords(model.vocab.size(), many);
  }
  const std::vector<std::uint32_t> lowest = model.merges().lowest_ranks(model.vocab.id_limit());
  std::string bytes;
  model.vocab.each([&](std::string_view token, Id id) {
    if (!byte_level::bytes_of(token, bytes)) return;
    made->read_token(bytes, id, lowest[static_cast<std::size_t>(id)]);
    if (!made->whole_.empty() && (!derivations || derivations->makes(id))) made->whole_.add(bytes, id);
  });
  made->whole_.finish();
  made->read_characters();
  return made;
}

bool ByteWords::spells(std::string_view text) const {
  return !any_missing_ ||
         std::none_of(text.begin(), text.end(), [&](char c) { return missing_[static_cast<unsigned char>(c)]; });
}

void ByteWords::read_token(std::string_view bytes, Id id, std::uint32_t lowest_rank) {
  if (bytes.size() < 2) return;
  if (bytes.size() == 2) {
    const auto a = static_cast<unsigned char>(bytes[0]), b = static_cast<unsigned char>(bytes[1]);
    starts_[static_cast<std::size_t>(a) << 8 | b] = model_.merges().rank(bytes_[a], bytes_[b]);
  }
  if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return;
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
        first_use_[c] = std::min(first_use_[c], lowest_rank);
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

void ByteWords::find(Query* queries, std::size_t n, Buffer<Found>& found, MergeQueries& merging) const {
  const auto may_be_whole = [&](const Query& query) { return !whole_.empty() && !query.variant; };
  for (const Query* query = queries; query < queries + n; ++query) {
    if (may_be_whole(*query)) whole_.prefetch_first(query->p, query->n);
  }
  for (const Query* query = queries; query < queries + n; ++query) {
    if (may_be_whole(*query)) whole_.prefetch_then(query->p, query->n, query->hash);
  }
  merging.clear();
  for (Query* query = queries; query < queries + n; ++query) {
    if (may_be_whole(*query)) {
      if (const Id id = whole_.find(query->p, query->n, query->hash, query->key); id != kNoId) {
        answer(*query, [&](auto&& take) { take(id, query->n); }, found);
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
