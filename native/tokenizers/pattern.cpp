#include "pattern.hpp"

#include "errors.hpp"

namespace enfold::tok {

Pattern Pattern::regex(std::string_view source) {
  Pattern made;
  made.style_ = style_of(source);
  if (!made.style_) made.regex_ = std::make_shared<Regex>(source);
  return made;
}

Pattern Pattern::text(std::string what) {
  Pattern made;
  made.literal_ = std::move(what);
  return made;
}

Pattern::Pattern(json::Value spec, const char* what) {
  const auto text = spec["String"], source = spec["Regex"];
  if (spec.size() == 1 && !text.is_null()) {
    literal_ = text.string(what);
  } else if (spec.size() == 1 && !source.is_null()) {
    *this = regex(source.string(what));
  } else {
    throw Error(std::string(what) + " should be {\"String\": …} or {\"Regex\": …}, got " + spec.dump());
  }
  // The reference makes a regular expression of it, and an empty one matches between any two characters.
  if (literal_.empty() && !regex_ && !style_) regex_ = std::make_shared<Regex>("");
}

std::vector<Cut> Pattern::find(std::string_view text) const {
  const auto size = static_cast<std::uint32_t>(text.size());
  std::vector<Cut> cuts;
  std::uint32_t last = 0;
  const auto found = [&](std::size_t begin, std::size_t end) {
    if (last != begin) cuts.push_back({last, static_cast<std::uint32_t>(begin), false});
    cuts.push_back({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), true});
    last = static_cast<std::uint32_t>(end);
  };
  if (style_) {
    const char* const base = text.data();
    scan(*style_, base, base + size, [&](const char* begin, const char* end) {
      found(static_cast<std::size_t>(begin - base), static_cast<std::size_t>(end - base));
    });
  } else if (regex_) {
    if (!text.empty()) regex_->each_match(text, found);
  } else {
    for (std::size_t at = 0; (at = text.find(literal_, at)) != std::string_view::npos; at += literal_.size()) {
      found(at, at + literal_.size());
    }
  }
  if (last != size) cuts.push_back({last, size, false});
  return cuts;
}

}  // namespace enfold::tok
