#include "custom.hpp"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "text_objects.hpp"

namespace enfold::tok {

namespace {

// A Python object that may be let go of by a thread without the GIL.
struct PythonCode {
  explicit PythonCode(nb::object o) : object(std::move(o)) {}
  PythonCode(const PythonCode&) = delete;
  PythonCode& operator=(const PythonCode&) = delete;
  ~PythonCode() {
    if (!Py_IsInitialized()) {
      object.release();
      return;
    }
    const nb::gil_scoped_acquire held;
    object.reset();
  }
  nb::object object;
};

template <typename Lent>
void lend(const nb::object& object, const char* method, const std::shared_ptr<Lent>& lent) {
  const Lending lending(*lent);
  object.attr(method)(lent);
}

struct CustomNormalizer final : Normalizer, PythonCode {
  using PythonCode::PythonCode;
  std::shared_ptr<const Normalizer> copy() const override { return custom_normalizer(object); }
  void apply(Aligned& text) const override {
    const nb::gil_scoped_acquire held;
    lend(object, "normalize", std::make_shared<NormalizedText>(&text));
  }
};

struct CustomPreTokenizer final : PreTokenizer, PythonCode {
  using PythonCode::PythonCode;
  std::shared_ptr<const PreTokenizer> copy() const override { return custom_pre_tokenizer(object); }
  bool takes_splits() const override { return true; }
  void apply_to_splits(std::vector<Split>& splits) const override {
    const nb::gil_scoped_acquire held;
    const std::string_view input = splits.empty() ? std::string_view() : splits[0].text.input;
    lend(object, "pre_tokenize", std::make_shared<SplitText>(&splits, input));
  }
  void apply(std::vector<Aligned>& pieces) const override {
    std::vector<Split> splits;
    for (Aligned& piece : pieces) splits.push_back({std::move(piece), {}});
    apply_to_splits(splits);
    pieces.clear();
    for (Split& split : splits) pieces.push_back(std::move(split.text));
  }
};

struct CustomDecoder final : Decoder, PythonCode {
  using PythonCode::PythonCode;
  std::shared_ptr<const Decoder> copy() const override { return custom_decoder(object); }
  void apply(std::vector<std::string>& tokens) const override {
    const nb::gil_scoped_acquire held;
    const nb::object made = object.attr("decode_chain")(tokens);
    if (!nb::try_cast(made, tokens)) throw nb::type_error("decode_chain should return a list of str");
  }
};

}  // namespace

std::shared_ptr<const Normalizer> custom_normalizer(nb::object object) {
  return std::make_shared<CustomNormalizer>(std::move(object));
}

std::shared_ptr<const PreTokenizer> custom_pre_tokenizer(nb::object object) {
  return std::make_shared<CustomPreTokenizer>(std::move(object));
}

std::shared_ptr<const Decoder> custom_decoder(nb::object object) {
  return std::make_shared<CustomDecoder>(std::move(object));
}

namespace {

template <typename T>
struct SequenceOf;
template <>
struct SequenceOf<Normalizer> {
  using type = Sequence;
};
template <>
struct SequenceOf<PreTokenizer> {
  using type = PreTokenizerSequence;
};
template <>
struct SequenceOf<Decoder> {
  using type = DecoderSequence;
};

}  // namespace

template <typename T>
int visit_code(const std::shared_ptr<const T>& component, visitproc visit, void* arg) {
  if (component.use_count() != 1) return 0;
  if (const auto* code = dynamic_cast<const PythonCode*>(component.get())) {
    Py_VISIT(code->object.ptr());
  } else if (const auto* sequence = dynamic_cast<const typename SequenceOf<T>::type*>(component.get())) {
    for (const auto& step : sequence->steps) {
      if (const int stopped = visit_code(step, visit, arg)) return stopped;
    }
  }
  return 0;
}

template <typename T>
int visit_slot(const std::shared_ptr<Slot<T>>& slot, visitproc visit, void* arg) {
  if (slot.use_count() != 1) return 0;
  if (const auto* python = std::get_deleter<nb::detail::py_deleter>(slot)) {
    Py_VISIT(python->o);
    return 0;
  }
  if (const int stopped = visit_code(slot->held(), visit, arg)) return stopped;
  for (const auto& part : slot->parts()) {
    if (const int stopped = visit_slot(part, visit, arg)) return stopped;
  }
  return 0;
}

template int visit_code(const std::shared_ptr<const Normalizer>&, visitproc, void*);
template int visit_code(const std::shared_ptr<const PreTokenizer>&, visitproc, void*);
template int visit_code(const std::shared_ptr<const Decoder>&, visitproc, void*);
template int visit_slot(const std::shared_ptr<Slot<Normalizer>>&, visitproc, void*);
template int visit_slot(const std::shared_ptr<Slot<PreTokenizer>>&, visitproc, void*);
template int visit_slot(const std::shared_ptr<Slot<Decoder>>&, visitproc, void*);

template <typename T>
nb::object custom_object(const T& component) {
  const auto* code = dynamic_cast<const PythonCode*>(&component);
  return code ? code->object : nb::none();
}

template nb::object custom_object(const Normalizer&);
template nb::object custom_object(const PreTokenizer&);
template nb::object custom_object(const Decoder&);

}  // namespace enfold::tok
