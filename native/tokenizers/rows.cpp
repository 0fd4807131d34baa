#include "rows.hpp"

#include <algorithm>

#include "errors.hpp"

namespace enfold::tok {

const std::string* Rows::own_text(std::size_t at) const {
  if (texts.empty()) return nullptr;
  const auto found =
      std::lower_bound(texts.begin(), texts.end(), at, [](const OwnText& t, std::size_t x) { return t.at < x; });
  return found != texts.end() && found->at == at ? &found->text : nullptr;
}

void Rows::clear() {
  splits.resize_down(1);
  ids.clear();
  type_ids.clear();
  offsets.clear();
  words.clear();
  special.clear();
  sequence.clear();
  attention.clear();
  samples.clear();
  inputs.clear();
  texts.clear();
  whole = false;
}

void Rows::reserve(std::size_t tokens, bool with_offsets, bool with_words) {
  ids.reserve(tokens);
  type_ids.reserve(tokens);
  if (with_offsets) offsets.reserve(tokens);
  if (with_words) words.reserve(tokens);
  special.reserve(tokens);
  sequence.reserve(tokens);
}

void Rows::append(const Rows& other) {
  const std::size_t base = ids.size();
  const bool padded = !attention.empty() || !other.attention.empty();
  if (padded && attention.empty()) attention.fill(base, 1);
  for (std::size_t r = 1; r <= other.size(); ++r) splits.push_back(other.splits[r] + static_cast<std::int64_t>(base));
  ids.append(other.ids.data(), other.ids.size());
  type_ids.append(other.type_ids.data(), other.type_ids.size());
  offsets.append(other.offsets.data(), other.offsets.size());
  words.append(other.words.data(), other.words.size());
  special.append(other.special.data(), other.special.size());
  sequence.append(other.sequence.data(), other.sequence.size());
  samples.append(other.samples.data(), other.samples.size());
  inputs.append(other.inputs.data(), other.inputs.size());
  whole |= other.whole;
  if (padded) {
    if (other.attention.empty()) attention.fill(other.ids.size(), 1);
    else attention.append(other.attention.data(), other.attention.size());
  }
  for (const OwnText& t : other.texts) texts.push_back({t.at + base, t.text});
}

Rows Rows::slice(std::size_t begin, std::size_t end, std::size_t row) const {
  Rows made;
  const std::size_t n = end - begin;
  made.ids.append(ids.data() + begin, n);
  made.type_ids.append(type_ids.data() + begin, n);
  if (!offsets.empty()) made.offsets.append(offsets.data() + begin, n);
  if (!words.empty()) made.words.append(words.data() + begin, n);
  made.special.append(special.data() + begin, n);
  made.sequence.append(sequence.data() + begin, n);
  if (!attention.empty()) made.attention.append(attention.data() + begin, n);
  for (const OwnText& t : texts) {
    if (t.at >= begin && t.at < end) made.texts.push_back({t.at - begin, t.text});
  }
  made.splits.push_back(static_cast<std::int64_t>(n));
  made.samples.push_back(samples[row]);
  made.inputs.push_back(inputs[row]);
  made.whole = whole;
  return made;
}

Rows Rows::row(std::size_t at) const { return slice(begin(at), begin(at) + length(at), at); }

std::vector<std::pair<std::size_t, std::size_t>> windows(std::size_t size, std::size_t max_length, std::size_t stride,
                                                         Side direction, bool overflow) {
  if (max_length >= size) return {{0, size}};
  if (max_length == 0 && overflow) return {{0, 0}, {0, size}};
  if (max_length == 0) return {{0, 0}};
  if (stride >= max_length) {
    throw Error("the stride (" + std::to_string(stride) + ") should be less than the room for tokens (" +
                std::to_string(max_length) + ", max_length without the special tokens)");
  }
  std::vector<std::pair<std::size_t, std::size_t>> out;
  const std::size_t step = max_length - stride;
  if (direction == Side::right) {
    for (std::size_t begin = 0;; begin += step) {
      const std::size_t end = std::min(begin + max_length, size);
      out.emplace_back(begin, end);
      if (end == size || !overflow) return out;
    }
  }
  for (std::size_t end = size;; end -= step) {
    const std::size_t begin = end > max_length ? end - max_length : 0;
    out.emplace_back(begin, end);
    if (begin == 0 || !overflow) return out;
  }
}

std::pair<std::size_t, std::size_t> kept(const Truncation& truncation, std::size_t room, std::size_t first,
                                         std::optional<std::size_t> second) {
  const std::size_t n1 = first, n2 = second.value_or(0);
  std::size_t keep1 = n1, keep2 = n2;
  const std::size_t remove = n1 + n2 - std::min(n1 + n2, room);
  if (room == 0) {
    keep1 = keep2 = 0;
  } else if (truncation.strategy == Strategy::longest_first) {
    if (!second) {
      keep1 = room;
    } else {
      std::size_t small = std::min(n1, n2), large = small > room ? small : std::max(small, room - small);
      if (small + large > room) {
        small = room / 2;
        large = small + room % 2;
      }
      keep1 = n1 > n2 ? large : small;
      keep2 = n1 > n2 ? small : large;
    }
  } else {
    const bool cuts_first = truncation.strategy == Strategy::only_first;
    if (!cuts_first && !second) throw Error("truncation 'only_second' needs a second sequence");
    std::size_t& keep = cuts_first ? keep1 : keep2;
    if (keep <= remove) {
      throw Error("the sequence to truncate has " + std::to_string(keep) + " tokens, too few to remove " +
                  std::to_string(remove) + "; raise max_length or use the strategy 'longest_first'");
    }
    keep -= remove;
  }
  return {keep1, keep2};
}

std::size_t padded_length(const Rows& rows, const Padding& padding) {
  std::size_t length = padding.length;
  if (!padding.fixed) {
    length = 0;
    // The overflow of a text doesn't widen the batch: it is padded to what the first rows need.
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (r == 0 || rows.samples[r] != rows.samples[r - 1]) length = std::max(length, rows.length(r));
    }
  }
  if (padding.multiple && length % padding.multiple) length += padding.multiple - length % padding.multiple;
  return length;
}

Rows pad(const Rows& rows, std::size_t length, const Padding& padding, bool named) {
  Rows out;
  std::size_t text = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::size_t begin = rows.begin(r), n = rows.length(r), missing = length > n ? length - n : 0;
    const auto fill = [&] {
      if (!missing) return;
      for (std::size_t k = 0; !named && k < missing; ++k) out.texts.push_back({out.ids.size() + k, padding.token});
      out.ids.fill(missing, padding.id);
      out.type_ids.fill(missing, padding.type_id);
      // Of rows without a single token nobody can say whether they keep offsets: they may be asked for.
      if (!rows.offsets.empty() || rows.ids.empty()) out.offsets.fill(missing, Span{0, 0});
      if (!rows.words.empty() || rows.ids.empty()) out.words.fill(missing, -1);
      out.special.fill(missing, 1);
      out.sequence.fill(missing, rows.whole && rows.inputs[r] == 1 ? 0 : -1);
      out.attention.fill(missing, 0);
    };
    if (padding.direction == Side::left) fill();
    for (; text < rows.texts.size() && rows.texts[text].at < begin + n; ++text) {
      out.texts.push_back({rows.texts[text].at - begin + out.ids.size(), rows.texts[text].text});
    }
    out.ids.append(rows.ids.data() + begin, n);
    out.type_ids.append(rows.type_ids.data() + begin, n);
    if (!rows.offsets.empty()) out.offsets.append(rows.offsets.data() + begin, n);
    if (!rows.words.empty()) out.words.append(rows.words.data() + begin, n);
    out.special.append(rows.special.data() + begin, n);
    out.sequence.append(rows.sequence.data() + begin, n);
    if (rows.attention.empty()) out.attention.fill(n, 1);
    else out.attention.append(rows.attention.data() + begin, n);
    if (padding.direction == Side::right) fill();
    out.splits.push_back(static_cast<std::int64_t>(out.ids.size()));
  }
  out.samples = rows.samples;
  out.inputs = rows.inputs;
  out.whole = rows.whole;
  return out;
}

}  // namespace enfold::tok
