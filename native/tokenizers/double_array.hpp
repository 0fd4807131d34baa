#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "table_memory.hpp"

namespace enfold::tok {

// A fixed set of byte strings as a double array: one look into memory for each byte of a walk.
class DoubleArray {
 public:
  static constexpr std::int32_t kNone = -1;

  DoubleArray() : units_(kBlock, kUnused) {}
  // The keys: distinct, not empty, sorted by their bytes; the values: not negative.
  explicit DoubleArray(const std::vector<std::pair<std::string_view, std::int32_t>>& keys);

  // A walk: begin at root(), step() with each byte; false where no key goes on.
  struct Place {
    std::size_t base;
    std::int32_t value;  // of the key that ends here, or kNone
  };
  Place root() const { return {base_of(units_[0]), kNone}; }
  bool step(Place& at, char byte) const {
    const auto label = static_cast<unsigned char>(byte);
    const std::uint64_t unit = units_[at.base ^ label];
    if ((unit & 0x1FF) != label) return false;
    at = {base_of(unit), static_cast<std::int32_t>(unit >> 9 & 0x7FFFFFF) - 1};
    return true;
  }
  // Calls f(value, end) for each key that the text has at `p`, shortest first.
  template <typename F>
  void each_prefix(const char* p, const char* end, F&& f) const {
    for (Place at = root(); p < end && step(at, *p);) {
      ++p;
      if (at.value != kNone) f(at.value, p);
    }
  }

 private:
  struct Builder;
  // Bits 0–8: the byte that leads here, 9–35: value + 1, 36–63: base of the children.
  static constexpr std::uint64_t kUnused = 0x100;
  static constexpr std::size_t kBlock = 256;
  static std::size_t base_of(std::uint64_t unit) { return static_cast<std::size_t>(unit >> 36); }

  Table<std::uint64_t> units_;
};

}  // namespace enfold::tok
