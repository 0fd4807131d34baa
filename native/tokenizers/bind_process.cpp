#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "tokenizer_object.hpp"

namespace enfold::tok {

namespace {

using Part = PostProcessor::Part;

std::string_view text_of(const EncodingView& e, std::size_t at) {
  const std::string* own = e.rows->own_text(at);
  return own ? std::string_view(*own) : e.core ? e.core->plain_token(e.rows->ids[at]) : std::string_view();
}

// A sequence as it goes into the template: all of it belongs to that sequence.
EncodingView sequence_of(const EncodingView& e, const Part& part, const PostProcessor* post, bool special) {
  using Types = PostProcessor::Types;
  const auto types = post ? post->types : Types::own;
  EncodingView made{nullptr, e.core, 0, 0};
  Rows rows = own_rows(e);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const bool overflow = r > 0;
    std::int32_t type = part.sequence;
    if (types == Types::part && !overflow) type = part.type_id;
    if (types == Types::zero && (special || !overflow)) type = 0;
    for (std::size_t i = rows.begin(r); i < rows.begin(r) + rows.length(r); ++i) {
      if (post) rows.type_ids[i] = type;
      rows.sequence[i] = static_cast<std::int8_t>(part.sequence);
      if (special && types != Types::part && post && post->has_template) rows.special[i] = 0;
    }
    rows.inputs[r] = static_cast<std::int8_t>(part.sequence + 1);
  }
  if (post && !rows.offsets.empty()) {
    const EncodingView before{std::make_shared<const Rows>(rows), e.core, 0, rows.size()};
    for (const bool add_prefix_space : post->trimming) {
      for (std::size_t r = 0; r < rows.size(); ++r) {
        for (std::size_t i = rows.begin(r); i < rows.begin(r) + rows.length(r); ++i) {
          rows.offsets[i] = trim(rows.offsets[i], blanks_of(text_of(before, i)), i == rows.begin(r), add_prefix_space);
        }
      }
    }
  }
  assign(made, std::move(rows));
  return made;
}

EncodingView special_of(const Part& part, const EncodingView& like) {
  Rows rows;
  const std::size_t n = part.special.ids.size();
  for (std::size_t i = 0; i < n; ++i) rows.texts.push_back({i, part.special.tokens[i]});
  rows.ids.append(part.special.ids.data(), n);
  rows.type_ids.fill(n, part.type_id);
  if (!like.rows->offsets.empty() || !like.size()) rows.offsets.fill(n, Span{0, 0});
  if (!like.rows->words.empty() || !like.size()) rows.words.fill(n, -1);
  rows.special.fill(n, 1);
  rows.sequence.fill(n, -1);
  rows.splits.push_back(static_cast<std::int64_t>(n));
  rows.samples.push_back(0);
  rows.inputs.push_back(1);
  EncodingView made{nullptr, like.core, 0, 0};
  assign(made, std::move(rows));
  return made;
}

}  // namespace

EncodingView process(const PostProcessor* post, const EncodingView& first, const EncodingView* second, bool special) {
  static const std::vector<Part> kBare = {{0, 0, {}}}, kBarePair = {{0, 0, {}}, {1, 1, {}}};
  const auto& parts = post ? (second ? post->pair : post->single) : second ? kBarePair : kBare;
  std::vector<EncodingView> views;
  for (const Part& part : parts) {
    if (part.sequence < 0) {
      if (special) views.push_back(special_of(part, first));
    } else if (part.sequence == 0) {
      views.push_back(sequence_of(first, part, post, special));
    } else if (second) {
      views.push_back(sequence_of(*second, part, post, special));
    }
  }
  EncodingView made = merge(views, false);
  if (!made.core) made.core = first.core;
  return made;
}

EncodingView Tokenizer::post_process(EncodingView first, std::optional<EncodingView> second, bool special) const {
  const auto by = core();
  const PostProcessor* post = by->components().post.get();
  if (options.truncation) {
    const Truncation& cut = *options.truncation;
    const std::size_t added = special ? by->added_by_template(second.has_value()) : 0;
    if (cut.max_length < added) {
      throw Error("max_length (" + std::to_string(cut.max_length) + ") leaves no room for the " +
                  std::to_string(added) + " special tokens; raise it or pass add_special_tokens=False");
    }
    const std::size_t room = cut.max_length - added, n1 = first.size(), n2 = second ? second->size() : 0;
    if (room == 0 || n1 + n2 > room) {
      const auto [keep1, keep2] = kept(cut, room, n1, second ? std::optional(n2) : std::nullopt);
      truncate(first, keep1, cut.stride, cut.direction);
      if (second) truncate(*second, keep2, cut.stride, cut.direction);
    }
  }
  EncodingView made = process(post, first, second ? &*second : nullptr, special);
  if (options.padding) {
    const Padding& padding = *options.padding;
    const Rows rows = own_rows(made);
    assign(made, pad(rows, padded_length(rows, padding), padding,
                     made.core && made.core->plain_token(padding.id) == padding.token));
  }
  return made;
}

}  // namespace enfold::tok
