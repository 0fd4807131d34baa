#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer.hpp"

namespace enfold::tok {

// Counts the changes made to components. A tokenizer that has seen the current count has nothing to look up: one
// comparison per call. Touched with the GIL held.
inline std::uint64_t component_changes = 1;

// How each kind of component is read, and how several become one.
template <typename T>
struct Kind;

template <>
struct Kind<Normalizer> {
  static constexpr const char* name = "normalizer";
  static constexpr const char* expected = "a normalizer should be a Normalizer or None";
  static constexpr const char* parts = "normalizers";
  static std::shared_ptr<const Normalizer> read(json::Value spec) { return read_normalizer(spec); }
  static std::string type(json::Value spec) { return normalizer_type(spec); }
  static std::shared_ptr<const Normalizer> join(std::vector<std::shared_ptr<const Normalizer>> steps,
                                                const std::string& spec);
};

template <>
struct Kind<PreTokenizer> {
  static constexpr const char* name = "pre_tokenizer";
  static constexpr const char* expected = "a pre-tokenizer should be a PreTokenizer or None";
  static constexpr const char* parts = "pretokenizers";
  static std::shared_ptr<const PreTokenizer> read(json::Value spec) { return read_pre_tokenizer(spec); }
  static std::string type(json::Value spec) { return spec.text("type", name); }
  static std::shared_ptr<const PreTokenizer> join(std::vector<std::shared_ptr<const PreTokenizer>> steps,
                                                  const std::string& spec);
};

template <>
struct Kind<PostProcessor> {
  static constexpr const char* name = "post_processor";
  static constexpr const char* expected = "a post-processor should be a PostProcessor or None";
  static constexpr const char* parts = "processors";
  static std::shared_ptr<const PostProcessor> read(json::Value spec) { return read_post_processor(spec); }
  static std::string type(json::Value spec) { return post_processor_type(spec); }
  static std::shared_ptr<const PostProcessor> join(std::vector<std::shared_ptr<const PostProcessor>> steps,
                                                   const std::string& spec);
};

template <>
struct Kind<Decoder> {
  static constexpr const char* name = "decoder";
  static constexpr const char* expected = "a decoder should be a Decoder or None";
  static constexpr const char* parts = "decoders";
  static std::shared_ptr<const Decoder> read(json::Value spec) { return read_decoder(spec); }
  static std::string type(json::Value spec) { return decoder_type(spec); }
  static std::shared_ptr<const Decoder> join(std::vector<std::shared_ptr<const Decoder>> steps,
                                             const std::string& spec);
};

// A specification that names its type.
std::string with_type(json::Value spec, const std::string& type);

// A place that holds a component. Tokenizers, sequences and Python objects share it, so that a change made through one
// of them reaches all. The component itself never changes: a new one takes its place. Touched with the GIL held.
template <typename T>
class Slot {
 public:
  static constexpr const char* expected = Kind<T>::expected;
  explicit Slot(std::string spec) { assign(std::move(spec)); }
  // A component that has no specification: Python code.
  explicit Slot(std::shared_ptr<const T> custom) : made_(std::move(custom)) {}
  explicit Slot(std::vector<std::shared_ptr<Slot>> parts)
      : type_("Sequence"), parts_(std::move(parts)), changed_(++component_changes) {}

  const std::string& type() const { return type_; }  // "" for Python code
  const std::vector<std::shared_ptr<Slot>>& parts() const { return parts_; }
  // The count of the last change to the component or to one of its parts.
  std::uint64_t changed() const {
    std::uint64_t last = changed_;
    for (const auto& part : parts_) last = std::max(last, part->changed());
    return last;
  }

  // Empty if a part is Python code.
  std::string spec() const {
    if (type_ != "Sequence") return spec_;
    std::string out = std::string("{\"type\":\"Sequence\",\"") + Kind<T>::parts + "\":[";
    for (const auto& part : parts_) {
      const std::string one = part->spec();
      if (one.empty()) return {};
      if (out.back() != '[') out += ',';
      out += one;
    }
    return out + "]}";
  }

  std::shared_ptr<const T> get() {
    if constexpr (requires { made_->copy(); }) {
      if (type_.empty()) return made_->copy();
    }
    if (type_ == "Sequence" && (!made_ || joined_ < changed())) {
      std::vector<std::shared_ptr<const T>> steps;
      for (const auto& part : parts_) steps.push_back(part->get());
      const std::string text = spec();
      auto made = Kind<T>::join(std::move(steps), text);
      if (text.empty()) return made;
      made_ = std::move(made);
      joined_ = component_changes;
    }
    return made_;
  }
  const std::shared_ptr<const T>& held() const { return made_; }

  void assign(std::string spec) {
    const json::Document document(spec);
    const json::Value root = document.root();
    auto made = Kind<T>::read(root);
    if (!made) throw Error(std::string(Kind<T>::name) + " should not be null");
    std::vector<std::shared_ptr<Slot>> parts;
    const std::string type = Kind<T>::type(root);
    if (type == "Sequence") {
      root.need(Kind<T>::parts, Kind<T>::name).each_item(Kind<T>::parts, [&](json::Value part) {
        parts.push_back(std::make_shared<Slot>(part.dump()));
      });
    }
    type_ = type;
    spec_ = with_type(root, type);
    parts_ = std::move(parts);
    made_ = std::move(made);
    changed_ = joined_ = ++component_changes;
  }

  void set_part(std::size_t index, std::shared_ptr<Slot> part) {
    parts_[index] = std::move(part);
    changed_ = ++component_changes;
  }

  // The same component in a place of its own.
  std::shared_ptr<Slot> clone() const {
    auto made = std::make_shared<Slot>(*this);
    if constexpr (requires { made_->copy(); }) {
      if (type_.empty()) made->made_ = made_->copy();
    }
    for (auto& part : made->parts_) part = part->clone();
    return made;
  }

 private:
  std::string type_, spec_;
  std::shared_ptr<const T> made_;
  std::vector<std::shared_ptr<Slot>> parts_;
  std::uint64_t changed_ = 0, joined_ = 0;
};

template <>
class Slot<Model> {
 public:
  static constexpr const char* expected = "a model should be a Model";
  explicit Slot(std::shared_ptr<const Model> model) : made_(std::move(model)) {}
  std::shared_ptr<const Model> get() const { return made_; }
  std::uint64_t changed() const { return changed_; }
  void assign(std::shared_ptr<const Model> model) {
    made_ = std::move(model);
    changed_ = ++component_changes;
  }
  std::shared_ptr<Slot> clone() const { return std::make_shared<Slot>(made_); }

 private:
  std::shared_ptr<const Model> made_;
  std::uint64_t changed_ = 0;
};

}  // namespace enfold::tok
