#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "binding.hpp"
#include "byte_level.hpp"
#include "components.hpp"
#include "custom.hpp"
#include "text_objects.hpp"
#include "unigram.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

template <typename T>
std::string spec_of(const Slot<T>& slot) {
  std::string spec = slot.spec();
  if (spec.empty())
    throw Error(std::string("a custom ") + Kind<T>::name + " is Python code, which has no form in a file");
  return spec;
}

template <typename T>
std::shared_ptr<Slot<T>> sequence_of(const std::vector<std::shared_ptr<Slot<T>>>& parts) {
  std::vector<std::shared_ptr<Slot<T>>> flat;
  for (const auto& part : parts) {
    if (part->type() == "Sequence") flat.insert(flat.end(), part->parts().begin(), part->parts().end());
    else flat.push_back(part);
  }
  return std::make_shared<Slot<T>>(std::move(flat));
}

template <typename T, std::shared_ptr<const T> (*make)(nb::object)>
std::shared_ptr<Slot<T>> custom_slot(nb::object object) {
  return std::make_shared<Slot<T>>(make(std::move(object)));
}

template <typename T>
nb::object object_of(Slot<T>& slot) {
  if constexpr (std::is_same_v<T, PostProcessor>) return nb::none();
  else return custom_object(*slot.get());
}

// Python code in a component may refer back to it.
template <typename T>
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  if constexpr (!std::is_same_v<T, PostProcessor>) {
    const auto& slot = *nb::inst_ptr<Slot<T>>(self);
    if (const int stopped = visit_code(slot.held(), visit, arg)) return stopped;
    for (const auto& part : slot.parts()) {
      if (const int stopped = visit_slot(part, visit, arg)) return stopped;
    }
  }
  return 0;
}

// What all kinds share; a model has no specification of a few options only, and is bound by itself.
template <typename T>
nb::class_<Slot<T>> bind_slot(nb::module_& m, const char* name, const char* doc) {
  using S = Slot<T>;
  static PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(&traverse<T>)}, {0, nullptr}};
  return nb::class_<S>(m, name, doc, nb::type_slots(slots))
      .def(nb::init<std::string>(), "spec"_a)
      .def_static("sequence", &sequence_of<T>, "parts"_a)
      .def_prop_ro("kind", [](const S&) { return Kind<T>::name; })
      .def_prop_ro("type", [](const S& s) { return s.type(); })
      .def_prop_ro("spec", &spec_of<T>)
      .def_prop_ro("object", &object_of<T>)
      .def_prop_ro("parts", [](const S& s) { return s.parts(); })
      .def("assign", &S::assign, "spec"_a)
      .def(
          "set_part",
          [](S& s, std::size_t index, std::shared_ptr<S> part) {
            if (index >= s.parts().size()) throw nb::index_error("there is no component of that index");
            s.set_part(index, std::move(part));
          },
          "index"_a, "part"_a)
      .def("clone", &S::clone);
}

std::string with_options(const Model& model, const std::string& options) {
  const json::Document before(model.dump()), changes(options);
  std::string out = "{";
  before.root().each_member("model", [&](std::string_view key, json::Value value) {
    bool changed = false;
    changes.root().each_member("options", [&](std::string_view name, json::Value option) {
      if (name == key) value = option, changed = true;
    });
    if (out.size() > 1) out += ',';
    out.append(json::quoted(key)).append(1, ':').append(value.dump());
  });
  return out + "}";
}

// The specification without the vocabulary.
std::string options_of(const Model& model) {
  const json::Document document(model.spec(false));
  std::string out = "{";
  document.root().each_member("model", [&](std::string_view key, json::Value value) {
    if (key == "vocab" || key == "merges") return;
    if (out.size() > 1) out += ',';
    out.append(json::quoted(key)).append(1, ':').append(value.dump());
  });
  return out + "}";
}

std::shared_ptr<const Model> model_of(std::string spec) {
  const nb::gil_scoped_release released;
  return read_model(json::Document(std::move(spec)).root());
}

std::vector<Token> tokenize(const Slot<Model>& slot, std::string_view word) {
  const auto model = slot.get();
  std::vector<Piece> pieces;
  model->tokenize(word, pieces);
  std::vector<Token> out;
  for (const Piece& piece : pieces) {
    const std::string_view text = model->vocab.contains(piece.id) && piece.id != model->own_text_id()
                                      ? model->vocab[piece.id]
                                      : word.substr(piece.begin, piece.end - piece.begin);
    out.push_back({piece.id, std::string(text), {piece.begin, piece.end}});
  }
  return out;
}

void bind_model(nb::module_& m) {
  using S = Slot<Model>;
  nb::class_<S>(m, "ModelSlot", "The place of a model.")
      .def(nb::new_([](std::string spec) { return std::make_shared<S>(model_of(std::move(spec))); }), "spec"_a)
      .def_prop_ro("kind", [](const S&) { return "model"; })
      .def_prop_ro("type", [](const S& s) { return s.get()->type(); })
      .def_prop_ro("spec", [](const S& s) { return s.get()->dump(); })
      .def_prop_ro("options", [](const S& s) { return options_of(*s.get()); })
      .def(
          "assign", [](S& s, std::string spec) { s.assign(model_of(std::move(spec))); }, "spec"_a)
      .def(
          "set_options",
          [](S& s, const std::string& options) {
            const auto before = s.get();
            auto made = model_of(with_options(*before, options));
            // How it samples stands in no specification.
            const auto *old = dynamic_cast<const Unigram*>(before.get()), *now = dynamic_cast<const Unigram*>(made.get());
            s.assign(old && now ? now->with(old->sampling()) : std::move(made));
          },
          "options"_a)
      .def_prop_ro("sampling",
                   [](const S& s) {
                     const auto model = s.get();
                     const auto* unigram = dynamic_cast<const Unigram*>(model.get());
                     const Unigram::Sampling now = unigram ? unigram->sampling() : Unigram::Sampling();
                     return std::pair(now.alpha, now.nbest);
                   })
      .def(
          "set_sampling",
          [](S& s, std::optional<double> alpha, std::optional<std::size_t> nbest) {
            const auto model = s.get();
            const auto* unigram = dynamic_cast<const Unigram*>(model.get());
            if (!unigram) throw nb::type_error("only Unigram models have several ways to write a word");
            s.assign(unigram->with({alpha, nbest}));
          },
          "alpha"_a.none(), "nbest"_a.none())
      .def("clone", &S::clone)
      .def("tokenize", &tokenize, "sequence"_a)
      .def(
          "token_to_id",
          [](const S& s, std::string_view token) -> std::optional<Id> {
            const Id id = s.get()->vocab.find(token);
            return id == kNoId ? std::nullopt : std::optional<Id>(id);
          },
          "token"_a)
      .def(
          "id_to_token",
          [](const S& s, std::int64_t id) -> std::optional<std::string> {
            if (id < 0 || id > 0x7FFFFFFF || !s.get()->vocab.contains(static_cast<Id>(id))) return std::nullopt;
            return std::string(s.get()->vocab[static_cast<Id>(id)]);
          },
          "id"_a);
}

std::string normalize_str(Slot<Normalizer>& slot, std::string_view text) {
  Aligned aligned = Aligned::from(text, 0);
  slot.get()->apply(aligned);
  return aligned.text;
}

nb::list pre_tokenize_str(Slot<PreTokenizer>& slot, std::string_view text) {
  std::vector<Split> splits;
  splits.push_back({Aligned::from(text, 0), {}});
  slot.get()->apply_to_splits(splits);
  std::vector<std::uint32_t> characters;
  index_characters(text, characters);
  nb::list out;
  for (const Split& split : splits) {
    const Span span = in_characters(split.text.covers, characters);
    out.append(nb::make_tuple(split.text.text, nb::make_tuple(span.begin, span.end)));
  }
  return out;
}

std::string decode(Slot<Decoder>& slot, std::vector<std::string> tokens) {
  slot.get()->apply(tokens);
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

}  // namespace

void bind_components(nb::module_& m) {
  m.def("byte_alphabet", [] {
    std::vector<std::string> out;
    for (const char32_t c : byte_level::kTable.character) unicode::append(out.emplace_back(), c);
    return out;
  });
  bind_model(m);
  bind_slot<Normalizer>(m, "NormalizerSlot", "The place of a normalizer.")
      .def_static("custom", &custom_slot<Normalizer, custom_normalizer>, "object"_a)
      .def("normalize_str", &normalize_str, "sequence"_a)
      .def("normalize", [](Slot<Normalizer>& s, NormalizedText& text) { s.get()->apply(text.text()); }, "normalized"_a);
  bind_slot<PreTokenizer>(m, "PreTokenizerSlot", "The place of a pre-tokenizer.")
      .def_static("custom", &custom_slot<PreTokenizer, custom_pre_tokenizer>, "object"_a)
      .def("pre_tokenize_str", &pre_tokenize_str, "sequence"_a)
      .def(
          "pre_tokenize", [](Slot<PreTokenizer>& s, SplitText& text) { s.get()->apply_to_splits(text.splits()); },
          "pretok"_a);
  bind_slot<PostProcessor>(m, "PostProcessorSlot", "The place of a post-processor.")
      .def(
          "num_special_tokens_to_add", [](Slot<PostProcessor>& s, bool pair) { return s.get()->added(pair); },
          "is_pair"_a)
      .def(
          "process",
          [](Slot<PostProcessor>& s, const EncodingView& encoding, const EncodingView* pair, bool special) {
            return process(s.get().get(), encoding, pair, special);
          },
          "encoding"_a, "pair"_a = nb::none(), "add_special_tokens"_a = true);
  bind_slot<Decoder>(m, "DecoderSlot", "The place of a decoder.")
      .def_static("custom", &custom_slot<Decoder, custom_decoder>, "object"_a)
      .def("decode", &decode, "tokens"_a);
}

}  // namespace enfold::tok
