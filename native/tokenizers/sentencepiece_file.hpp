#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace enfold::tok {

// A message of protobuf, field by field (https://protobuf.dev/programming-guides/encoding/). What is no message, or
// runs past its end, throws Error.
class Message {
 public:
  enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

  explicit Message(std::string_view content) : begin_(content.data()), at_(begin_), end_(begin_ + content.size()) {}
  // The next field, false behind the last one.
  bool next();

  std::uint32_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;  // of a number, its bits
  std::string_view content;

 private:
  std::uint64_t varint();
  const char *begin_, *at_, *end_;
};

// A sentencepiece model: its pieces, and trainer_spec and normalizer_spec as they stand (a message may come in parts).
struct SentencePieceFile {
  struct Piece {
    std::string_view text;
    float score = 0;
    std::uint64_t type = 1;
  };
  std::vector<Piece> pieces;
  std::vector<std::string_view> trainer, normalizer;
};

// The views point into `content`.
SentencePieceFile read_sentencepiece(std::string_view content);

}  // namespace enfold::tok
