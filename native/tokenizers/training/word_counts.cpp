#include "word_counts.hpp"

#include <algorithm>

namespace enfold::tok {

void WordCounts::grow() {
  const std::size_t room = std::max<std::size_t>(1024, 2 * slots_.size());
  slots_.assign(room, {0, kEmpty});
  mask_ = room - 1;
  fill();
}

void WordCounts::fill() {
  for (std::size_t e = 0; e < entries_.size(); ++e) {
    std::size_t i = hash_bytes(arena_.data() + entries_[e].at, entries_[e].size) & mask_;
    while (slots_[i].entry != kEmpty) i = (i + 1) & mask_;
    slots_[i] = {entries_[e].tag, static_cast<std::uint32_t>(e)};
  }
}

void WordCounts::absorb(WordCounts& other) {
  if (entries_.empty()) {
    std::swap(*this, other);
    return;
  }
  for (const Entry& entry : other.entries_) add(other.text(entry), entry.count);
  other.arena_.clear();
  other.entries_.clear();
  std::fill(other.slots_.begin(), other.slots_.end(), Slot{0, kEmpty});
}

void WordCounts::sort() {
  std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) { return text(a) < text(b); });
  std::fill(slots_.begin(), slots_.end(), Slot{0, kEmpty});
  fill();
}

std::vector<std::size_t> WordCounts::most_common(std::size_t limit, std::uint64_t min_count) const {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < size(); ++i) {
    if (count(i) >= min_count) found.push_back(i);
  }
  limit = std::min(limit, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(limit), found.end(),
                    [&](std::size_t a, std::size_t b) {
                      return count(a) != count(b) ? count(a) > count(b) : word(a) < word(b);
                    });
  found.resize(limit);
  return found;
}

}  // namespace enfold::tok
