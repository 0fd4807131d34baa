#include "tokenizer.hpp"

#include <algorithm>

namespace enfold::tok {

namespace {

constexpr std::size_t kIdleScratches = 8;

Side read_side(json::Value value, const char* what) {
  const auto name = value.string(what);
  if (name == "Left") return Side::left;
  if (name == "Right") return Side::right;
  throw Error(std::string(what) + " should be Left or Right, got '" + std::string(name) + "'");
}

std::size_t read_size(json::Value value, const char* what) {
  const std::int64_t n = value.integer(what);
  if (n < 0) throw Error(std::string(what) + " should not be negative");
  return static_cast<std::size_t>(n);
}

std::optional<Truncation> read_truncation(json::Value spec) {
  if (spec.is_null()) return std::nullopt;
  Truncation made;
  made.max_length = read_size(spec.need("max_length", "truncation"), "truncation.max_length");
  made.stride = read_size(spec.need("stride", "truncation"), "truncation.stride");
  if (!spec["direction"].is_null()) made.direction = read_side(spec["direction"], "truncation.direction");
  const std::string name = spec.text("strategy", "truncation");
  if (name == "LongestFirst") made.strategy = Strategy::longest_first;
  else if (name == "OnlyFirst") made.strategy = Strategy::only_first;
  else if (name == "OnlySecond") made.strategy = Strategy::only_second;
  else
    throw Error(
        "truncation.strategy should be LongestFirst, OnlyFirst or "
        "OnlySecond, got '" +
        name + "'");
  return made;
}

std::optional<Padding> read_padding(json::Value spec) {
  if (spec.is_null()) return std::nullopt;
  Padding made;
  const auto strategy = spec.need("strategy", "padding");
  if (const auto fixed = strategy["Fixed"]; !fixed.is_null()) {
    made.fixed = true;
    made.length = read_size(fixed, "padding.strategy.Fixed");
  } else if (strategy.string("padding.strategy") != "BatchLongest") {
    throw Error("padding.strategy should be \"BatchLongest\" or {\"Fixed\": length}");
  }
  made.direction = read_side(spec.need("direction", "padding"), "padding.direction");
  if (const auto multiple = spec["pad_to_multiple_of"]; !multiple.is_null()) {
    made.multiple = read_size(multiple, "padding.pad_to_multiple_of");
  }
  made.id = static_cast<Id>(spec.need("pad_id", "padding").integer("padding.pad_id"));
  made.type_id = static_cast<std::int32_t>(spec.need("pad_type_id", "padding").integer("padding.pad_type_id"));
  made.token = spec.text("pad_token", "padding");
  return made;
}

std::string dump_truncation(const Truncation& t) {
  const char* strategies[] = {"LongestFirst", "OnlyFirst", "OnlySecond"};
  return std::string("{\"direction\":\"") + (t.direction == Side::left ? "Left" : "Right") +
         "\",\"max_length\":" + std::to_string(t.max_length) + ",\"strategy\":\"" +
         strategies[static_cast<int>(t.strategy)] + "\",\"stride\":" + std::to_string(t.stride) + "}";
}

std::string dump_padding(const Padding& p) {
  return "{\"strategy\":" +
         (p.fixed ? "{\"Fixed\":" + std::to_string(p.length) + "}" : std::string("\"BatchLongest\"")) +
         ",\"direction\":\"" + (p.direction == Side::left ? "Left" : "Right") +
         "\",\"pad_to_multiple_of\":" + (p.multiple ? std::to_string(p.multiple) : "null") +
         ",\"pad_id\":" + std::to_string(p.id) + ",\"pad_type_id\":" + std::to_string(p.type_id) +
         ",\"pad_token\":" + json::quoted(p.token) + "}";
}

}  // namespace

std::shared_ptr<const Core> Core::read(std::string source, Options& options) {
  const json::Document document(std::move(source));
  const json::Value root = document.root();
  if (!root.is(json::Kind::object)) throw Error("a tokenizer file should be a JSON object");
  auto core = std::make_shared<Core>();
  auto& made = core->components_;
  made.normalizer = read_normalizer(root["normalizer"]);
  made.pre_tokenizer = read_pre_tokenizer(root["pre_tokenizer"]);
  made.post = read_post_processor(root["post_processor"]);
  made.decoder = read_decoder(root["decoder"]);
  made.model = read_model(root["model"]);
  made.normalizer_spec = root["normalizer"].dump();
  made.pre_tokenizer_spec = root["pre_tokenizer"].dump();
  made.post_spec = root["post_processor"].dump();
  made.decoder_spec = root["decoder"].dump();
  auto added = std::make_shared<AddedTokens>();
  if (const auto tokens = root["added_tokens"]; !tokens.is_null()) {
    std::vector<AddedToken> list;
    tokens.each_item("added_tokens", [&](json::Value item) { list.push_back(read_added_token(item)); });
    added->add(list, *made.model, made.normalizer.get());
  }
  core->added_ = std::move(added);
  options.truncation = read_truncation(root["truncation"]);
  options.padding = read_padding(root["padding"]);
  core->prepare();
  return core;
}

void Core::prepare() {
  plan_ = make_plan(model(), components_.normalizer.get(), components_.pre_tokenizer.get(), *added_);
  pool_ = std::make_shared<Pool>();
  decoding_ = std::make_shared<Decoding>();
  if (!components_.post || components_.post->trimming.empty()) return;
  const std::size_t limit = id_limit();
  auto blanks = std::make_shared<std::vector<Blanks>>(limit);
  model().vocab.each(
      [&](std::string_view token, Id id) { (*blanks)[static_cast<std::size_t>(id)] = blanks_of(token); });
  for (const auto& [id, token] : added_->tokens())
    (*blanks)[static_cast<std::size_t>(id)] = blanks_of(*added_->text(id));
  blanks_ = std::move(blanks);
}

std::shared_ptr<const Core> Core::of(std::shared_ptr<const Model> model) {
  auto core = std::make_shared<Core>();
  core->components_.model = std::move(model);
  core->added_ = std::make_shared<AddedTokens>();
  core->prepare();
  return core;
}

std::shared_ptr<const Core> Core::with(Components components) const {
  auto core = std::make_shared<Core>(*this);
  if (components.normalizer != components_.normalizer) {
    auto added = std::make_shared<AddedTokens>(*added_);
    added->refresh(components.normalizer.get());
    core->added_ = std::move(added);
  }
  core->components_ = std::move(components);
  core->prepare();
  return core;
}

std::shared_ptr<const Core> Core::with_added(const std::vector<AddedToken>& tokens, std::size_t& added) const {
  auto core = std::make_shared<Core>(*this);
  auto grown = std::make_shared<AddedTokens>(*added_);
  added = grown->add(tokens, model(), components_.normalizer.get());
  core->added_ = std::move(grown);
  core->prepare();
  return core;
}

std::shared_ptr<const Core> Core::splitting_special(bool split) const {
  auto core = std::make_shared<Core>(*this);
  core->split_special_ = split;
  core->pool_ = std::make_shared<Pool>();
  return core;
}

std::shared_ptr<const Core> Core::without_plan() const {
  auto core = std::make_shared<Core>(*this);
  core->plan_.reset();
  core->pool_ = std::make_shared<Pool>();
  return core;
}

std::string Core::dump(const Options& options, bool to_print) const {
  std::vector<Id> ids;
  for (const auto& [id, token] : added_->tokens()) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  std::string out = "{\"version\":\"1.0\",\"truncation\":";
  out += options.truncation ? dump_truncation(*options.truncation) : "null";
  out += ",\"padding\":";
  out += options.padding ? dump_padding(*options.padding) : "null";
  out += ",\"added_tokens\":[";
  for (const Id id : ids) {
    if (out.back() != '[') out += ',';
    out += dump_added_token(*added_->by_id(id), id);
  }
  out += ']';
  const auto& parts = components_;
  for (const auto& [name, spec] :
       {std::pair<const char*, const std::string&>{"normalizer", parts.normalizer_spec},
        std::pair<const char*, const std::string&>{"pre_tokenizer", parts.pre_tokenizer_spec},
        std::pair<const char*, const std::string&>{"post_processor", parts.post_spec},
        std::pair<const char*, const std::string&>{"decoder", parts.decoder_spec}}) {
    if (spec.empty() && !to_print) {
      throw Error(std::string("the ") + name +
                  " is Python code, which has no form in a file; put another "
                  "one in its place before saving");
    }
    out.append(",\"").append(name).append("\":").append(spec.empty() ? "\"<Python code>\"" : spec);
  }
  return out + ",\"model\":" + model().dump() + "}";
}

std::string_view Core::token(Id id) const {
  if (id < 0) return {};
  if (const std::string* text = added_->text(id)) return *text;
  if (model().vocab.contains(id)) return model().vocab[id];
  return {};
}

std::string_view Core::plain_token(Id id) const { return model().vocab.contains(id) ? model().vocab[id] : token(id); }

std::size_t Core::size(bool with_added) const {
  std::size_t n = model().vocab.size();
  if (with_added) {
    for (const auto& [content, id] : added_->ids()) n += model().vocab.find(content) == kNoId;
  }
  return n;
}

std::size_t Core::id_limit() const {
  return std::max(model().vocab.id_limit(), static_cast<std::size_t>(added_->id_limit()));
}

Core::Lease::Lease(const Core& core) : core_(core) {
  {
    const std::lock_guard lock(core.pool_->mutex);
    if (!core.pool_->idle.empty()) {
      scratch_ = std::move(core.pool_->idle.back());
      core.pool_->idle.pop_back();
    }
  }
  if (!scratch_) scratch_ = std::make_unique<Scratch>();
}

Core::Lease::~Lease() {
  const std::lock_guard lock(core_.pool_->mutex);
  if (core_.pool_->idle.size() < kIdleScratches) core_.pool_->idle.push_back(std::move(scratch_));
}

void Core::push_text(Id id, std::string_view text, Tokens& out) const {
  if (plain_token(id) != text) out.texts.push_back({out.ids.size(), std::string(text)});
}

void Core::push_added(Id id, std::string_view text, Span offset, std::uint32_t word, Tokens& out) const {
  push_text(id, text, out);
  out.push(id, offset, static_cast<std::int32_t>(word));
}

void Core::encode_text(std::string_view text, Tokens& out, Scratch& scratch) const {
  std::uint32_t word = 0;
  if (components_.pre_tokenizer && components_.pre_tokenizer->takes_splits()) {
    return encode_through_splits(text, out, scratch);
  }
  if (text.empty()) return;
  auto& sections = scratch.sections;
  sections.clear();
  scratch.characters.clear();
  if (added_->any(false)) added_->split(text, false, split_special_, sections);
  else sections.push_back({kNoId, 0, static_cast<std::uint32_t>(text.size())});
  std::uint32_t at = 0, counted = 0;  // character `at` starts at byte `counted`
  const auto advance = [&](std::uint32_t to) {
    if (to > counted) at += static_cast<std::uint32_t>(unicode::count(text.substr(counted, to - counted)));
    else at -= static_cast<std::uint32_t>(unicode::count(text.substr(to, counted - to)));
    counted = to;
    return at;
  };
  for (std::size_t s = 0; s < sections.size(); ++s) {
    const Section section = sections[s];
    const std::uint32_t begin = advance(section.begin);
    if (section.id != kNoId) {
      push_added(section.id, text.substr(section.begin, section.end - section.begin), {begin, advance(section.end)},
                 word, out);
      ++word;
      continue;
    }
    const std::string_view part = text.substr(section.begin, section.end - section.begin);
    if (plan_ && plan_->run_raw(part, begin, word, out, scratch)) continue;
    if (!plan_ || !plan_->takes(part)) {
      encode_literally(text, section.begin, section.end, word, out, scratch);
      continue;
    }
    const char* const limit = text.data() + text.size();
    if (!added_->any(true)) {
      plan_->run(part, limit, begin, word, out, scratch);
      continue;
    }
    // A plan that takes a text leaves it as it is, so the tokens that match normalised text match it here.
    auto& inner = scratch.inner;
    inner.clear();
    added_->split(part, true, split_special_, inner);
    for (const Section& piece : inner) {
      const std::uint32_t from = advance(section.begin + piece.begin);
      const std::string_view what = part.substr(piece.begin, piece.end - piece.begin);
      if (piece.id == kNoId) {
        plan_->run(what, limit, from, word, out, scratch);
      } else {
        push_added(piece.id, what, {from, advance(section.begin + piece.end)}, word, out);
        ++word;
      }
    }
  }
}

void Core::encode_literally(std::string_view text, std::size_t begin, std::size_t end, std::uint32_t& word, Tokens& out,
                            Scratch& scratch) const {
  if (scratch.characters.empty()) index_characters(text, scratch.characters);
  const auto characters = [&](Span span) { return in_characters(span, scratch.characters); };
  Aligned whole = Aligned::from(text.substr(begin, end - begin), static_cast<std::uint32_t>(begin));
  if (components_.normalizer) components_.normalizer->apply(whole);
  std::vector<Section> sections;
  if (added_->any(true)) added_->split(whole.text, true, split_special_, sections);
  else if (!whole.text.empty()) sections.push_back({kNoId, 0, static_cast<std::uint32_t>(whole.text.size())});
  std::vector<Aligned> pieces;
  for (const Section& section : sections) {
    pieces.clear();
    if (sections.size() == 1) {
      whole.source(0, whole.text.size(), whole.covers);
      pieces.push_back(std::move(whole));
    } else {
      pieces.push_back(whole.slice(section.begin, section.end));
    }
    if (section.id != kNoId) {
      Span span = pieces[0].covers;
      pieces[0].source(0, pieces[0].text.size(), span);
      push_added(section.id, pieces[0].text, characters(span), word, out);
      ++word;
      continue;
    }
    if (components_.pre_tokenizer) components_.pre_tokenizer->apply(pieces);
    for (const Aligned& piece : pieces) {
      if (piece.text.empty()) continue;
      auto& tokens = scratch.pieces;
      tokens.clear();
      model().tokenize(piece.text, tokens);
      const Id own_text = model().own_text_id();
      for (const Piece& token : tokens) {
        Span span{token.begin, token.end};
        piece.source(token.begin, token.end, span);
        if (token.id == own_text) {
          push_text(own_text, std::string_view(piece.text).substr(token.begin, token.end - token.begin), out);
        }
        out.push(token.id, characters(span), static_cast<std::int32_t>(word));
      }
      ++word;
    }
  }
}

void Core::encode_through_splits(std::string_view text, Tokens& out, Scratch& scratch) const {
  std::vector<Split> splits;
  const auto add = [&](Aligned piece, Id id) {
    piece.input = text;
    splits.push_back({std::move(piece), {}});
    if (id == kNoId) return;
    const std::string& matched = splits.back().text.text;
    splits.back().tokens = {Token{id, matched, {0, matched.size()}}};
  };
  std::vector<Section> sections{{kNoId, 0, static_cast<std::uint32_t>(text.size())}}, inner;
  if (added_->any(false)) {
    sections.clear();
    added_->split(text, false, split_special_, sections);
  }
  for (const Section& section : sections) {
    Aligned whole = Aligned::from(text.substr(section.begin, section.end - section.begin), section.begin);
    if (section.id != kNoId) {
      add(std::move(whole), section.id);
      continue;
    }
    whole.input = text;
    if (components_.normalizer) components_.normalizer->apply(whole);
    inner.clear();
    added_->split(whole.text, true, split_special_, inner);
    for (const Section& piece : inner) add(whole.slice(piece.begin, piece.end), piece.id);
  }
  components_.pre_tokenizer->apply_to_splits(splits);
  index_characters(text, scratch.characters);
  std::int32_t word = 0;
  for (const Split& split : splits) {
    const auto push = [&](Id id, std::size_t begin, std::size_t end, const std::string* own) {
      Span span{static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
      split.text.source(begin, end, span);
      if (own && plain_token(id) != *own) out.texts.push_back({out.ids.size(), *own});
      out.push(id, in_characters(span, scratch.characters), word);
    };
    if (split.tokens) {
      for (const Token& t : *split.tokens) push(static_cast<Id>(t.id), t.offsets.first, t.offsets.second, &t.value);
    } else {
      if (split.text.text.empty()) continue;
      scratch.pieces.clear();
      model().tokenize(split.text.text, scratch.pieces);
      for (const Piece& token : scratch.pieces) {
        const std::string own = split.text.text.substr(token.begin, token.end - token.begin);
        push(token.id, token.begin, token.end, token.id == model().own_text_id() ? &own : nullptr);
      }
    }
    ++word;
  }
}

void Core::encode_sequence(const SequenceInput& input, Tokens& out, Scratch& scratch) const {
  out.clear();
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
  encode_sequence(first, scratch.first, scratch);
  if (second) encode_sequence(*second, scratch.second, scratch);
  process(scratch.first, second ? &scratch.second : nullptr, sample, wanted, truncation, out);
}

Span Core::trimmed(Span offset, Id id, const std::string* own, bool first, bool add_prefix_space) const {
  Blanks blanks{0, 0};
  if (own) blanks = blanks_of(*own);
  else if (static_cast<std::size_t>(id) < blanks_->size()) blanks = (*blanks_)[static_cast<std::size_t>(id)];
  return trim(offset, blanks, first, add_prefix_space);
}

void Core::process(const Tokens& first, const Tokens* second, std::int32_t sample, const Wanted& wanted,
                   const Truncation* truncation, Rows& out) const {
  using Window = std::pair<std::size_t, std::size_t>;
  static const std::vector<PostProcessor::Part> kBare = {{0, 0, {}}}, kBarePair = {{0, 0, {}}, {1, 1, {}}};
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
  out.whole = !components_.post;
  const auto& parts = components_.post ? (second ? components_.post->pair : components_.post->single)
                      : second         ? kBarePair
                                       : kBare;
  const auto types = components_.post ? components_.post->types : PostProcessor::Types::own;

  const auto emit_special = [&](const PostProcessor::Part& part) {
    const auto& special = part.special;
    const std::size_t n = special.ids.size();
    for (std::size_t k = 0; k < n; ++k) {
      if (plain_token(special.ids[k]) != special.tokens[k])
        out.texts.push_back({out.ids.size() + k, special.tokens[k]});
    }
    out.ids.append(special.ids.data(), n);
    out.type_ids.fill(n, part.type_id);
    if (wanted.offsets) out.offsets.fill(n, Span{0, 0});
    if (wanted.words) out.words.fill(n, -1);
    out.special.fill(n, 1);
    out.sequence.fill(n, -1);
  };
  const auto emit_tokens = [&](const PostProcessor::Part& part, const Tokens& tokens, Window window, bool overflow) {
    const auto [begin, end] = window;
    const std::size_t n = end - begin, base = out.ids.size();
    for (const OwnText& t : tokens.texts) {
      if (t.at >= begin && t.at < end) out.texts.push_back({t.at - begin + base, t.text});
    }
    out.ids.append(tokens.ids.data() + begin, n);
    std::int32_t type = part.sequence;
    if (types == PostProcessor::Types::part && !overflow) type = part.type_id;
    if (types == PostProcessor::Types::zero && (wanted.special_tokens || !overflow)) type = 0;
    out.type_ids.fill(n, type);
    if (wanted.offsets) {
      out.offsets.append(tokens.offsets.data() + begin, n);
      if (components_.post) {
        for (const bool add_prefix_space : components_.post->trimming) {
          for (std::size_t i = 0; i < n; ++i) {
            Span& offset = out.offsets[base + i];
            offset = trimmed(offset, out.ids[base + i], out.texts.empty() ? nullptr : out.own_text(base + i), i == 0,
                             add_prefix_space);
          }
        }
      }
    }
    if (wanted.words) out.words.append(tokens.words.data() + begin, n);
    out.special.fill(n, 0);
    out.sequence.fill(n, static_cast<std::int8_t>(part.sequence));
  };
  const auto emit_row = [&](Window cut1, Window cut2, bool later1, bool later2) {
    for (const auto& part : parts) {
      if (part.sequence < 0) {
        if (wanted.special_tokens) emit_special(part);
      } else if (part.sequence == 0) {
        emit_tokens(part, first, cut1, later1);
      } else if (second) {
        emit_tokens(part, *second, cut2, later2);
      }
    }
    out.splits.push_back(static_cast<std::int64_t>(out.ids.size()));
    out.samples.push_back(sample);
    out.inputs.push_back(second ? 2 : 1);
  };
  // The overflow of the first sequence with everything of the second, then the first's start with the second's rest.
  emit_row(window1, window2, false, false);
  for (const Window& other1 : overflow1) {
    emit_row(other1, window2, true, false);
    for (const Window& other2 : overflow2) emit_row(other1, other2, true, true);
  }
  for (const Window& other2 : overflow2) emit_row(window1, other2, false, true);
}

const DecodeTable* Core::decode_table(std::size_t tokens) const {
  constexpr std::size_t kShare = 8;  // making the table costs about what decoding this part of the vocabulary does
  if (decoding_->tokens.fetch_add(tokens, std::memory_order_relaxed) + tokens < id_limit() / kShare) return nullptr;
  std::call_once(decoding_->once, [&] { decoding_->table = DecodeTable::of(*this); });
  return decoding_->table.get();
}

std::string Core::decode(const Id* ids, std::size_t n, bool skip_special_tokens) const {
  if (const DecodeTable* table = decode_table(n)) return table->decode(*this, ids, n, skip_special_tokens);
  std::vector<std::string> tokens;
  tokens.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::string_view text = token(ids[i]);
    if (!text.data() || (skip_special_tokens && added_->is_special(text))) continue;
    tokens.emplace_back(text);
  }
  if (components_.decoder) components_.decoder->apply(tokens);
  std::string out;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !components_.decoder) out += ' ';
    out += tokens[i];
  }
  return out;
}

}  // namespace enfold::tok
