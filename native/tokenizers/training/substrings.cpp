#include "substrings.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

#include "parallel.hpp"

namespace enfold::tok {

namespace {

// Multikey quicksort (Bentley and Sedgewick 1997) of suffixes, cut off where substrings become too long or unique.
class Search {
 public:
  Search(const std::vector<char32_t>& text, std::uint32_t longest, std::vector<Repeat>& out)
      : text_(text), longest_(longest), out_(out) {}

  // The suffixes share their first `depth` characters.
  void group(std::uint32_t* begin, std::uint32_t* end, std::uint32_t depth) {
    for (; end - begin > 1; ++depth) {
      const char32_t first = text_[*begin + depth];
      if (std::all_of(begin + 1, end, [&](std::uint32_t p) { return text_[p + depth] == first; })) {
        if (first == kWordEnd || depth == longest_) return;
        continue;
      }
      if (depth > 1) out_.push_back({*begin, depth, static_cast<std::uint32_t>(end - begin)});
      if (depth < longest_) split(begin, end, depth);
      return;
    }
  }

 private:
  char32_t key(const std::uint32_t* p, std::uint32_t depth) const { return text_[*p + depth]; }

  void split(std::uint32_t* begin, std::uint32_t* end, std::uint32_t depth) {
    while (end - begin > 1) {
      char32_t a = key(begin, depth), b = key(begin + (end - begin) / 2, depth), c = key(end - 1, depth);
      const char32_t pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
      std::uint32_t *less = begin, *at = begin, *greater = end;
      while (at < greater) {
        const char32_t k = key(at, depth);
        if (k < pivot) std::swap(*less++, *at++);
        else if (k > pivot) std::swap(*at, *--greater);
        else ++at;
      }
      if (pivot != kWordEnd) group(less, greater, depth + 1);
      // The smaller side by recursion, the larger one by this loop: the depth stays logarithmic.
      if (less - begin < end - greater) {
        split(begin, less, depth);
        begin = greater;
      } else {
        split(greater, end, depth);
        end = less;
      }
    }
  }

  const std::vector<char32_t>& text_;
  std::uint32_t longest_;
  std::vector<Repeat>& out_;
};

}  // namespace

std::vector<Repeat> repeated_substrings(const std::vector<char32_t>& text, std::uint32_t longest) {
  // Suffixes by their first character.
  std::vector<std::uint32_t> starts(kWordEnd + 1);
  for (const char32_t c : text) {
    if (c != kWordEnd) ++starts[c + 1];
  }
  for (std::size_t c = 0; c < kWordEnd; ++c) starts[c + 1] += starts[c];
  std::vector<std::uint32_t> suffixes(starts.back()), next = starts;
  for (std::uint32_t i = 0; i < text.size(); ++i) {
    if (text[i] != kWordEnd) suffixes[next[text[i]]++] = i;
  }
  std::vector<Repeat> all;
  std::mutex mutex;
  std::atomic<std::size_t> character{0};
  in_threads(threads_for(text.size()), [&](std::size_t) {
    std::vector<Repeat> found;
    Search search(text, longest, found);
    for (std::size_t c; (c = character.fetch_add(1)) < kWordEnd;) {
      if (starts[c + 1] - starts[c] > 1) search.group(&suffixes[starts[c]], suffixes.data() + starts[c + 1], 1);
    }
    const std::lock_guard lock(mutex);
    all.insert(all.end(), found.begin(), found.end());
  });
  return all;
}

}  // namespace enfold::tok
