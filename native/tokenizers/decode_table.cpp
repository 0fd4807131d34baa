#include "decode_table.hpp"

#include <cstring>

#include "byte_level.hpp"
#include "tokenizer.hpp"
#include "unicode.hpp"

namespace enfold::tok {

namespace {

constexpr std::size_t kRoom = 16;             // bytes that are copied at once
constexpr std::size_t kLongest = 0xFFFFFF;    // of a token's text
constexpr std::size_t kLargest = 1ull << 30;  // of all texts

// A string that grows ahead of what is written to it.
class Writer {
 public:
  explicit Writer(std::size_t size) : out_(size + kRoom, '\0') {}
  void append(std::string_view text) {
    grow(text.size());
    std::memcpy(out_.data() + size_, text.data(), text.size());
    size_ += text.size();
  }
  // `from` can be read kRoom bytes far.
  void append_within(const char* from, std::size_t n) {
    if (n > kRoom) return append({from, n});
    grow(n);
    std::memcpy(out_.data() + size_, from, kRoom);
    size_ += n;
  }
  std::string take() {
    out_.resize(size_);
    return std::move(out_);
  }

 private:
  void grow(std::size_t n) {
    if (out_.size() - size_ < n + kRoom) out_.resize(2 * out_.size() + n + kRoom);
  }
  std::string out_;
  std::size_t size_ = 0;
};

}  // namespace

bool DecodeTable::read(const Decoder& decoder, Steps& steps) {
  std::vector<const Decoder*> all;
  const auto flatten = [&](auto& self, const Decoder& one) -> void {
    if (const auto* sequence = dynamic_cast<const DecoderSequence*>(&one)) {
      for (const auto& step : sequence->steps) self(self, *step);
    } else {
      all.push_back(&one);
    }
  };
  flatten(flatten, decoder);
  std::size_t at = 0;
  for (; at < all.size(); ++at) {
    const Decoder::Kind kind = all[at]->kind();
    if (kind != Decoder::Kind::token && kind != Decoder::Kind::place) break;
    steps.before.push_back(all[at]);
    steps.by_place |= kind == Decoder::Kind::place;
  }
  if (at == all.size()) return true;
  steps.gathers = all[at]->kind();
  if (steps.gathers == Decoder::Kind::other) return false;
  ++at;
  // Bytes that fell back leave several tokens.
  if (steps.gathers == Decoder::Kind::fallback && at < all.size() && all[at]->kind() != Decoder::Kind::fuse) return false;
  steps.after.assign(all.begin() + static_cast<std::ptrdiff_t>(at), all.end());
  return true;
}

std::unique_ptr<const DecodeTable> DecodeTable::of(const Core& core) {
  auto made = std::make_unique<DecodeTable>();
  const Decoder* decoder = core.components().decoder.get();
  Steps& steps = made->steps_;
  if (decoder) {
    if (!read(*decoder, steps)) return nullptr;
  } else {
    made->spaced_ = steps.by_place = true;
  }
  const std::size_t limit = core.id_limit();
  if (limit > 2 * core.size(true) + 0xFFFF) return nullptr;  // ids far apart
  made->entries_.resize(limit);
  std::vector<std::string> tokens;
  std::string bytes;
  for (std::size_t i = 0; i < limit; ++i) {
    Entry& entry = made->entries_[i];
    const std::string_view token = core.token(static_cast<Id>(i));
    entry = Entry{static_cast<std::uint32_t>(made->text_.size()), 0, 0};
    if (!token.data()) {
      entry.flags = missing;
      continue;
    }
    if (core.added().is_special(token)) entry.flags |= special;
    std::string_view text = token;
    if (!steps.before.empty()) {
      tokens.assign({"a", std::string(token), "a"});
      for (const Decoder* step : steps.before) step->apply(tokens);
      text = tokens[1];
    } else if (made->spaced_) {
      bytes.assign(1, ' ').append(token);
      text = bytes;
    }
    if (steps.gathers == Decoder::Kind::bytes && byte_level::bytes_of(text, bytes)) text = bytes;
    const int value = steps.gathers == Decoder::Kind::fallback ? fallback_byte(text) : -1;
    if (value >= 0) {
      bytes.assign(1, static_cast<char>(value));
      text = bytes;
      entry.flags |= byte;
    }
    if (text.size() > kLongest || made->text_.size() + text.size() > kLargest) return nullptr;
    entry.size = static_cast<std::uint32_t>(text.size()) & kLongest;
    made->text_ += text;
  }
  made->text_.append(kRoom, '\0');
  return made;
}

std::string DecodeTable::at_end(std::vector<std::string> tokens, bool last) const {
  for (const Decoder* step : steps_.before) step->apply(tokens);
  if (spaced_ && tokens.size() > 1) tokens.back().insert(0, 1, ' ');
  return last ? tokens.back() : tokens.front();
}

std::string DecodeTable::decode(const Core& core, const Id* ids, std::size_t n, bool skip_special_tokens) const {
  const unsigned skipped = missing | (skip_special_tokens ? special : 0u);
  Writer out(n * 6);
  std::string bytes;  // of a character that may not be whole yet
  const auto flush = [&] {
    if (unicode::is_valid(bytes)) out.append(bytes);
    else
      for (std::size_t i = 0; i < bytes.size(); ++i) out.append("\xEF\xBF\xBD");
    bytes.clear();
  };
  // The first and last token, and those beside them; n where there is none.
  std::size_t first = n, second = n, before_last = n, last = n;
  if (steps_.by_place) {
    for (std::size_t i = 0; i < n && second == n; ++i) {
      if (!(entry(ids[i]).flags & skipped)) (first == n ? first : second) = i;
    }
    for (std::size_t i = n; second != n && i-- > 0 && before_last == n;) {
      if (!(entry(ids[i]).flags & skipped)) (last == n ? last : before_last) = i;
    }
  }
  const auto append_end = [&](std::size_t i) {
    std::vector<std::string> tokens;
    for (const std::size_t k : {i == first ? first : before_last, i == first ? second : last}) {
      if (k < n) tokens.emplace_back(core.token(ids[k]));
    }
    std::string text = at_end(std::move(tokens), i != first), readable;
    if (steps_.gathers == Decoder::Kind::bytes && byte_level::bytes_of(text, readable)) text = readable;
    const int byte = steps_.gathers == Decoder::Kind::fallback ? fallback_byte(text) : -1;
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      return;
    }
    flush();
    out.append(text);
  };
  for (std::size_t i = 0; i < n; ++i) {
    const Entry token = entry(ids[i]);
    if (token.flags & skipped) continue;
    if (i == first || i == last) {
      append_end(i);
    } else if (token.flags & byte) {
      bytes.push_back(text_[token.at]);
    } else {
      if (!bytes.empty()) flush();
      out.append_within(text_.data() + token.at, token.size);
    }
  }
  flush();
  std::string text = out.take();
  if (steps_.gathers == Decoder::Kind::bytes && !unicode::is_valid(text)) {
    std::string readable;
    unicode::append_lossy(readable, text);
    text = std::move(readable);
  }
  if (steps_.after.empty()) return text;
  std::vector<std::string> whole{std::move(text)};
  for (const Decoder* step : steps_.after) step->apply(whole);
  text.clear();
  for (const std::string& part : whole) text += part;
  return text;
}

}  // namespace enfold::tok
