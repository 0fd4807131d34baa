#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "unicode.hpp"

namespace enfold::tok {

// Pairs of neighbouring characters that some token spans. No merge reaches over any other place, so a long word (a
// sentence, in scripts without spaces) may be cut there and its parts looked up by themselves.
class JoinedPairs {
 public:
  void add(std::string_view token) {
    for (std::size_t i = 0; i < token.size();) {
      const std::size_t n = unicode::length(static_cast<unsigned char>(token[i]));
      if (i + n >= token.size()) return;
      const std::size_t m = unicode::length(static_cast<unsigned char>(token[i + n]));
      if (n == 1 && m == 1) {
        ascii_[static_cast<unsigned char>(token[i])][static_cast<unsigned char>(token[i + 1])] = true;
      } else {
        const std::size_t bit = place(token.data() + i, n, token.data() + i + n, m);
        bits_[bit >> 6] |= 1ull << (bit & 63);
      }
      i += n;
    }
  }
  bool joined(const char* left, std::size_t n, const char* right, std::size_t m) const {
    if (n == 1 && m == 1) return ascii(*left, *right);
    const std::size_t bit = place(left, n, right, m);
    return bits_[bit >> 6] >> (bit & 63) & 1;
  }
  bool ascii(char left, char right) const {
    return ascii_[static_cast<unsigned char>(left)][static_cast<unsigned char>(right)];
  }

 private:
  static constexpr int kLog = 21;
  static std::size_t place(const char* a, std::size_t n, const char* b, std::size_t m) {
    const std::uint32_t x = unicode::packed(a, n), y = unicode::packed(b, m);
    return (x * 0x9E3779B97F4A7C15ull ^ y * 0xD6E8FEB86659FD93ull) * 0x8BB84B93962EACC9ull >> (64 - kLog);
  }
  std::array<std::array<bool, 128>, 128> ascii_{};
  // Hashed: a false yes only costs speed.
  std::vector<std::uint64_t> bits_ = std::vector<std::uint64_t>((std::size_t{1} << kLog) / 64);
};

}  // namespace enfold::tok
