#include "stream.hpp"

namespace enfold::tok {

namespace {

// A character has at most four bytes; tokens that wait longer than this will never complete one.
constexpr std::size_t kMaxWaiting = 12;

bool is_torn(const std::string& text) { return text.ends_with("\xEF\xBF\xBD"); }

}  // namespace

std::optional<std::string> DecodeStream::step(Id id) {
  window_.push_back(id);
  std::string text = decode(window_.size());
  const bool patient = window_.size() - context_ < kMaxWaiting;
  if (text.size() <= prefix_.size() || (patient && is_torn(text))) {
    // Tokens that have no text (special ones, gaps in the vocabulary) need not wait.
    if (text == prefix_ && !patient) window_.resize(context_);
    return std::nullopt;
  }
  if (!text.starts_with(prefix_)) throw Error("the decoder rewrites text that was already given out");
  std::string fresh = text.substr(prefix_.size());
  window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(context_));
  context_ = window_.size();
  prefix_ = decode(context_);
  return fresh;
}

}  // namespace enfold::tok
