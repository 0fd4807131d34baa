#include <algorithm>

#include "tokenizer.hpp"

namespace enfold::tok {

// Writes rows as the post-processor lays them out.
class Core::RowWriter {
 public:
  RowWriter(const Core& core, const Wanted& wanted, Rows& out) : core_(core), wanted_(wanted), out_(out) {
    out.whole = !core.components_.post;
  }

  const std::vector<PostProcessor::Part>& parts(bool pair) const {
    static const std::vector<PostProcessor::Part> kBare = {{0, 0, {}}}, kBarePair = {{0, 0, {}}, {1, 1, {}}};
    const PostProcessor* post = core_.components_.post.get();
    if (!post) return pair ? kBarePair : kBare;
    return pair ? post->pair : post->single;
  }

  void special(const PostProcessor::Part& part) {
    const auto& special = part.special;
    const std::size_t n = special.ids.size();
    for (std::size_t k = 0; k < n; ++k) {
      if (core_.plain_token(special.ids[k]) != special.tokens[k])
        out_.texts.push_back({out_.ids.size() + k, special.tokens[k]});
    }
    out_.ids.append(special.ids.data(), n);
    out_.type_ids.fill(n, part.type_id);
    if (wanted_.offsets) out_.offsets.fill(n, Span{0, 0});
    if (wanted_.words) out_.words.fill(n, -1);
    out_.special.fill(n, 1);
    out_.sequence.fill(n, -1);
  }

  // Tokens [begin, end) of a sequence. `overflow`: not the first of its rows.
  void copy(const PostProcessor::Part& part, const Tokens& tokens, std::size_t begin, std::size_t end, bool overflow) {
    const std::size_t n = end - begin, base = out_.ids.size();
    for (const OwnText& t : tokens.texts) {
      if (t.at >= begin && t.at < end) out_.texts.push_back({t.at - begin + base, t.text});
    }
    out_.ids.append(tokens.ids.data() + begin, n);
    if (wanted_.offsets) out_.offsets.append(tokens.offsets.data() + begin, n);
    if (wanted_.words) out_.words.append(tokens.words.data() + begin, n);
    complete(part, base, overflow);
  }

  // A sequence that is encoded where it shall stand.
  void encode(const PostProcessor::Part& part, const SequenceInput& input, Tokens& tokens, Scratch& scratch) {
    const std::size_t base = out_.ids.size();
    tokens.clear();
    swap(tokens);
    core_.encode_sequence(input, tokens, scratch);
    swap(tokens);
    complete(part, base, false);
  }

  void end_row(std::int32_t sample, bool pair) {
    out_.splits.push_back(static_cast<std::int64_t>(out_.ids.size()));
    out_.samples.push_back(sample);
    out_.inputs.push_back(pair ? 2 : 1);
  }

 private:
  void swap(Tokens& tokens) {
    tokens.ids.swap(out_.ids);
    tokens.offsets.swap(out_.offsets);
    tokens.words.swap(out_.words);
    tokens.texts.swap(out_.texts);
  }

  // What else there is to say of the tokens from `base` on.
  void complete(const PostProcessor::Part& part, std::size_t base, bool overflow) {
    const std::size_t n = out_.ids.size() - base;
    using Types = PostProcessor::Types;
    const PostProcessor* post = core_.components_.post.get();
    const Types types = post ? post->types : Types::own;
    std::int32_t type = part.sequence;
    if (types == Types::part && !overflow) type = part.type_id;
    if (types == Types::zero && (wanted_.special_tokens || !overflow)) type = 0;
    out_.type_ids.fill(n, type);
    out_.special.fill(n, 0);
    out_.sequence.fill(n, static_cast<std::int8_t>(part.sequence));
    if (!wanted_.offsets || !post || post->trimming.empty()) return;
    const BlankTable& table = core_.blank_table();
    for (const bool add_prefix_space : post->trimming) {
      for (std::size_t i = base; i < base + n; ++i) {
        const std::string* own = out_.texts.empty() ? nullptr : out_.own_text(i);
        const Blanks blanks = own ? blanks_of(*own) : table[out_.ids[i]];
        out_.offsets[i] = trim(out_.offsets[i], blanks, i == base, add_prefix_space);
      }
    }
  }

  const Core& core_;
  const Wanted& wanted_;
  Rows& out_;
};

const BlankTable& Core::blank_table() const {
  return blanks_->get([&] {
    BlankTable made(id_limit());
    model().vocab.each([&](std::string_view token, Id id) { made.set(id, blanks_of(token)); });
    for (const auto& [id, token] : added_->tokens()) made.set(id, blanks_of(*added_->text(id)));
    return made;
  });
}

// Appends to `out`.
void Core::encode_sequence(const SequenceInput& input, Tokens& out, Scratch& scratch) const {
  if (!input.words) return encode_text(input.text, out, scratch);
  std::int32_t index = 0;
  for (const std::string_view word : *input.words) {
    const std::size_t before = out.ids.size();
    encode_text(word, out, scratch);
    if (out.want_words) std::fill(out.words.begin() + before, out.words.end(), index);
    ++index;
  }
}

void Core::encode(const SequenceInput& first, const SequenceInput* second, std::int32_t sample, const Wanted& wanted,
                  const Truncation* truncation, Scratch& scratch, Rows& out) const {
  for (Tokens* tokens : {&scratch.first, &scratch.second}) {
    tokens->want_offsets = wanted.offsets;
    tokens->want_words = wanted.words;
  }
  RowWriter writer(*this, wanted, out);
  const auto& parts = writer.parts(false);
  const auto is_text = [](const PostProcessor::Part& part) { return part.sequence == 0; };
  if (second || truncation || std::count_if(parts.begin(), parts.end(), is_text) != 1) {
    scratch.first.clear();
    scratch.second.clear();
    encode_sequence(first, scratch.first, scratch);
    if (second) encode_sequence(*second, scratch.second, scratch);
    return process(scratch.first, second ? &scratch.second : nullptr, sample, wanted, truncation, out);
  }
  for (const auto& part : parts) {
    if (part.sequence == 0) writer.encode(part, first, scratch.first, scratch);
    else if (part.sequence < 0 && wanted.special_tokens) writer.special(part);
  }
  writer.end_row(sample, false);
}

void Core::process(const Tokens& first, const Tokens* second, std::int32_t sample, const Wanted& wanted,
                   const Truncation* truncation, Rows& out) const {
  using Window = std::pair<std::size_t, std::size_t>;
  const std::size_t n1 = first.ids.size(), n2 = second ? second->ids.size() : 0;
  Window window1{0, n1}, window2{0, n2};
  std::vector<Window> overflow1, overflow2;
  if (truncation) {
    const std::size_t added = wanted.special_tokens ? added_by_template(second) : 0;
    if (truncation->max_length < added) {
      throw Error("max_length (" + std::to_string(truncation->max_length) + ") leaves no room for the " +
                  std::to_string(added) + " special tokens; raise it or pass add_special_tokens=False");
    }
    const std::size_t room = truncation->max_length - added;
    const auto cut = [&](std::size_t size, std::size_t to, Window& kept, std::vector<Window>& rest) {
      auto all = windows(size, to, truncation->stride, truncation->direction, wanted.overflow);
      kept = all[0];
      rest.assign(all.begin() + 1, all.end());
    };
    if (room == 0 || n1 + n2 > room) {
      const auto [keep1, keep2] = tok::kept(*truncation, room, n1, second ? std::optional(n2) : std::nullopt);
      cut(n1, keep1, window1, overflow1);
      if (second) cut(n2, keep2, window2, overflow2);
    }
  }
  // Each rest of the one sequence meets each rest of the other.
  constexpr std::size_t kMostTokens = std::size_t{1} << 28;
  const std::size_t count = (overflow1.size() + 1) * (overflow2.size() + 1);
  if (truncation && count > kMostTokens / (truncation->max_length + 1)) {
    throw Error("cut to " + std::to_string(truncation->max_length) + " tokens this pair would make " +
                std::to_string(count) + " rows; raise max_length or lower the stride");
  }
  RowWriter writer(*this, wanted, out);
  const auto write_row = [&](Window cut1, Window cut2, bool later1, bool later2) {
    for (const auto& part : writer.parts(second)) {
      if (part.sequence < 0) {
        if (wanted.special_tokens) writer.special(part);
      } else if (part.sequence == 0) {
        writer.copy(part, first, cut1.first, cut1.second, later1);
      } else if (second) {
        writer.copy(part, *second, cut2.first, cut2.second, later2);
      }
    }
    writer.end_row(sample, second);
  };
  // The overflow of the first sequence with everything of the second, then the first's start with the second's rest.
  write_row(window1, window2, false, false);
  for (const Window& other1 : overflow1) {
    write_row(other1, window2, true, false);
    for (const Window& other2 : overflow2) write_row(other1, other2, true, true);
  }
  for (const Window& other2 : overflow2) write_row(window1, other2, false, true);
}

}  // namespace enfold::tok
