#include "decoders.hpp"

#include <algorithm>
#include <charconv>

#include "byte_level.hpp"
#include "errors.hpp"
#include "pattern.hpp"

namespace enfold::tok {

namespace {

// An empty `from` stands before every character and at the end.
void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) {
    if (to.empty()) return;
    std::string made(to);
    for (std::size_t i = 0, n = 0; i < text.size(); i += n) {
      n = unicode::length(static_cast<unsigned char>(text[i]));
      made.append(text, i, n).append(to);
    }
    text = std::move(made);
    return;
  }
  std::size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string made;
  std::size_t last = 0;
  for (; at != std::string::npos; at = text.find(from, last)) {
    made.append(text, last, at - last).append(to);
    last = at + from.size();
  }
  made.append(text, last);
  text = std::move(made);
}

// Takes back what splitting English text into words put in.
void clean_up(std::string& text) {
  for (const auto& [from, to] :
       std::initializer_list<std::pair<std::string_view, std::string_view>>{{" .", "."},
                                                                            {" ?", "?"},
                                                                            {" !", "!"},
                                                                            {" ,", ","},
                                                                            {" ' ", "'"},
                                                                            {" n't", "n't"},
                                                                            {" 'm", "'m"},
                                                                            {" do not", " don't"},
                                                                            {" 's", "'s"},
                                                                            {" 've", "'ve"},
                                                                            {" 're", "'re"}}) {
    replace_all(text, from, to);
  }
}

struct ByteLevelDecoder final : Decoder {
  Kind kind() const override { return Kind::bytes; }
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes, part;
    for (const std::string& token : tokens) {
      // A token with a character that stands for no byte is text already.
      bytes += byte_level::bytes_of(token, part) ? part : token;
    }
    std::string text;
    unicode::append_lossy(text, bytes);
    tokens.assign(1, std::move(text));
  }
};

struct WordPieceDecoder final : Decoder {
  std::string prefix;
  bool cleanup;
  Kind kind() const override { return Kind::place; }
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0) {
        if (token.starts_with(prefix)) token.erase(0, prefix.size());
        else token.insert(0, 1, ' ');
      }
      if (!cleanup) continue;
      clean_up(token);
    }
  }
};

struct MetaspaceDecoder final : Decoder {
  std::string replacement;
  bool strips_first;
  Kind kind() const override { return Kind::place; }
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      replace_all(token, replacement, i == 0 && strips_first ? "" : " ");
    }
  }
};

struct BpeDecoder final : Decoder {
  std::string suffix;
  Kind kind() const override { return Kind::place; }
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], suffix, i + 1 < tokens.size() ? " " : "");
  }
};

// Connectionist temporal classification: repetitions and blanks between letters vanish.
struct CtcDecoder final : Decoder {
  std::string pad_token, word_delimiter_token;
  bool cleanup;
  void apply(std::vector<std::string>& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      replace_all(token, pad_token, "");
      if (!cleanup) continue;
      clean_up(token);
      replace_all(token, word_delimiter_token, " ");
    }
    std::erase_if(tokens, [](const std::string& token) { return token.empty(); });
  }
};

struct FuseDecoder final : Decoder {
  Kind kind() const override { return Kind::fuse; }
  void apply(std::vector<std::string>& tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    tokens.assign(1, std::move(all));
  }
};

struct StripDecoder final : Decoder {
  std::string content;  // one character
  std::size_t start, stop;
  Kind kind() const override { return Kind::token; }
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::size_t begin = 0, end = token.size();
      for (std::size_t k = 0; k < start && std::string_view(token).substr(begin).starts_with(content); ++k)
        begin += content.size();
      for (std::size_t k = 0; k < stop && std::string_view(token).substr(0, end).ends_with(content); ++k)
        end -= content.size();
      // Left and right may claim the same characters.
      token = end > begin ? token.substr(begin, end - begin) : std::string();
    }
  }
};

struct ReplaceDecoder final : Decoder {
  Pattern pattern;
  std::string content;
  ReplaceDecoder(Pattern p, std::string c) : pattern(std::move(p)), content(std::move(c)) {}
  Kind kind() const override { return Kind::token; }
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string made;
      for (const Cut& cut : pattern.find(token)) {
        if (cut.match) made += content;
        else made.append(token, cut.begin, cut.end - cut.begin);
      }
      token = std::move(made);
    }
  }
};

struct ByteFallbackDecoder final : Decoder {
  Kind kind() const override { return Kind::fallback; }
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (unicode::is_valid(bytes)) {
        out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const int byte = fallback_byte(token); byte >= 0) {
        bytes.push_back(static_cast<char>(byte));
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }
};

}  // namespace

// Files from before each decoder named its type are told apart by their fields.
std::string decoder_type(json::Value spec) {
  if (!spec["type"].is_null()) return spec.text("type", "decoder");
  for (const auto& [field, type] : std::initializer_list<std::pair<const char*, const char*>>{
           {"suffix", "BPEDecoder"}, {"prefix", "WordPiece"}, {"pad_token", "CTC"}, {"start", "Strip"}}) {
    if (!spec[field].is_null()) return type;
  }
  return spec.text("type", "decoder");
}

int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const char* digits = token.data() + 3;
  unsigned byte = 0;
  // The reference's number parser lets a plus sign through.
  return std::from_chars(digits + (*digits == '+'), digits + 2, byte, 16).ptr == digits + 2 ? static_cast<int>(byte)
                                                                                             : -1;
}

std::unique_ptr<Decoder> read_decoder(json::Value spec) {
  if (spec.is_null()) return nullptr;
  const std::string type = decoder_type(spec);
  if (type == "Sequence") {
    auto made = std::make_unique<DecoderSequence>();
    spec.need("decoders", "decoder").each_item("decoder.decoders", [&](json::Value item) {
      made->steps.push_back(read_decoder(item));
      if (!made->steps.back()) throw Error("decoder.decoders should not hold null");
    });
    return made;
  }
  if (type == "ByteLevel") {
    spec.truth("add_prefix_space", "decoder");
    spec.truth("trim_offsets", "decoder");
    return std::make_unique<ByteLevelDecoder>();
  }
  if (type == "WordPiece") {
    auto made = std::make_unique<WordPieceDecoder>();
    made->prefix = spec.text("prefix", "decoder");
    made->cleanup = spec.truth("cleanup", "decoder");
    return made;
  }
  if (type == "Metaspace") {
    auto made = std::make_unique<MetaspaceDecoder>();
    made->replacement = spec.text("replacement", "decoder");
    if (unicode::count(made->replacement) != 1) {
      throw Error("decoder.replacement should be one character, got '" + made->replacement + "'");
    }
    const std::string scheme = spec.has("prepend_scheme") ? spec.text("prepend_scheme", "decoder") : "always";
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      throw Error("decoder.prepend_scheme should be first, never or always, got '" + scheme + "'");
    }
    made->strips_first = scheme != "never";
    if (!spec.flag("add_prefix_space", true, "decoder.add_prefix_space") && made->strips_first) {
      throw Error("decoder.add_prefix_space is false but prepend_scheme is '" + scheme + "'");
    }
    return made;
  }
  if (type == "BPEDecoder") {
    auto made = std::make_unique<BpeDecoder>();
    made->suffix = spec.text("suffix", "decoder");
    return made;
  }
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Strip") {
    auto made = std::make_unique<StripDecoder>();
    made->content = spec.text("content", "decoder");
    if (unicode::count(made->content) != 1)
      throw Error("decoder.content should be one character, got '" + made->content + "'");
    const auto count = [&](const char* key) {
      const std::int64_t n = spec.need(key, "decoder").integer(key);
      if (n < 0) throw Error(std::string("decoder.") + key + " should not be negative");
      return static_cast<std::size_t>(n);
    };
    made->start = count("start");
    made->stop = count("stop");
    return made;
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceDecoder>(Pattern(spec.need("pattern", "decoder"), "decoder.pattern"),
                                            spec.text("content", "decoder"));
  }
  if (type == "CTC") {
    auto made = std::make_unique<CtcDecoder>();
    made->pad_token = spec.text("pad_token", "decoder");
    made->word_delimiter_token = spec.text("word_delimiter_token", "decoder");
    made->cleanup = spec.truth("cleanup", "decoder");
    return made;
  }
  throw Error("unknown decoder '" + type + "'");
}

}  // namespace enfold::tok
