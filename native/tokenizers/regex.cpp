#include "regex.hpp"

#include "errors.hpp"
#include "unicode.hpp"

namespace enfold::tok {
struct Regex::Program {};
Regex::Regex(std::string_view source) { throw NotBuilt("the regular expression " + std::string(source) + " is not built yet"); }
Regex::~Regex() = default;
bool Regex::search(std::string_view, std::size_t, std::size_t&, std::size_t&, std::size_t&) const { return false; }
std::size_t Regex::next_character(std::string_view text, std::size_t at) {
  return at < text.size() ? at + unicode::length(static_cast<unsigned char>(text[at])) : text.size() + 1;
}
}  // namespace enfold::tok
