// Ids of every kind through each configuration's decoder, at once and one by one.

#include "bytes.hpp"
#include "configurations.hpp"
#include "errors.hpp"
#include "stream.hpp"

using namespace enfold::tok;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  const auto& core = configurations()[bytes.below(configurations().size())];
  const bool skip = bytes.flag();
  std::vector<Id> ids;
  while (!bytes.empty()) {
    const auto low = static_cast<Id>(bytes.below(256));
    ids.push_back(low + 256 * static_cast<Id>(bytes.below(5)) - (low == 7));
  }
  const std::string whole = core->decode(ids.data(), ids.size(), skip);
  require(unicode::is_valid(whole), "decoded text is UTF-8");
  DecodeStream stream({}, skip);
  std::size_t given = 0;
  for (const Id id : ids) {
    try {
      if (const auto text = stream.step(*core, &id, 1)) {
        require(unicode::is_valid(*text), "a piece of the stream is UTF-8");
        given += text->size();
      }
    } catch (const Error&) {
      return 0;
    }
  }
  require(given <= 16 * ids.size() * 16 + whole.size(), "the stream gives out no more than there is");
  return 0;
}
