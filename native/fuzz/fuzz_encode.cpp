// Texts and options of every kind through each configuration: the fast plan gives what the literal path gives, offsets
// lie in the text and what was encoded can be decoded.

#include "bytes.hpp"
#include "configurations.hpp"
#include "errors.hpp"

using namespace enfold::tok;

namespace {

struct Case {
  std::string first, second;
  bool pair = false, cut_to_words = false;
  Wanted wanted;
  std::optional<Truncation> truncation;
};

// Words of a text, cut at white space.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// False if the options leave no room for what they ask.
bool encode(const Core& core, const Case& of, Rows& rows) {
  Core::Lease scratch(core);
  const auto first = words_of(of.first), second = words_of(of.second);
  SequenceInput inputs[2] = {{of.first, nullptr}, {of.second, nullptr}};
  if (of.cut_to_words) inputs[0].words = &first, inputs[1].words = &second;
  try {
    core.encode(inputs[0], of.pair ? &inputs[1] : nullptr, 0, of.wanted, of.truncation ? &*of.truncation : nullptr,
                *scratch, rows);
  } catch (const Error&) {
    return false;
  }
  return true;
}

template <typename T>
bool equal(const Buffer<T>& a, const Buffer<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

bool equal(const Buffer<Span>& a, const Buffer<Span>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](Span x, Span y) { return x.begin == y.begin && x.end == y.end; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto literal = [] {
    std::vector<std::shared_ptr<const Core>> made;
    for (const auto& core : configurations()) made.push_back(core->without_plan());
    return made;
  }();
  Bytes bytes(data, size);
  const std::size_t which = bytes.below(configurations().size());
  Case of;
  const std::size_t flags = bytes.below(256);
  of.pair = flags & 1;
  of.cut_to_words = flags & 2;
  of.wanted.special_tokens = flags & 4;
  of.wanted.overflow = flags & 8;
  if (flags & 16) {
    Truncation cut;
    cut.max_length = bytes.below(12);
    cut.stride = bytes.below(4);
    cut.strategy = static_cast<Strategy>(bytes.below(3));
    cut.direction = bytes.flag() ? Side::left : Side::right;
    of.truncation = cut;
  }
  if (of.pair) of.second = bytes.text();
  of.first = bytes.text();
  const Core& planned = *configurations()[which];
  Rows mine, reference;
  const bool done = encode(planned, of, mine);
  require(done == encode(*literal[which], of, reference), "both paths refuse the same");
  if (!done) return 0;
  require(equal(mine.ids, reference.ids), "the plan's ids are the literal path's");
  require(equal(mine.offsets, reference.offsets), "the plan's offsets are the literal path's");
  require(equal(mine.words, reference.words), "the plan's word ids are the literal path's");
  require(equal(mine.type_ids, reference.type_ids), "the plan's type ids are the literal path's");
  require(equal(mine.splits, reference.splits), "the plan's rows are the literal path's");
  require(mine.offsets.size() == mine.ids.size(), "every token has an offset");
  for (std::size_t i = 0; i < mine.ids.size(); ++i) {
    require(mine.offsets[i].begin <= mine.offsets[i].end, "an offset goes forward");
  }
  require(unicode::is_valid(planned.decode(mine.ids.data(), mine.ids.size(), flags & 32)), "decoded text is UTF-8");
  return 0;
}
