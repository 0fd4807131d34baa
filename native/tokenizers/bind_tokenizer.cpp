#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "ids.hpp"
#include "request.hpp"
#include "stream.hpp"
#include "tokenizer_object.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

nb::object text_object(std::string_view text) {
  return nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
}

nb::object json_of(const Tokenizer& t, bool pretty) {
  const std::string json = t.dump();
  if (!pretty) return text_object(json);
  const nb::object module = nb::module_::import_("json");
  return module.attr("dumps")(module.attr("loads")(text_object(json)), "indent"_a = 2, "ensure_ascii"_a = false);
}

nb::object vocab_dict(const Tokenizer& t, bool with_added_tokens) {
  nb::object out = nb::steal(PyDict_New());
  const auto put = [&](std::string_view token, Id id) {
    const nb::object key = text_object(token), value = nb::steal(PyLong_FromLong(id));
    if (!key.is_valid() || PyDict_SetItem(out.ptr(), key.ptr(), value.ptr()) < 0) throw nb::python_error();
  };
  t.core()->model().vocab.each(put);
  if (with_added_tokens) {
    for (const auto& [content, id] : t.core()->added().ids()) put(content, id);
  }
  return out;
}

// The Python object of a component: an instance of the class named like it in the module of its kind.
template <typename T>
nb::object component(Tokenizer& t) {
  auto slot = t.slot<T>();
  if (!slot) return nb::none();
  const nb::object python = nb::cast(std::move(slot));
  // From now on the tokenizer holds what Python holds: its garbage collector follows references between objects only.
  t.hold(nb::cast<std::shared_ptr<Slot<T>>>(python));
  return nb::module_::import_("enfold.tokenizers.components").attr("component_of")(python);
}

template <typename T>
std::shared_ptr<Slot<T>> slot_of(nb::handle component, const char* what, bool optional) {
  if (optional && component.is_none()) return nullptr;
  const nb::object held = nb::getattr(component, "_slot", nb::none());
  std::shared_ptr<Slot<T>> slot;
  if (!nb::try_cast(held, slot) || !slot) {
    throw nb::type_error((std::string(what) + ", got " + Py_TYPE(component.ptr())->tp_name).c_str());
  }
  return slot;
}

template <typename T>
void set_component(Tokenizer& t, nb::handle component) {
  constexpr bool optional = !std::is_same_v<T, Model>;
  t.set_slot(slot_of<T>(component, Slot<T>::expected, optional));
}

// Components that are Python code may refer back to the tokenizer.
int traverse_tokenizer(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  return nb::inst_ready(self) ? nb::inst_ptr<Tokenizer>(self)->traverse(visit, arg) : 0;
}

// A call made in another thread, for asyncio to wait for.
template <int which>
nb::object later(nb::handle self, nb::args args, nb::kwargs options) {
  static constexpr const char* names[] = {"encode", "encode_batch", "encode_batch_fast", "decode_batch"};
  return nb::module_::import_("enfold.tokenizers.calling").attr("later")(self.attr(names[which]), args, options);
}

nb::object printed(const Tokenizer& t, int limit) {
  const nb::object spec = text_object(t.core()->dump(t.options, true));
  return nb::module_::import_("enfold.tokenizers.printing").attr("printed_tokenizer")(spec, limit);
}

std::string_view utf8_of(PyObject* text, const char* what) {
  if (!PyUnicode_Check(text)) {
    throw Error(std::string(what) + " should be a str, got " + Py_TYPE(text)->tp_name);
  }
  Py_ssize_t size = 0;
  const char* const data = PyUnicode_AsUTF8AndSize(text, &size);
  if (!data) {
    PyErr_Clear();
    throw Error(std::string(what) + " holds half of a surrogate pair, which is no text");
  }
  return {data, static_cast<std::size_t>(size)};
}

std::pair<PyObject*, PyObject*> two_of(PyObject* entry, const char* what) {
  if (!(PyList_Check(entry) || PyTuple_Check(entry)) || PySequence_Fast_GET_SIZE(entry) != 2) {
    throw Error(std::string(what) + " should be two");
  }
  return {PySequence_Fast_GET_ITEM(entry, 0), PySequence_Fast_GET_ITEM(entry, 1)};
}

// A vocabulary as it stands in a file: token → id, or (token, score) in the order of ids. Scores arrive as they are.
std::string vocabulary_text(nb::handle vocab) {
  std::string out;
  if (PyDict_Check(vocab.ptr())) {
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(vocab.ptr(), &at, &key, &value);) {
      const std::int64_t id = PyLong_Check(value) ? PyLong_AsLongLong(value) : -1;
      if (id < 0) PyErr_Clear();
      out.append(1, out.empty() ? '{' : ',').append(json::quoted(utf8_of(key, "a token"))).append(1, ':');
      out.append(std::to_string(id));
    }
    return out.empty() ? "{}" : out + '}';
  }
  for (const nb::handle entry : nb::iter(vocab)) {
    const auto [token, score] = two_of(entry.ptr(), "token and score");
    const double value = PyFloat_AsDouble(score);
    if (value == -1 && PyErr_Occurred()) throw nb::python_error();
    char number[40];
    std::snprintf(number, sizeof number, "%a", value);
    out.append(1, out.empty() ? '[' : ',').append(1, '[').append(json::quoted(utf8_of(token, "a token")));
    out.append(",\"").append(number).append("\"]");
  }
  return out.empty() ? "[]" : out + ']';
}

std::string merges_text(nb::handle merges) {
  std::string out;
  for (const nb::handle entry : nb::iter(merges)) {
    const auto [first, second] = two_of(entry.ptr(), "the tokens of a merge");
    out.append(1, out.empty() ? '[' : ',').append(1, '[').append(json::quoted(utf8_of(first, "a merge")));
    out.append(1, ',').append(json::quoted(utf8_of(second, "a merge"))).append(1, ']');
  }
  return out.empty() ? "[]" : out + ']';
}

// `sections`: a tokenizer.json without its model; `model`: the model's options, an object that is not empty.
Tokenizer from_parts(std::string sections, std::string model, nb::handle vocab, nb::handle merges) {
  if (sections.empty() || model.empty()) throw Error("sections and model should be JSON objects");
  sections.pop_back();
  model.pop_back();
  sections += ",\"model\":" + model + ",\"vocab\":" + vocabulary_text(vocab);
  if (!merges.is_none()) sections += ",\"merges\":" + merges_text(merges);
  sections += "}}";
  return Tokenizer::from_source(sections);
}

Table<char> read_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw Error("the tokenizer file '" + path + "' is a folder");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw Error("can't open the tokenizer file '" + path + "'");
  Table<char> source(static_cast<std::size_t>(std::max<std::streamoff>(file.tellg(), 0)));
  file.seekg(0);
  if (!file.read(source.data(), static_cast<std::streamsize>(source.size()))) throw Error("can't read '" + path + "'");
  return source;
}

std::vector<Id> ids_of(nb::handle given) {
  std::int64_t id = 0;
  if (nb::try_cast(given, id)) return {checked_id(id)};
  if (PyUnicode_Check(given.ptr())) throw nb::type_error("a stream takes an id or a list of ids, got str");
  std::vector<Id> ids;
  IdRows::read(given, ids);
  return ids;
}

// A stream of one tokenizer, or one that is told with each step which tokenizer it is.
struct BoundStream {
  DecodeStream stream;
  std::shared_ptr<const Core> core;

  nb::object step(const Core& by, nb::handle ids) {
    const std::vector<Id> taken = ids_of(ids);
    const auto text = stream.step(by, taken.data(), taken.size());
    return text ? text_object(*text) : nb::none();
  }
};

void bind_stream(nb::module_& m) {
  using S = BoundStream;
  nb::class_<S>(m, "DecodeStream", "Decodes ids as they come, whole characters at a time.")
      .def(
          "__init__",
          [](S* self, nb::handle ids, std::optional<bool> skip) {
            new (self) S{{ids.is_none() ? std::vector<Id>() : ids_of(ids), skip.value_or(false)}, nullptr};
          },
          "ids"_a = nb::none(), "skip_special_tokens"_a = false)
      .def(
          "step", [](S& s, const Tokenizer& tokenizer, nb::handle id) { return s.step(*tokenizer.core(), id); },
          "tokenizer"_a, "id"_a)
      .def(
          "step",
          [](S& s, nb::handle id) {
            if (!s.core)
              throw nb::type_error("the stream has no tokenizer of its own: step takes a tokenizer and an id");
            return s.step(*s.core, id);
          },
          "id"_a)
      .def("__copy__", [](const S& s) { return s; })
      .def("__deepcopy__", [](const S& s, nb::handle) { return s; }, "memo"_a);
}

}  // namespace

void bind_tokenizer(nb::module_& m) {
  using T = Tokenizer;
  bind_stream(m);
  static PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(&traverse_tokenizer)}, {0, nullptr}};
  nb::class_<T>(m, "Tokenizer", "Text to ids and back, as a tokenizer.json says.", nb::type_slots(slots))
      .def(
          "__init__",
          [](T* self, nb::handle model) { new (self) T(slot_of<Model>(model, "Tokenizer takes a model", false)); },
          "model"_a)
      .def_prop_rw("model", &component<Model>, &set_component<Model>, nb::arg().none())
      .def_prop_rw("normalizer", &component<Normalizer>, &set_component<Normalizer>, nb::arg().none())
      .def_prop_rw("pre_tokenizer", &component<PreTokenizer>, &set_component<PreTokenizer>, nb::arg().none())
      .def_prop_rw("post_processor", &component<PostProcessor>, &set_component<PostProcessor>, nb::arg().none())
      .def_prop_rw("decoder", &component<Decoder>, &set_component<Decoder>, nb::arg().none())
      .def_static(
          "from_str", [](const std::string& json) { return T::from_source(json); }, "json"_a)
      .def_static("_from_parts", &from_parts, "sections"_a, "model"_a, "vocab"_a, "merges"_a.none() = nb::none())
      .def_static(
          "from_buffer", [](const nb::bytes& buffer) { return T::from_source({buffer.c_str(), buffer.size()}); },
          "buffer"_a)
      .def_static(
          "from_file",
          [](nb::handle path) {
            const nb::object name = nb::steal(PyOS_FSPath(path.ptr()));
            if (!name.is_valid()) throw nb::python_error();
            const auto source = read_file(nb::cast<std::string>(name));
            return T::from_source({source.data(), source.size()});
          },
          "path"_a)
      .def_static(
          "from_pretrained",
          [](nb::args args, nb::kwargs options) {
            return nb::module_::import_("enfold.tokenizers.calling").attr("from_pretrained")(*args, **options);
          },
          nb::sig(
              "def from_pretrained(identifier: str, revision: str = 'main', token: str | None = None) -> Tokenizer"))
      .def("async_encode", &later<0>)
      .def("async_encode_batch", &later<1>)
      .def("async_encode_batch_fast", &later<2>)
      .def("async_decode_batch", &later<3>)
      .def("__repr__", [](const T& t) { return printed(t, 100); })
      .def("__str__", [](const T& t) { return printed(t, 6); })
      .def("post_process", &T::post_process, "encoding"_a, "pair"_a = nb::none(), "add_special_tokens"_a = true)
      .def("to_str", &json_of, "pretty"_a = false)
      .def(
          "save",
          [](const T& t, nb::handle path, bool pretty) {
            const nb::object file = nb::module_::import_("builtins").attr("open")(path, "w", "encoding"_a = "utf-8");
            file.attr("write")(json_of(t, pretty));
            file.attr("close")();
          },
          "path"_a, "pretty"_a = true)
      .def("__getstate__",
           [](const T& t) {
             const std::string json = t.dump();
             return nb::bytes(json.data(), json.size());
           })
      .def("__setstate__",
           [](T& t, const nb::bytes& state) { new (&t) T(T::from_source({state.c_str(), state.size()})); })
      .def("__copy__", [](const T& t) { return t; })
      .def(
          "__deepcopy__", [](const T& t, nb::handle) { return t; }, "memo"_a)
      .def(
          "train",
          [](nb::handle self, nb::handle files, nb::handle trainer) {
            nb::module_::import_("enfold.tokenizers.trainers").attr("train")(self, files, trainer);
          },
          "files"_a, "trainer"_a = nb::none())
      .def(
          "train_from_iterator",
          [](nb::handle self, nb::handle iterator, nb::handle trainer, std::optional<std::size_t> length) {
            nb::module_::import_("enfold.tokenizers.trainers")
                .attr("train_from_iterator")(self, iterator, trainer, length);
          },
          "iterator"_a, "trainer"_a = nb::none(), "length"_a = nb::none())
      .def("encode", &T::encode, "sequence"_a, "pair"_a = nb::none(), "is_pretokenized"_a = false,
           "add_special_tokens"_a = true)
      .def("encode_batch", &T::encode_batch, "input"_a, "is_pretokenized"_a = false, "add_special_tokens"_a = true)
      .def("encode_batch_fast", &T::encode_batch, "input"_a, "is_pretokenized"_a = false, "add_special_tokens"_a = true)
      .def("encode_arrays", &T::encode_arrays, "inputs"_a, nb::kw_only(), "add_special_tokens"_a = true,
           "is_pretokenized"_a = false, "truncation"_a = nb::none(), "offsets"_a = false, "words"_a = false,
           "overflow"_a = true)
      .def(
          "request", [](const T& t, const nb::dict& options) { return make_request(t.core(), options); }, "options"_a)
      .def(
          "fits", [](const T& t, const Request& request) { return request.seen == t.core(); }, "request"_a)
      .def("encode_tokens", &T::encode_tokens, "text"_a, "add_special_tokens"_a = true)
      .def("encode_ids", &T::encode_ids, "text"_a, "add_special_tokens"_a = true)
      .def(
          "decode",
          [](const T& t, nb::handle given, bool skip) {
            std::vector<Id> ids;
            IdRows::read(given, ids);
            return text_object(t.decode(ids, skip));
          },
          "ids"_a, "skip_special_tokens"_a = true,
          nb::sig("def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str"))
      .def(
          "decode_batch",
          [](const T& t, nb::handle sequences, bool skip) {
            nb::list out;
            IdRows::each(sequences, [&](const std::vector<Id>& ids) { out.append(text_object(t.decode(ids, skip))); });
            return out;
          },
          "sequences"_a, "skip_special_tokens"_a = true,
          nb::sig("def decode_batch(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> "
                  "list[str]"))
      .def(
          "decode_stream", [](const T& t, bool skip) { return BoundStream{{{}, skip}, t.core()}; },
          "skip_special_tokens"_a = true)
      .def(
          "token_to_id",
          [](const T& t, std::string_view token) -> std::optional<Id> {
            const Id id = t.core()->find(token);
            return id == kNoId ? std::nullopt : std::optional<Id>(id);
          },
          "token"_a)
      .def(
          "id_to_token",
          [](const T& t, std::int64_t id) -> nb::object {
            const std::string_view token = t.core()->token(checked_id(id));
            return token.data() ? text_object(token) : nb::none();
          },
          "id"_a)
      .def("get_vocab", &vocab_dict, "with_added_tokens"_a = true)
      .def(
          "get_vocab_size", [](const T& t, bool with_added) { return t.core()->size(with_added); },
          "with_added_tokens"_a = true)
      .def("get_added_tokens_decoder",
           [](const T& t) {
             std::vector<Id> ids;
             for (const auto& [id, token] : t.core()->added().tokens()) ids.push_back(id);
             std::sort(ids.begin(), ids.end());
             nb::dict out;
             for (const Id id : ids)
               out[nb::cast(id)] =
                   nb::cast(PyAddedToken{*t.core()->added().by_id(id), t.core()->added().by_id(id)->normalized});
             return out;
           })
      .def(
          "add_tokens", [](T& t, nb::handle tokens) { return t.add(tokens, false); }, "tokens"_a)
      .def(
          "add_special_tokens", [](T& t, nb::handle tokens) { return t.add(tokens, true); }, "tokens"_a)
      .def(
          "num_special_tokens_to_add", [](const T& t, bool is_pair) { return t.core()->added_by_template(is_pair); },
          "is_pair"_a)
      .def(
          "enable_truncation",
          [](T& t, std::size_t max_length, std::size_t stride, const std::string& strategy,
             const std::string& direction) {
            const Truncation made{max_length, stride, strategy_of(strategy), side_of(direction, "direction")};
            t.options.truncation = made;
          },
          "max_length"_a, "stride"_a = 0, "strategy"_a = "longest_first", "direction"_a = "right")
      .def("no_truncation", [](T& t) { t.options.truncation.reset(); })
      .def_prop_ro("truncation", &T::truncation)
      .def(
          "enable_padding",
          [](T& t, const std::string& direction, Id pad_id, std::int32_t pad_type_id, const std::string& pad_token,
             std::optional<std::size_t> length, std::optional<std::size_t> multiple) {
            t.options.padding = Padding{
                length.has_value(), length.value_or(0), multiple.value_or(0), side_of(direction, "direction"), pad_id,
                pad_type_id,        pad_token};
          },
          "direction"_a = "right", "pad_id"_a = 0, "pad_type_id"_a = 0, "pad_token"_a = "[PAD]",
          "length"_a = nb::none(), "pad_to_multiple_of"_a = nb::none())
      .def("no_padding", [](T& t) { t.options.padding.reset(); })
      .def_prop_ro("padding", &T::padding)
      .def_prop_rw(
          "encode_special_tokens", [](const T& t) { return t.core()->splits_special(); },
          [](T& t, bool value) { t.set_core(t.core()->splitting_special(value)); })
      .def_prop_ro("_has_plan", [](const T& t) { return t.core()->plan_runs(); })
      .def("_without_plan", [](const T& t) {
        T made = t;
        made.set_core(t.core()->without_plan());
        return made;
      });
}

}  // namespace enfold::tok
