#include "decoders.hpp"

#include <charconv>

#include "byte_level.hpp"
#include "errors.hpp"
#include "pattern.hpp"

namespace enfold::tok {

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
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

struct ByteLevelDecoder final : Decoder {
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
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0) {
        if (token.starts_with(prefix)) token.erase(0, prefix.size());
        else token.insert(0, 1, ' ');
      }
      if (!cleanup) continue;
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
        replace_all(token, from, to);
      }
    }
  }
};

struct MetaspaceDecoder final : Decoder {
  std::string replacement;
  bool strips_first;
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      replace_all(token, replacement, i == 0 && strips_first ? "" : " ");
    }
  }
};

struct BpeDecoder final : Decoder {
  std::string suffix;
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], suffix, i + 1 < tokens.size() ? " " : "");
  }
};

struct FuseDecoder final : Decoder {
  void apply(std::vector<std::string>& tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    tokens.assign(1, std::move(all));
  }
};

struct StripDecoder final : Decoder {
  std::string content;  // one character
  std::size_t start, stop;
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
      unsigned byte = 0;
      const char* text = token.data();
      // The reference's number parser lets a plus sign through.
      if (token.size() == 6 && token.starts_with("<0x") && token[5] == '>' &&
          std::from_chars(text + 3 + (text[3] == '+'), text + 5, byte, 16).ptr == text + 5) {
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

std::unique_ptr<Decoder> read_decoder(json::Value spec) {
  if (spec.is_null()) return nullptr;
  const std::string type = spec.text("type", "decoder");
  if (type == "Sequence") {
    auto made = std::make_unique<DecoderSequence>();
    spec.need("decoders", "decoder").each_item("decoder.decoders", [&](json::Value item) {
      made->steps.push_back(read_decoder(item));
      if (!made->steps.back()) throw Error("decoder.decoders should not hold null");
    });
    return made;
  }
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "WordPiece") {
    auto made = std::make_unique<WordPieceDecoder>();
    made->prefix = spec["prefix"].is_null() ? "##" : spec.text("prefix", "decoder");
    made->cleanup = spec.flag("cleanup", true, "decoder.cleanup");
    return made;
  }
  if (type == "Metaspace") {
    auto made = std::make_unique<MetaspaceDecoder>();
    made->replacement = spec.text("replacement", "decoder");
    const auto scheme = spec["prepend_scheme"];
    made->strips_first = scheme.is_null() ? spec.flag("add_prefix_space", true, "decoder.add_prefix_space")
                                          : scheme.string("decoder.prepend_scheme") != "never";
    return made;
  }
  if (type == "BPEDecoder") {
    auto made = std::make_unique<BpeDecoder>();
    made->suffix = spec["suffix"].is_null() ? "</w>" : spec.text("suffix", "decoder");
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
  if (type == "CTC") throw NotBuilt("the decoder CTC is not built yet");
  throw Error("unknown decoder '" + type + "'");
}

}  // namespace enfold::tok
