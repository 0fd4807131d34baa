#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

// The byte ⇄ printable character mapping of byte-level vocabularies (GPT-2): printable Latin-1 bytes stand for
// themselves, the other 68 are moved to U+0100 and up, in order.
namespace enfold::tok::byte_level {

struct Table {
  std::array<char32_t, 256> character{};
  std::array<std::int16_t, 0x144> byte{};  // -1 for characters that stand for no byte
};

constexpr Table make_table() {
  Table table;
  for (auto& b : table.byte) b = -1;
  char32_t next = 0x100;
  for (unsigned b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
    const char32_t c = printable ? b : next++;
    table.character[b] = c;
    table.byte[c] = static_cast<std::int16_t>(b);
  }
  return table;
}

inline constexpr Table kTable = make_table();

inline int byte_of(char32_t c) { return c < kTable.byte.size() ? kTable.byte[c] : -1; }

// The bytes that a token's characters stand for; false if one stands for none.
bool bytes_of(std::string_view token, std::string& out);

}  // namespace enfold::tok::byte_level
