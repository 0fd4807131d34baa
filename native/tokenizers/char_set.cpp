#include "char_set.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>

#include "unicode.hpp"

namespace enfold::tok {

namespace {
constexpr char32_t kLast = 0x10FFFF;
}  // namespace

CharSet::CharSet(std::vector<CharRange> ranges) : ranges_(std::move(ranges)) {
  std::sort(ranges_.begin(), ranges_.end(), [](const CharRange& x, const CharRange& y) { return x.first < y.first; });
  std::size_t kept = 0;
  for (const CharRange& range : ranges_) {
    if (kept && range.first <= ranges_[kept - 1].last + 1) {
      ranges_[kept - 1].last = std::max(ranges_[kept - 1].last, range.last);
    } else {
      ranges_[kept++] = range;
    }
  }
  ranges_.resize(kept);
}

bool CharSet::has(char32_t c) const {
  const auto at = std::upper_bound(ranges_.begin(), ranges_.end(), c,
                                   [](char32_t x, const CharRange& range) { return x < range.first; });
  return at != ranges_.begin() && c <= std::prev(at)->last;
}

CharSet CharSet::complement() const {
  CharSet made;
  char32_t next = 0;
  for (const CharRange& range : ranges_) {
    if (next < range.first) made.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLast) made.ranges_.push_back({next, kLast});
  return made;
}

CharSet CharSet::operator|(const CharSet& other) const {
  std::vector<CharRange> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  return CharSet(std::move(all));
}

CharSet CharSet::operator&(const CharSet& other) const {
  CharSet made;
  for (std::size_t i = 0, k = 0; i < ranges_.size() && k < other.ranges_.size();) {
    const CharRange &a = ranges_[i], &b = other.ranges_[k];
    const char32_t first = std::max(a.first, b.first), last = std::min(a.last, b.last);
    if (first <= last) made.ranges_.push_back({first, last});
    if (a.last < b.last) ++i;
    else ++k;
  }
  return made;
}

CharTable::CharTable(const CharSet& set) {
  std::map<Block, std::uint16_t> known;
  const auto& ranges = set.ranges();
  std::size_t r = 0;
  for (char32_t base = 0; base <= kLast; base += 256) {
    Block block{};
    while (r < ranges.size() && ranges[r].last < base) ++r;
    if (r < ranges.size() && ranges[r].first <= base && ranges[r].last >= base + 255) {
      block.fill(~std::uint64_t{0});
    } else {
      for (std::size_t k = r; k < ranges.size() && ranges[k].first < base + 256; ++k) {
        const char32_t end = std::min<char32_t>(ranges[k].last, base + 255);
        for (char32_t c = std::max(ranges[k].first, base); c <= end; ++c) {
          block[c >> 6 & 3] |= std::uint64_t{1} << (c & 63);
        }
      }
    }
    const auto [at, fresh] = known.try_emplace(block, static_cast<std::uint16_t>(blocks_.size()));
    if (fresh) blocks_.push_back(block);
    stage_.push_back(at->second);
  }
  ascii_ = {blocks_[stage_[0]][0], blocks_[stage_[0]][1]};
  last_ = stage_.back();
  while (!stage_.empty() && stage_.back() == last_) stage_.pop_back();
}

namespace chars {

namespace {

struct NamedSet {
  const char* name;
  std::uint32_t at, size;
};
struct Fold {
  char32_t from, to;
};
struct Script {
  char32_t first;
  std::uint8_t script;
};

#include "unicode_sets.inc"

std::optional<CharSet> named(std::string_view name) {
  const auto* at = std::lower_bound(std::begin(kNamedSets), std::end(kNamedSets), name,
                                    [](const NamedSet& row, std::string_view key) { return row.name < key; });
  if (at == std::end(kNamedSets) || at->name != name) return std::nullopt;
  // Gaps and lengths by turns; a length of 0 continues a long gap, a gap of 0 a long range.
  std::vector<CharRange> ranges;
  char32_t next = 0;
  for (std::uint32_t i = at->at; i < at->at + at->size; i += 2) {
    next += kSetPool[i];
    if (kSetPool[i + 1]) ranges.push_back({next, next + kSetPool[i + 1] - 1});
    next += kSetPool[i + 1];
  }
  return CharSet(std::move(ranges));
}

using unicode::Category;

constexpr std::uint32_t bit(Category c) { return 1u << static_cast<int>(c); }
constexpr std::uint32_t from_to(Category first, Category last) {
  return (bit(last) | (bit(last) - 1)) & ~(bit(first) - 1);
}

// The general categories of a name in lower case without blanks and dashes; 0 for another name.
std::uint32_t categories_named(std::string_view name) {
  using C = Category;
  static constexpr std::pair<std::string_view, std::uint32_t> kNames[] = {
      {"l", from_to(C::Lu, C::Lo)},
      {"letter", from_to(C::Lu, C::Lo)},
      {"lc", from_to(C::Lu, C::Lt)},
      {"casedletter", from_to(C::Lu, C::Lt)},
      {"lu", bit(C::Lu)},
      {"uppercaseletter", bit(C::Lu)},
      {"ll", bit(C::Ll)},
      {"lowercaseletter", bit(C::Ll)},
      {"lt", bit(C::Lt)},
      {"titlecaseletter", bit(C::Lt)},
      {"lm", bit(C::Lm)},
      {"modifierletter", bit(C::Lm)},
      {"lo", bit(C::Lo)},
      {"otherletter", bit(C::Lo)},
      {"m", from_to(C::Mn, C::Me)},
      {"mark", from_to(C::Mn, C::Me)},
      {"combiningmark", from_to(C::Mn, C::Me)},
      {"mn", bit(C::Mn)},
      {"nonspacingmark", bit(C::Mn)},
      {"mc", bit(C::Mc)},
      {"spacingmark", bit(C::Mc)},
      {"me", bit(C::Me)},
      {"enclosingmark", bit(C::Me)},
      {"n", from_to(C::Nd, C::No)},
      {"number", from_to(C::Nd, C::No)},
      {"nd", bit(C::Nd)},
      {"decimalnumber", bit(C::Nd)},
      {"nl", bit(C::Nl)},
      {"letternumber", bit(C::Nl)},
      {"no", bit(C::No)},
      {"othernumber", bit(C::No)},
      {"p", from_to(C::Pc, C::Po)},
      {"punctuation", from_to(C::Pc, C::Po)},
      {"pc", bit(C::Pc)},
      {"connectorpunctuation", bit(C::Pc)},
      {"pd", bit(C::Pd)},
      {"dashpunctuation", bit(C::Pd)},
      {"ps", bit(C::Ps)},
      {"openpunctuation", bit(C::Ps)},
      {"pe", bit(C::Pe)},
      {"closepunctuation", bit(C::Pe)},
      {"pi", bit(C::Pi)},
      {"initialpunctuation", bit(C::Pi)},
      {"pf", bit(C::Pf)},
      {"finalpunctuation", bit(C::Pf)},
      {"po", bit(C::Po)},
      {"otherpunctuation", bit(C::Po)},
      {"s", from_to(C::Sm, C::So)},
      {"symbol", from_to(C::Sm, C::So)},
      {"sm", bit(C::Sm)},
      {"mathsymbol", bit(C::Sm)},
      {"sc", bit(C::Sc)},
      {"currencysymbol", bit(C::Sc)},
      {"sk", bit(C::Sk)},
      {"modifiersymbol", bit(C::Sk)},
      {"so", bit(C::So)},
      {"othersymbol", bit(C::So)},
      {"z", from_to(C::Zs, C::Zp)},
      {"separator", from_to(C::Zs, C::Zp)},
      {"zs", bit(C::Zs)},
      {"spaceseparator", bit(C::Zs)},
      {"zl", bit(C::Zl)},
      {"lineseparator", bit(C::Zl)},
      {"zp", bit(C::Zp)},
      {"paragraphseparator", bit(C::Zp)},
      {"c", from_to(C::Cc, C::Co) | bit(C::Cn)},
      {"other", from_to(C::Cc, C::Co) | bit(C::Cn)},
      {"cc", bit(C::Cc)},
      {"control", bit(C::Cc)},
      {"cf", bit(C::Cf)},
      {"format", bit(C::Cf)},
      {"co", bit(C::Co)},
      {"privateuse", bit(C::Co)},
      {"cn", bit(C::Cn)},
      {"unassigned", bit(C::Cn)},
  };
  for (const auto& [known, mask] : kNames) {
    if (name == known) return mask;
  }
  return 0;
}

CharSet of_categories(std::uint32_t mask) {
  constexpr char32_t kBlock = 128;
  enum : std::int8_t { kUnknown, kNone, kAll, kMixed };
  std::vector<std::int8_t> kinds(65536 / kBlock, kUnknown);  // of each distinct block of the properties' table
  std::vector<CharRange> ranges;
  const auto holds = [&](char32_t c) { return mask >> static_cast<int>(unicode::category(c)) & 1; };
  for (char32_t base = 0; base <= kLast; base += kBlock) {
    std::int8_t& kind = kinds[unicode::kStage1[base / kBlock]];
    if (kind == kUnknown) {
      kind = holds(base) ? kAll : kNone;
      for (char32_t c = base; c < base + kBlock; ++c) {
        if (holds(c) != (kind == kAll)) kind = kMixed;
        if (kind == kMixed) break;
      }
    }
    if (kind == kAll) ranges.push_back({base, base + kBlock - 1});
    if (kind != kMixed) continue;
    for (char32_t c = base; c < base + kBlock; ++c) {
      if (holds(c)) ranges.push_back({c, c});
    }
  }
  return CharSet(std::move(ranges));
}

}  // namespace

std::optional<CharSet> property(std::string_view name) {
  std::string key;
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '-') continue;
    if (static_cast<unsigned char>(c) >= 0x80 || c == '[' || c == '\\') return std::nullopt;
    key.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c);
  }
  if (key == "cs" || key == "surrogate") return CharSet();
  if (const std::uint32_t mask = categories_named(key)) return of_categories(mask);
  return named(key);
}

std::optional<CharSet> bracket(std::string_view name) { return named("[:" + std::string(name) + ":]"); }

CharSet word() { return *named("\\w"); }
CharSet word_in_class() { return *named("[\\w]"); }
CharSet space() { return *named("\\s"); }
CharSet digit() { return *named("\\d"); }

char32_t fold(char32_t c) {
  const auto* at = std::lower_bound(std::begin(kFolds), std::end(kFolds), c,
                                    [](const Fold& row, char32_t key) { return row.from < key; });
  return at != std::end(kFolds) && at->from == c ? at->to : c;
}

CharSet with_cases(const CharSet& set) {
  // The smallest character of each class stands for it.
  std::vector<CharRange> classes, all = set.ranges();
  for (const Fold& row : kFolds) {
    if (set.has(row.from) || set.has(row.to)) classes.push_back({row.to, row.to});
  }
  if (classes.empty()) return set;
  const CharSet touched(classes);
  for (const Fold& row : kFolds) {
    if (touched.has(row.to)) all.insert(all.end(), {{row.from, row.from}, {row.to, row.to}});
  }
  return CharSet(std::move(all));
}

const std::vector<LongFold>& long_folds() {
  static const std::vector<LongFold> kAll(std::begin(kLongFolds), std::end(kLongFolds));
  return kAll;
}

std::uint8_t script(char32_t c) {
  const auto* at = std::upper_bound(std::begin(kScripts), std::end(kScripts), c,
                                    [](char32_t key, const Script& row) { return key < row.first; });
  return std::prev(at)->script;
}

}  // namespace chars

}  // namespace enfold::tok
