#include "configurations.hpp"

#include <string>

#include "byte_level.hpp"
#include "json.hpp"
#include "unicode.hpp"

using namespace enfold::tok;

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// Text as byte-level vocabularies spell it.
std::string spelled(std::string_view text) {
  std::string out;
  for (const char c : text) unicode::append(out, byte_level::kTable.character[static_cast<unsigned char>(c)]);
  return out;
}

std::string bpe(const std::vector<std::string>& tokens, const Pairs& merges, const std::string& options) {
  std::string out = "{\"type\":\"BPE\",\"vocab\":{";
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    out += (i ? "," : "") + json::quoted(tokens[i]) + ":" + std::to_string(i);
  }
  out += "},\"merges\":[";
  for (std::size_t i = 0; i < merges.size(); ++i) {
    out += (i ? ",[" : "[") + json::quoted(merges[i].first) + "," + json::quoted(merges[i].second) + "]";
  }
  return out + "]" + options + "}";
}

const Pairs kMerges = {{" ", "t"},  {"h", "e"},   {" t", "he"}, {"i", "n"},      {"in", "g"},        {"e", "r"},
                       {" ", " "},  {"  ", "  "}, {"\r", "\n"}, {"\n", "\n"},    {"'", "s"},         {"1", "2"},
                       {"12", "3"}, {"a", "b"},   {"b", "c"},   {"\xC3", "\xA9"}, {"\xE4\xB8", "\xAD"}, {"\xE4", "\xB8"},
                       {"a", "a"},  {"aa", "aa"}, {"\xF0\x9F", "\x98"}, {"\xF0", "\x9F"}, {".", "."}, {"..", "."}};

std::string byte_level_model(bool ignore_merges, bool gaps) {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) {
    if (!gaps || (b > 4 && b != 'Q')) tokens.push_back(spelled(std::string(1, static_cast<char>(b))));
  }
  Pairs merges;
  for (const auto& [a, b] : kMerges) {
    merges.emplace_back(spelled(a), spelled(b));
    tokens.push_back(spelled(a + b));
  }
  for (const char* whole : {" unreached", "\xC3\xA9t\xC3\xA9", "zzz"}) tokens.push_back(spelled(whole));
  return bpe(tokens, merges, ignore_merges ? ",\"ignore_merges\":true" : "");
}

std::string sentencepiece_model(bool fallback) {
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  char name[8];
  for (int b = 0; fallback && b < 256; ++b) {
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(b));
    tokens.push_back(name);
  }
  const Pairs merges = {{"▁", "t"}, {"h", "e"}, {"▁t", "he"}, {"▁", "▁"}, {"▁▁", "▁▁"}, {"é", "t"}, {"a", "a"}, {"aa", "aa"}};
  for (const char* one : {"▁", "t", "h", "e", "é", "a", "b", "中", "."}) tokens.push_back(one);
  for (const auto& [a, b] : merges) tokens.push_back(a + b);
  return bpe(tokens, merges,
             std::string(",\"unk_token\":\"<unk>\",\"fuse_unk\":true") + (fallback ? ",\"byte_fallback\":true" : ""));
}

std::string unigram_model(bool fallback) {
  std::string out = "{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":" + std::string(fallback ? "true" : "false") +
                    ",\"vocab\":[[\"<unk>\",0]";
  double score = -1;
  for (const char* piece : {"▁", "▁the", "t", "h", "e", "he", "in", "ing", "a", "aa", "aaa", "b", "ab", "é", "中", "中文",
                            "▁▁", ".", "..", "🙂"}) {
    out += ",[" + json::quoted(piece) + "," + std::to_string(score -= 0.37) + "]";
  }
  char name[8];
  for (int b = 0; fallback && b < 256; ++b) {
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(b));
    out += ",[\"" + std::string(name) + "\",-20]";
  }
  return out + "]}";
}

std::string wordpiece_model() {
  std::string out = "{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
                    "\"max_input_chars_per_word\":20,\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2";
  int id = 3;
  for (const char* token : {"the", "##ing", "a", "##a", "aa", "##aa", "b", "##b", "e", "##e", "ete", "##t", "t", "中", "##文",
                            ".", ",", "'", "=", "1", "##1", "12"}) {
    out += "," + json::quoted(token) + ":" + std::to_string(id++);
  }
  return out + "}}";
}

std::string document(const std::string& model, const std::string& normalizer, const std::string& pre_tokenizer,
                     const std::string& post, const std::string& decoder, const std::string& added = "") {
  return "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[" + added +
         "],\"normalizer\":" + normalizer + ",\"pre_tokenizer\":" + pre_tokenizer + ",\"post_processor\":" + post +
         ",\"decoder\":" + decoder + ",\"model\":" + model + "}";
}

std::string added(int id, const char* content, const char* flags) {
  return "{\"id\":" + std::to_string(id) + ",\"content\":" + json::quoted(content) + "," + flags + "}";
}

std::string split_by(const std::string& pattern) {
  return "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":" + json::quoted(pattern) +
         "},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
         "\"trim_offsets\":false,\"use_regex\":false}]}";
}

std::string byte_level(bool prefix) {
  return std::string("{\"type\":\"ByteLevel\",\"add_prefix_space\":") + (prefix ? "true" : "false") +
         ",\"trim_offsets\":true,\"use_regex\":true}";
}

std::string modern(const std::string& numbers) {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + numbers +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

std::vector<std::string> documents() {
  const std::string plain = "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true";
  const std::string loose = "\"single_word\":true,\"lstrip\":true,\"rstrip\":true,\"normalized\":true,\"special\":false";
  const std::string two = added(900, "<s>", plain.c_str()) + "," + added(901, "zz", loose.c_str());
  const std::string bert =
      "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,"
      "\"lowercase\":true}";
  const std::string cls =
      "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{"
      "\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":"
      "\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":"
      "1}}],\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[1],\"tokens\":[\"[CLS]\"]},\"[SEP]\":{\"id\":"
      "\"[SEP]\",\"ids\":[2],\"tokens\":[\"[SEP]\"]}}}";
  const std::string metaspace =
      "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\",\"split\":true}";
  const std::string marked =
      "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"▁\"},{\"type\":\"Replace\","
      "\"pattern\":{\"String\":\" \"},\"content\":\"▁\"}]}";
  const std::string fallback =
      "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},\"content\":\" \"},{"
      "\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}";
  const std::string nfc = "{\"type\":\"NFC\"}", wordpiece = "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}";
  const std::string roberta =
      "{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",2],\"cls\":[\"<s>\",1],\"trim_offsets\":true,"
      "\"add_prefix_space\":true}";
  const std::string none = "null", bytes = byte_level(false);
  return {
      document(byte_level_model(false, false), none, bytes, bytes, bytes, two),
      document(byte_level_model(false, true), none, byte_level(true), roberta, bytes, two),
      document(byte_level_model(true, false), none, split_by(modern(R"(\p{N}{1,3})")), bytes, bytes, two),
      document(byte_level_model(false, false), nfc, split_by(modern(R"(\p{N})")), none, bytes, two),
      document(byte_level_model(false, false), none,
               "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true}," + bytes + "]}",
               none, bytes),
      document(wordpiece_model(), bert, "{\"type\":\"BertPreTokenizer\"}", cls, wordpiece,
               added(1, "[CLS]", plain.c_str()) + "," + added(2, "[SEP]", plain.c_str())),
      document(sentencepiece_model(true), marked, none, none, fallback, two),
      document(sentencepiece_model(false), none, metaspace, none, metaspace, two),
      document(sentencepiece_model(true), "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"▁\"}",
               "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\",\"invert\":false}",
               none, fallback, two),
      document(unigram_model(false), none, metaspace, none, metaspace, two),
      document(unigram_model(true), "{\"type\":\"NFKC\"}", metaspace, none, fallback),
  };
}

}  // namespace

const std::vector<std::shared_ptr<const Core>>& configurations() {
  static const auto made = [] {
    std::vector<std::shared_ptr<const Core>> cores;
    for (const std::string& json : documents()) {
      Core::Options options;
      cores.push_back(Core::read(json, options));
    }
    return cores;
  }();
  return made;
}
