#include "unicode.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>

namespace enfold::tok::unicode {

#include "unicode_tables.inc"

const std::size_t kRecordCount = std::size(kProperties);

namespace {

constexpr char32_t kHangul = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTrail = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTrails = 28;

template <std::size_t N>
const Decomposition* find(const Decomposition (&table)[N], char32_t c) {
  const auto* at = std::lower_bound(table, table + N, c, [](const auto& row, char32_t x) { return row.from < x; });
  return at != table + N && at->from == c ? at : nullptr;
}

// Full decomposition of `c`; empty if it has none.
std::span<const char32_t> decomposition(char32_t c, bool compatible, char32_t hangul[3]) {
  const auto flags = properties(c).flags;
  if (!(flags & (compatible ? kNfkd | kNfd : kNfd))) return {};
  if (c >= kHangul && c < kHangul + kLeads * kVowels * kTrails) {
    const char32_t s = c - kHangul, trail = s % kTrails;
    hangul[0] = kLead + s / (kVowels * kTrails);
    hangul[1] = kVowel + s % (kVowels * kTrails) / kTrails;
    hangul[2] = kTrail + trail;
    return {hangul, trail ? 3u : 2u};
  }
  const Decomposition* row = compatible ? find(kCompatible, c) : nullptr;
  if (!row) row = find(kCanonical, c);
  return row ? std::span<const char32_t>(kPool + row->at, row->count) : std::span<const char32_t>();
}

std::optional<char32_t> compose(char32_t a, char32_t b) {
  if (a - kLead < kLeads && b - kVowel < kVowels) return kHangul + ((a - kLead) * kVowels + (b - kVowel)) * kTrails;
  if (a - kHangul < kLeads * kVowels * kTrails && (a - kHangul) % kTrails == 0 && b - kTrail - 1 < kTrails - 1) {
    return a + (b - kTrail);
  }
  const auto* end = std::end(kCompositions);
  const auto* at = std::lower_bound(std::begin(kCompositions), end, 0, [&](const Composition& row, int) {
    return row.first != a ? row.first < a : row.second < b;
  });
  if (at != end && at->first == a && at->second == b) return at->composed;
  return std::nullopt;
}

std::vector<Change> decompose(std::string_view text, bool compatible) {
  std::vector<Change> out;
  out.reserve(text.size());
  std::size_t pending = 0;  // start of the run of combining characters that may still have to be sorted
  bool unsorted = false;
  auto sort_pending = [&] {
    if (unsorted) {
      std::stable_sort(out.begin() + static_cast<std::ptrdiff_t>(pending), out.end(),
                       [](const Change& x, const Change& y) {
                         return properties(x.c).combining_class < properties(y.c).combining_class;
                       });
      unsorted = false;
    }
  };
  auto push = [&](char32_t c, std::int32_t change) {
    if (const int k = properties(c).combining_class; k == 0) {
      sort_pending();
      out.push_back({c, change});
      pending = out.size();
    } else {
      if (out.size() > pending && properties(out.back().c).combining_class > k) unsorted = true;
      out.push_back({c, change});
    }
  };
  for (std::size_t i = 0; i < text.size(); i += length(static_cast<unsigned char>(text[i]))) {
    const char32_t c = decode(text.data() + i);
    char32_t hangul[3];
    const auto parts = decomposition(c, compatible, hangul);
    if (parts.empty()) push(c, 0);
    for (std::size_t k = 0; k < parts.size(); ++k) push(parts[k], k > 0);
  }
  sort_pending();
  return out;
}

std::vector<Change> recompose(const std::vector<Change>& source) {
  std::vector<Change> out, waiting;
  out.reserve(source.size());
  std::optional<Change> starter;
  int last_class = -1;  // class of the last character between the starter and here; -1 for none
  auto flush = [&] {
    if (starter) out.push_back(*starter);
    out.insert(out.end(), waiting.begin(), waiting.end());
    waiting.clear();
    last_class = -1;
  };
  for (const Change& item : source) {
    const int k = properties(item.c).combining_class;
    if (!starter) {
      if (k == 0) starter = item;
      else out.push_back(item);
      continue;
    }
    if (last_class < k) {
      if (const auto composed = compose(starter->c, item.c)) {
        starter = Change{*composed, starter->change + item.change - 1};
        continue;
      }
    }
    if (k == 0) {
      flush();
      starter = item;
    } else {
      waiting.push_back(item);
      last_class = k;
    }
  }
  flush();
  return out;
}

}  // namespace

std::span<const char32_t> canonical(char32_t c, char32_t room[3]) { return decomposition(c, false, room); }

int lower(char32_t c, char32_t out[2]) {
  out[0] = c;
  if (c < 0x80) {
    if (c - U'A' < 26) out[0] = c + 32;
    return 1;
  }
  if (!has(c, kLower)) return 1;
  if (c == 0x130) return out[0] = U'i', out[1] = 0x307, 2;
  const auto* at = std::lower_bound(std::begin(kLowerPairs), std::end(kLowerPairs), c,
                                    [](const Pair& row, char32_t x) { return row.from < x; });
  out[0] = at->to;
  return 1;
}

std::vector<Change> normalize(std::string_view text, Form form) {
  auto out = decompose(text, form == Form::nfkc || form == Form::nfkd);
  return form == Form::nfc || form == Form::nfkc ? recompose(out) : out;
}

bool may_change(std::string_view text, Form form) {
  const bool composes = form == Form::nfc || form == Form::nfkc;
  const std::uint16_t flag = form == Form::nfc    ? kNfcUnsafe
                             : form == Form::nfkc ? kNfkcUnsafe
                                                  : kNfd | kNfkd | kNfcUnsafe;
  std::size_t safe = 0;  // start of the last character that nothing before it can change
  std::string normal;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80 || !has(decode(text.data() + i), flag)) {
      safe = i;
      i += length(lead);
      continue;
    }
    if (!composes) return true;
    // Marks and the like: most texts hold them in normal form, so it is worth looking.
    std::size_t end = i;
    while (end < text.size() && static_cast<unsigned char>(text[end]) >= 0x80 && has(decode(text.data() + end), flag)) {
      end += length(static_cast<unsigned char>(text[end]));
    }
    normal.clear();
    for (const Change& item : normalize(text.substr(safe, end - safe), form)) append(normal, item.c);
    if (normal != text.substr(safe, end - safe)) return true;
    safe = i = end;
  }
  return false;
}

namespace {

// Length of the well-formed character at the start of `bytes`, or minus the length of the maximal ill-formed part.
int well_formed(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return -1;
  const int need = static_cast<int>(length(lead));
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (int i = 1; i < need; ++i) {
    if (static_cast<std::size_t>(i) >= bytes.size() || at(static_cast<std::size_t>(i)) < low ||
        at(static_cast<std::size_t>(i)) > high) {
      return -i;
    }
    low = 0x80, high = 0xBF;
  }
  return need;
}

}  // namespace

void append_lossy(std::string& out, std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const int n = well_formed(bytes.substr(i));
    if (n > 0) {
      out.append(bytes, i, static_cast<std::size_t>(n));
      i += static_cast<std::size_t>(n);
    } else {
      out.append("\xEF\xBF\xBD");
      i += static_cast<std::size_t>(-n);
    }
  }
}

bool is_valid(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    if (i + 8 <= bytes.size()) {
      std::uint64_t beyond;  // ASCII
      std::memcpy(&beyond, bytes.data() + i, 8);
      beyond &= 0x8080808080808080ull;
      if (beyond == 0) {
        i += 8;
        continue;
      }
      if constexpr (std::endian::native == std::endian::little) {
        i += static_cast<std::size_t>(std::countr_zero(beyond)) / 8;
        // Most characters beyond ASCII have two bytes.
        const auto lead = static_cast<unsigned char>(bytes[i]);
        if (lead >= 0xC2 && lead < 0xE0 && i + 1 < bytes.size() && is_continuation(bytes[i + 1])) {
          i += 2;
          continue;
        }
      }
    }
    const int n = well_formed(bytes.substr(i));
    if (n < 0) return false;
    i += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace enfold::tok::unicode
