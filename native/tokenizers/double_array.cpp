#include "double_array.hpp"

#include "errors.hpp"

namespace enfold::tok {

// Lays the nodes out: the children of a node stand at base ^ byte, no two nodes share a base, and blocks of 256 units
// keep children together. Free units of the last blocks form a list through `next` and `previous`.
struct DoubleArray::Builder {
  using Keys = std::vector<std::pair<std::string_view, std::int32_t>>;
  static constexpr std::uint32_t kEnd = 0xFFFFFFFFu;
  static constexpr std::size_t kOpenBlocks = 16, kTries = 128;

  explicit Builder(Table<std::uint64_t>& out) : units(out) {
    units.clear();
    add_block();
    take(0);
    units[0] = 0;
    used[0] = true;  // the root looks like a child by byte 0 of this base
  }

  struct Node {
    std::uint32_t place;
    std::uint32_t first, last;  // its keys
    std::uint32_t depth;
  };

  void build(const Keys& keys) {
    std::vector<Node> waiting{{0, 0, static_cast<std::uint32_t>(keys.size()), 0}};
    std::vector<Node> children;
    while (!waiting.empty()) {
      Node node = waiting.back();
      waiting.pop_back();
      if (node.first < node.last && keys[node.first].first.size() == node.depth) {
        units[node.place] |= static_cast<std::uint64_t>(keys[node.first].second + 1) << 9;
        ++node.first;
      }
      children.clear();
      for (std::uint32_t k = node.first; k < node.last;) {
        const char byte = keys[k].first[node.depth];
        std::uint32_t end = k + 1;
        while (end < node.last && keys[end].first[node.depth] == byte) ++end;
        children.push_back({static_cast<unsigned char>(byte), k, end, node.depth + 1});
        k = end;
      }
      const std::size_t base = place(children);
      if (base >> 28) throw Error("the vocabulary is too large: its trie should have fewer than 2^28 nodes");
      units[node.place] |= static_cast<std::uint64_t>(base) << 36;
      for (Node& child : children) {
        const std::uint32_t label = child.place;
        child.place = static_cast<std::uint32_t>(base ^ label);
        take(child.place);
        units[child.place] = label;
        waiting.push_back(child);
      }
    }
  }

  // A base for nodes whose `place` is still their byte. Nodes without children have none to protect.
  std::size_t place(const std::vector<Node>& children) {
    if (children.empty()) return barren();
    std::size_t tries = 0;
    for (std::uint32_t u = head; u != kEnd && tries < kTries; u = next[u], ++tries) {
      const std::size_t base = u ^ children[0].place;
      if (used[base]) continue;
      bool fits = true;
      for (std::size_t k = 1; fits && k < children.size(); ++k) fits = is_free[base ^ children[k].place];
      if (fits) return used[base] = true, base;
    }
    const std::size_t base = add_block();
    return used[base] = true, base;
  }

  // All leaves share one base whose block holds no child at all.
  std::size_t barren() {
    if (!barren_base) {
      barren_base = units.size();
      units.resize(units.size() + kBlock, kUnused);
      next.resize(units.size(), kEnd);
      previous.resize(units.size(), kEnd);
      is_free.resize(units.size(), false);
      used.resize(units.size(), true);
    }
    return barren_base;
  }

  std::size_t add_block() {
    const std::size_t at = units.size();
    units.resize(at + kBlock, kUnused);
    next.resize(units.size());
    previous.resize(units.size());
    is_free.resize(units.size(), true);
    used.resize(units.size(), false);
    for (std::size_t i = at; i < units.size(); ++i) {
      const auto u = static_cast<std::uint32_t>(i);
      previous[i] = tail;
      next[i] = kEnd;
      (tail == kEnd ? head : next[tail]) = u;
      tail = u;
    }
    open.push_back(at);
    if (open.size() > kOpenBlocks) {
      const std::size_t old = open[open.size() - 1 - kOpenBlocks];
      for (std::size_t i = old; i < old + kBlock; ++i) {
        if (is_free[i]) take(static_cast<std::uint32_t>(i));
      }
    }
    return at;
  }

  void take(std::uint32_t u) {
    is_free[u] = false;
    (previous[u] == kEnd ? head : next[previous[u]]) = next[u];
    (next[u] == kEnd ? tail : previous[next[u]]) = previous[u];
  }

  Table<std::uint64_t>& units;
  std::vector<std::uint32_t> next, previous;
  std::vector<bool> is_free, used;
  std::vector<std::size_t> open;
  std::uint32_t head = kEnd, tail = kEnd;
  std::size_t barren_base = 0;
};

DoubleArray::DoubleArray(const std::vector<std::pair<std::string_view, std::int32_t>>& keys) {
  Builder(units_).build(keys);
}

}  // namespace enfold::tok
