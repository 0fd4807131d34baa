// sentencepiece's files: damaged ones are an Error; what the others are said to hold lies in the file, all of it and no
// more.

#include "bytes.hpp"
#include "errors.hpp"
#include "sentencepiece_file.hpp"

using namespace enfold::tok;

namespace {

// Where a view begins, if it lies in the file.
std::size_t place(std::string_view view, std::string_view file) {
  if (view.data() == nullptr) return 0;
  require(view.data() >= file.data() && view.size() <= file.size(), "a view lies in the file");
  const auto begin = static_cast<std::size_t>(view.data() - file.data());
  require(begin + view.size() <= file.size(), "a view ends in the file");
  return begin;
}

// The numbers and texts of a message, and of those that its texts may be.
std::size_t walk(std::string_view content, std::string_view file, int depth) {
  std::size_t fields = 0;
  try {
    Message message(content);
    while (message.next()) {
      ++fields;
      require(message.number > 0, "fields are numbered from one");
      place(message.content, file);
      if (message.wire == Message::Wire::bytes && depth) fields += walk(message.content, file, depth - 1);
    }
  } catch (const Error&) {
  }
  return fields;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  try {
    const SentencePieceFile made = read_sentencepiece(file);
    std::size_t before = 0;
    for (const auto& piece : made.pieces) {
      const std::size_t at = place(piece.text, file);
      require(piece.text.data() == nullptr || at >= before, "pieces follow each other");
      before = std::max(before, at);
    }
    for (const auto& parts : {made.trainer, made.normalizer}) {
      for (const std::string_view part : parts) {
        place(part, file);
        walk(part, file, 3);
      }
    }
    require(walk(file, file, 0) >= made.pieces.size() + made.trainer.size() + made.normalizer.size(),
            "every part is a field of the file");
  } catch (const Error&) {
  }
  return 0;
}
