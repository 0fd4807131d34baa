#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "unicode.hpp"

// Reads options and texts off the bytes that a fuzzer makes up.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  std::size_t below(std::size_t n) {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(rest_[0]);
    rest_.remove_prefix(1);
    return byte % n;
  }
  bool flag() { return below(2); }
  bool empty() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }
  // The rest, or what stands before the next 0xFF, as valid UTF-8.
  std::string text() {
    const std::size_t end = std::min(rest_.find('\xFF'), rest_.size());
    const std::string_view found = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    std::string out;
    enfold::tok::unicode::append_lossy(out, found);
    return out;
  }

 private:
  std::string_view rest_;
};

// Ends the process with a message if `holds` doesn't: the fuzzer keeps the input.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "this should hold: %s\n", what);
  std::abort();
}
