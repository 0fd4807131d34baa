#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aligned.hpp"
#include "json.hpp"
#include "regex.hpp"
#include "scanner.hpp"

namespace enfold::tok {

// What Split and Replace look for: `{"String": …}` or `{"Regex": …}` in the file.
class Pattern {
 public:
  explicit Pattern(json::Value spec, const char* what);
  static Pattern regex(std::string_view source);
  static Pattern text(std::string what);
  // The text cut at every match; the cuts cover it.
  std::vector<Cut> find(std::string_view text) const;
  std::optional<Style> style() const { return style_; }
  // The text looked for, if it is no regular expression.
  const std::string* literal() const { return regex_ || style_ ? nullptr : &literal_; }

 private:
  Pattern() = default;
  std::string literal_;
  std::optional<Style> style_;
  std::shared_ptr<const Regex> regex_;
};

}  // namespace enfold::tok
