#include "components.hpp"

#include "errors.hpp"

namespace enfold::tok {

namespace {

template <typename Joined, typename T>
std::shared_ptr<const T> joined(std::vector<std::shared_ptr<const T>> steps) {
  auto made = std::make_shared<Joined>();
  made->steps = std::move(steps);
  return made;
}

}  // namespace

std::string with_type(json::Value spec, const std::string& type) {
  std::string out = "{\"type\":" + json::quoted(type);
  spec.each_member("a component", [&](std::string_view key, json::Value value) {
    if (key != "type") out.append(1, ',').append(json::quoted(key)).append(1, ':').append(value.dump());
  });
  return out + "}";
}

std::shared_ptr<const Normalizer> Kind<Normalizer>::join(std::vector<std::shared_ptr<const Normalizer>> steps,
                                                         const std::string&) {
  return joined<Sequence>(std::move(steps));
}

std::shared_ptr<const PreTokenizer> Kind<PreTokenizer>::join(std::vector<std::shared_ptr<const PreTokenizer>> steps,
                                                             const std::string&) {
  return joined<PreTokenizerSequence>(std::move(steps));
}

std::shared_ptr<const Decoder> Kind<Decoder>::join(std::vector<std::shared_ptr<const Decoder>> steps,
                                                   const std::string&) {
  return joined<DecoderSequence>(std::move(steps));
}

std::shared_ptr<const PostProcessor> Kind<PostProcessor>::join(std::vector<std::shared_ptr<const PostProcessor>>,
                                                               const std::string& spec) {
  return read_post_processor(json::Document(spec).root());
}

}  // namespace enfold::tok
