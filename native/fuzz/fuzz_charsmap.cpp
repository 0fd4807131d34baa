// Sentencepiece's maps of characters: damaged ones are an Error, the others leave valid text whose parts lie in the
// source.

#include "bytes.hpp"
#include "errors.hpp"
#include "precompiled.hpp"

using namespace enfold::tok;

namespace {

std::string base64(std::string_view bytes) {
  constexpr char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : letters[group >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  const bool raw = bytes.below(8) == 0;
  const std::string source = bytes.text();
  try {
    const Precompiled map(raw ? std::string(bytes.rest()) : base64(bytes.rest()));
    Aligned text = Aligned::from(source, 0);
    map.apply(text);
    require(unicode::is_valid(text.text), "normalised text is UTF-8");
    Span span{0, 0};
    if (!text.text.empty()) text.source(0, text.text.size(), span);
    require(span.begin <= span.end && span.end <= source.size(), "what is left of a text lies in it");
  } catch (const Error&) {
  }
  return 0;
}
