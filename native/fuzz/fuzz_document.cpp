// Whole tokenizer.json files: what can't be honoured is an Error, what is read encodes, decodes, and is written so that
// it reads as the same.

#include "bytes.hpp"
#include "errors.hpp"
#include "tokenizer.hpp"

using namespace enfold::tok;

namespace {

std::vector<Id> ids_of(const Core& core, std::string_view text) {
  Core::Lease scratch(core);
  Rows rows;
  const SequenceInput input{text, nullptr};
  core.encode(input, nullptr, 0, {}, nullptr, *scratch, rows);
  return {rows.ids.begin(), rows.ids.end()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view text = "The  quick brown\u00e9 \u4e2d\u6587 \U0001F642 <s> aaa 12's\r\n\u1112\u1161\u11ab e\u0301.";
  try {
    Core::Options options;
    const auto core = Core::read(std::string(reinterpret_cast<const char*>(data), size), options);
    const std::vector<Id> ids = ids_of(*core, text);
    core->decode(ids.data(), ids.size(), true);
    Core::Options again;
    const auto copy = Core::read(core->dump(options), again);
    if (core->dump(options).find("dropout\":0") == std::string::npos) {
      require(ids_of(*copy, text) == ids, "what is written reads as the same tokenizer");
    }
  } catch (const Error&) {
  } catch (const NotBuilt&) {
  }
  return 0;
}
