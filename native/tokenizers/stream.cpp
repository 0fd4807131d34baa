#include "stream.hpp"

#include <algorithm>

namespace enfold::tok {

namespace {

// A character has at most four bytes; tokens that wait longer than this will never complete one.
constexpr std::size_t kMaxWaiting = 12;
// Tokens of context that are enough to decode what follows them.
constexpr std::size_t kMaxContext = 64;

bool is_torn(const std::string& text) { return text.ends_with("\xEF\xBF\xBD"); }

}  // namespace

void DecodeStream::take_context(const Core& core) {
  fresh_ = true;
  std::string text = decode(core, window_.size());
  if (is_torn(text)) {  // the rest of a character is yet to come: all of the text is given out then
    given_ = window_.size();
    return;
  }
  prefix_ = std::move(text);
  context_ = window_.size();
  if (context_ <= kMaxContext) return;
  // A long context would be decoded again with every step; its end does, if it reads the same by itself.
  const std::vector<Id> all = window_;
  window_.erase(window_.begin(), window_.end() - static_cast<std::ptrdiff_t>(kMaxContext));
  std::string end = decode(core, window_.size());
  if (!end.empty() && !is_torn(end) && prefix_.ends_with(end)) {
    prefix_ = std::move(end);
    context_ = window_.size();
  } else {
    window_ = all;
  }
}

std::optional<std::string> DecodeStream::step(const Core& core, const Id* ids, std::size_t n) {
  if (!fresh_) take_context(core);
  if (!n) return std::nullopt;
  window_.insert(window_.end(), ids, ids + n);
  std::string text = decode(core, window_.size());
  const std::size_t waiting = window_.size() - std::max(context_, given_);
  const bool patient = waiting < kMaxWaiting * n;
  std::size_t taken = window_.size();
  if (!patient && is_torn(text)) {
    // Steps of several tokens may end within a character time and again: what is complete is given out.
    for (std::size_t back = 1; back < 4 && back < waiting; ++back) {
      std::string less = decode(core, window_.size() - back);
      if (is_torn(less) || less.size() <= prefix_.size()) continue;
      text = std::move(less);
      taken -= back;
      break;
    }
  }
  if (text.size() <= prefix_.size() || (patient && is_torn(text))) {
    // Tokens that have no text (special ones, gaps in the vocabulary) need not wait.
    if (text == prefix_ && !patient) window_.resize(context_);
    return std::nullopt;
  }
  if (!text.starts_with(prefix_)) throw Error("the decoder rewrites text that was already given out");
  std::string fresh = text.substr(prefix_.size());
  window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(context_));
  context_ = taken - context_;
  given_ = 0;
  prefix_ = decode(core, context_);
  return fresh;
}

}  // namespace enfold::tok
