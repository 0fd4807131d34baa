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

std::shared_ptr<const Core> Core::read(std::string_view source, Options& options) {
  const auto document = json::Document::over(source);
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
  blanks_ = std::make_shared<Late<BlankTable>>();
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
    auto& inner = scratch.inner;
    inner.clear();
    scratch.inner_texts.clear();
    if (!plan_->split(part, *added_, split_special_, scratch)) {
      encode_literally(text, section.begin, section.end, word, out, scratch);
      continue;
    }
    for (std::size_t i = 0; i < inner.size(); ++i) {
      const Section& piece = inner[i];
      const std::uint32_t from = advance(section.begin + piece.begin);
      const std::string_view what = part.substr(piece.begin, piece.end - piece.begin);
      if (piece.id == kNoId) {
        plan_->run(what, limit, from, word, out, scratch);
      } else {
        push_added(piece.id, scratch.inner_texts[i], {from, advance(section.begin + piece.end)}, word, out);
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
