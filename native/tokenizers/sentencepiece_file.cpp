#include "sentencepiece_file.hpp"

#include <bit>
#include <string>

#include "errors.hpp"

namespace enfold::tok {
namespace {

constexpr std::size_t kMaxPieces = 1 << 24;

[[noreturn]] void refuse(const std::string& what) {
  throw Error("not a sentencepiece model, or a damaged one: " + what);
}

}  // namespace

std::uint64_t Message::varint() {
  std::uint64_t result = 0;
  for (unsigned shift = 0; shift < 70 && at_ != end_; shift += 7) {
    const auto byte = static_cast<unsigned char>(*at_++);
    if (shift < 64) result |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return result;
  }
  refuse("a number without an end before byte " + std::to_string(at_ - begin_));
}

bool Message::next() {
  if (at_ == end_) return false;
  const std::uint64_t key = varint();
  if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF) refuse("no field number before byte " + std::to_string(at_ - begin_));
  number = static_cast<std::uint32_t>(key >> 3);
  wire = static_cast<Wire>(key & 7);
  content = {};
  value = 0;
  std::uint64_t length = 0;
  switch (wire) {
    case Wire::varint:
      value = varint();
      return true;
    case Wire::bytes:
      length = varint();
      break;
    case Wire::fixed32:
      length = 4;
      break;
    case Wire::fixed64:
      length = 8;
      break;
    default:
      refuse("wire type " + std::to_string(key & 7) + " before byte " + std::to_string(at_ - begin_));
  }
  const auto left = static_cast<std::uint64_t>(end_ - at_);
  if (length > left) {
    refuse("a field at byte " + std::to_string(at_ - begin_) + " claims " + std::to_string(length) + " bytes where " +
           std::to_string(left) + " are left");
  }
  content = {at_, static_cast<std::size_t>(length)};
  at_ += length;
  if (wire != Wire::bytes) {
    for (std::size_t i = content.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(content[i]);
  }
  return true;
}

SentencePieceFile read_sentencepiece(std::string_view content) {
  SentencePieceFile file;
  Message whole(content);
  while (whole.next()) {
    if (whole.number < 1 || whole.number > 3) continue;
    if (whole.wire != Message::Wire::bytes) refuse("field " + std::to_string(whole.number) + " is no message");
    if (whole.number == 2) file.trainer.push_back(whole.content);
    if (whole.number == 3) file.normalizer.push_back(whole.content);
    if (whole.number != 1) continue;
    if (file.pieces.size() == kMaxPieces) refuse("more than " + std::to_string(kMaxPieces) + " pieces");
    auto& piece = file.pieces.emplace_back();
    Message fields(whole.content);
    while (fields.next()) {
      if (fields.number == 1 && fields.wire == Message::Wire::bytes) piece.text = fields.content;
      if (fields.number == 2 && fields.wire == Message::Wire::fixed32) {
        piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(fields.value));
      }
      if (fields.number == 3 && fields.wire == Message::Wire::varint) piece.type = fields.value;
    }
  }
  return file;
}

}  // namespace enfold::tok
