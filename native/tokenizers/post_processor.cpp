#include "post_processor.hpp"

#include <unordered_map>

#include "errors.hpp"

namespace enfold::tok {

namespace {

using Part = PostProcessor::Part;

Id read_id(json::Value value, const char* what) {
  const std::int64_t id = value.integer(what);
  if (id < 0 || id > 0x7FFFFFFF) throw Error(std::string(what) + " is out of range: " + std::to_string(id));
  return static_cast<Id>(id);
}

Part sequence(int which, std::int32_t type) { return {which, type, {}}; }

// A `["[SEP]", 102]` pair of the Bert and Roberta processors.
PostProcessor::Special read_named(json::Value value, const char* what) {
  PostProcessor::Special made;
  if (!value.is(json::Kind::array) || value.size() != 2) throw Error(std::string(what) + " should be [token, id]");
  bool first = true;
  value.each_item(what, [&](json::Value item) {
    if (first) made.tokens.emplace_back(item.string(what));
    else made.ids.push_back(read_id(item, what));
    first = false;
  });
  return made;
}

void read_template(json::Value spec, PostProcessor& out) {
  std::unordered_map<std::string, PostProcessor::Special> specials;
  spec.need("special_tokens", "post_processor")
      .each_member("post_processor.special_tokens", [&](std::string_view key, json::Value value) {
        PostProcessor::Special made;
        value.text("id", "a special token");
        value.need("ids", "a special token").each_item("special_tokens.ids", [&](json::Value id) {
          made.ids.push_back(read_id(id, "special_tokens.ids"));
        });
        value.need("tokens", "a special token").each_item("special_tokens.tokens", [&](json::Value t) {
          made.tokens.emplace_back(t.string("special_tokens.tokens"));
        });
        if (made.ids.size() != made.tokens.size())
          throw Error("a special token of the template needs as many ids as tokens");
        specials[std::string(key)] = std::move(made);
      });
  const auto read_parts = [&](const char* key, std::vector<Part>& parts) {
    spec.need(key, "post_processor").each_item(key, [&](json::Value item) {
      if (const auto piece = item["Sequence"]; !piece.is_null()) {
        const std::string id = piece.text("id", "a template's sequence");
        if (id != "A" && id != "B") throw Error("a template's sequence should be A or B, got '" + id + "'");
        parts.push_back(sequence(id == "B", read_id(piece.need("type_id", "a template's sequence"), "type_id")));
        return;
      }
      const auto piece = item.need("SpecialToken", "a part of the template");
      const std::string id = piece.text("id", "a template's special token");
      const auto at = specials.find(id);
      if (at == specials.end())
        throw Error("the template uses the special token '" + id + "', which it does not define");
      parts.push_back({-1, read_id(piece.need("type_id", "a template's special token"), "type_id"), at->second});
    });
  };
  read_parts("single", out.single);
  read_parts("pair", out.pair);
  for (const Part& part : out.single) {
    if (part.sequence == 1) throw Error("the template for one sequence should not use sequence B");
  }
  out.types = PostProcessor::Types::part;
}

void read_into(json::Value spec, PostProcessor& out, int depth) {
  if (depth > 16) throw Error("post_processor is nested too deeply");
  const std::string type = post_processor_type(spec);
  const auto claim_template = [&] {
    if (out.has_template) throw NotBuilt("a post-processor with two templates in sequence is not built");
    out.has_template = true;
  };
  if (type == "Sequence") {
    spec.need("processors", "post_processor").each_item("post_processor.processors", [&](json::Value item) {
      read_into(item, out, depth + 1);
    });
  } else if (type == "ByteLevel") {
    const bool add_prefix_space = spec.truth("add_prefix_space", "post_processor");
    if (spec.truth("trim_offsets", "post_processor")) out.trimming.push_back(add_prefix_space);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    claim_template();
    const Part cls{-1, 0, read_named(spec.need("cls", "post_processor"), "post_processor.cls")};
    const Part sep{-1, 0, read_named(spec.need("sep", "post_processor"), "post_processor.sep")};
    out.single = {cls, sequence(0, 0), sep};
    if (type == "BertProcessing") {
      Part second = sep;
      second.type_id = 1;
      out.pair = {cls, sequence(0, 0), sep, sequence(1, 1), second};
    } else {
      out.pair = {cls, sequence(0, 0), sep, sep, sequence(1, 0), sep};
      out.types = PostProcessor::Types::zero;
      const bool add_prefix_space = spec.truth("add_prefix_space", "post_processor");
      if (spec.truth("trim_offsets", "post_processor")) out.trimming.push_back(add_prefix_space);
    }
  } else if (type == "TemplateProcessing") {
    claim_template();
    read_template(spec, out);
  } else {
    throw Error("unknown post-processor '" + type + "'");
  }
}

}  // namespace

// Files from before each processor named its type are told apart by their fields; one called Roberta that lacks
// Roberta's own fields is Bert's, as the reference reads it.
std::string post_processor_type(json::Value spec) {
  const bool named = !spec["type"].is_null();
  const std::string type = named ? spec.text("type", "post_processor") : std::string();
  if ((!named || type == "RobertaProcessing") && spec.has("sep") && spec.has("cls")) {
    return spec.has("trim_offsets") && spec.has("add_prefix_space") ? "RobertaProcessing" : "BertProcessing";
  }
  if (!named && spec.has("single") && spec.has("pair")) return "TemplateProcessing";
  return spec.text("type", "post_processor");
}

Blanks blanks_of(std::string_view token) {
  const auto blank = [](char32_t c) { return c == 0x120 || unicode::has(c, unicode::kSpace); };
  std::size_t leading = 0, trailing = 0, i = 0, end = token.size();
  for (; i < token.size() && blank(unicode::decode(token.data() + i)); ++leading) {
    i += unicode::length(static_cast<unsigned char>(token[i]));
  }
  for (; end > 0 && blank(unicode::decode_before(token, end)); ++trailing) {
    do --end;
    while (end > 0 && unicode::is_continuation(token[end]));
  }
  const auto clip = [](std::size_t n) { return static_cast<std::uint16_t>(std::min<std::size_t>(n, 0xFFFF)); };
  return {clip(leading), clip(trailing)};
}

std::size_t PostProcessor::added(bool is_pair) const {
  std::size_t n = 0;
  for (const Part& part : is_pair ? pair : single) n += part.special.ids.size();
  return n;
}

std::unique_ptr<PostProcessor> read_post_processor(json::Value spec) {
  if (spec.is_null()) return nullptr;
  auto made = std::make_unique<PostProcessor>();
  read_into(spec, *made, 0);
  if (!made->has_template) {
    made->single = {sequence(0, 0)};
    made->pair = {sequence(0, 0), sequence(1, 1)};
  }
  return made;
}

}  // namespace enfold::tok
