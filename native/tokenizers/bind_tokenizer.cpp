#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "binding.hpp"
#include "inputs.hpp"
#include "stream.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

// AddedToken as Python sees it: `normalized` follows `special` until it is set.
struct PyAddedToken {
  AddedToken token;
  std::optional<bool> normalized;

  AddedToken resolved() const {
    AddedToken made = token;
    made.normalized = normalized.value_or(!token.special);
    return made;
  }
};

PyAddedToken wrapped(const AddedToken& token) { return {token, token.normalized}; }

std::string repr(const PyAddedToken& t) {
  const AddedToken token = t.resolved();
  const auto flag = [](bool b) { return b ? "True" : "False"; };
  return "AddedToken(\"" + token.content + "\", rstrip=" + flag(token.rstrip) + ", lstrip=" + flag(token.lstrip) +
         ", single_word=" + flag(token.single_word) + ", normalized=" + flag(token.normalized) +
         ", special=" + flag(token.special) + ")";
}

Strategy strategy_of(std::string_view name) {
  if (name == "longest_first") return Strategy::longest_first;
  if (name == "only_first") return Strategy::only_first;
  if (name == "only_second") return Strategy::only_second;
  throw Error("strategy should be 'longest_first', 'only_first' or 'only_second', got '" + std::string(name) + "'");
}

const char* name_of(Strategy strategy) {
  const char* names[] = {"longest_first", "only_first", "only_second"};
  return names[static_cast<int>(strategy)];
}

const char* name_of(Side side) { return side == Side::left ? "left" : "right"; }

Truncation truncation_of(const nb::dict& spec) {
  Truncation made;
  for (const auto& [key, value] : spec) {
    const auto name = nb::cast<std::string>(key);
    if (name == "max_length") made.max_length = nb::cast<std::size_t>(value);
    else if (name == "stride") made.stride = nb::cast<std::size_t>(value);
    else if (name == "strategy") made.strategy = strategy_of(nb::cast<std::string>(value));
    else if (name == "direction") made.direction = side_of(nb::cast<std::string>(value), "direction");
    else throw Error("unknown truncation option '" + name + "': expected max_length, stride, strategy or direction");
  }
  return made;
}

class Tokenizer {
 public:
  std::shared_ptr<const Core> core;
  Core::Options options;

  static Tokenizer from_source(std::string source) {
    Tokenizer made;
    const nb::gil_scoped_release released;
    made.core = Core::read(std::move(source), made.options);
    return made;
  }

  std::string dump() const {
    const nb::gil_scoped_release released;
    return core->dump(options);
  }

  // The rows of a call that follows the tokenizer's own truncation and padding.
  std::shared_ptr<const Rows> rows(const Inputs& inputs, const Wanted& wanted,
                                   const std::shared_ptr<const Core>& by) const {
    const Core::Options now = options;
    const nb::gil_scoped_release released;
    Rows made = inputs.encode(*by, wanted, now.truncation ? &*now.truncation : nullptr);
    if (now.padding) {
      made = pad(made, padded_length(made, *now.padding), *now.padding,
                 by->plain_token(now.padding->id) == now.padding->token);
    }
    return std::make_shared<const Rows>(std::move(made));
  }

  EncodingView encode(nb::handle sequence, nb::handle pair, bool is_pretokenized, bool add_special_tokens) const {
    Inputs inputs;
    if (pair.is_none()) inputs.add_single(sequence, is_pretokenized);
    else inputs.add(sequence, pair, is_pretokenized);
    const auto by = core;
    auto made = rows(inputs, {true, true, add_special_tokens}, by);
    const std::size_t n = made->size();
    return {std::move(made), by, 0, n};
  }

  nb::object encode_batch(nb::handle batch, bool is_pretokenized, bool add_special_tokens) const {
    Inputs inputs;
    inputs.add_all(batch, is_pretokenized);
    const auto by = core;
    const auto made = rows(inputs, {true, true, add_special_tokens}, by);
    nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(inputs.size())));
    if (!list.is_valid()) throw nb::python_error();
    Py_ssize_t at = 0;
    for (std::size_t row = 0; row < made->size();) {
      std::size_t end = row + 1;
      while (end < made->size() && made->samples[end] == made->samples[row]) ++end;
      PyList_SET_ITEM(list.ptr(), at++, nb::cast(EncodingView{made, by, row, end}).release().ptr());
      row = end;
    }
    return list;
  }

  EncodedBatch encode_arrays(nb::handle batch, bool add_special_tokens, bool is_pretokenized,
                             const std::optional<nb::dict>& truncation, bool offsets, bool words) const {
    std::optional<Truncation> cut;
    if (truncation) cut = truncation_of(*truncation);
    Inputs inputs;
    inputs.add_all(batch, is_pretokenized);
    EncodedBatch made{nullptr, core};
    const nb::gil_scoped_release released;
    made.rows = std::make_shared<const Rows>(
        inputs.encode(*made.core, {offsets, words, add_special_tokens}, cut ? &*cut : nullptr));
    return made;
  }

  nb::object encode_ids(nb::handle text, bool add_special_tokens) const {
    if (!PyUnicode_Check(text.ptr())) throw nb::type_error("encode_ids takes a str");
    const TextRef source = TextRef::of(text.ptr());
    const auto by = core;
    Rows out;
    {
      const nb::gil_scoped_release released;
      Core::Lease scratch(*by);
      (*scratch).utf8[0].clear();
      const SequenceInput input{source.utf8((*scratch).utf8[0]), nullptr};
      by->encode(input, nullptr, 0, {false, false, add_special_tokens}, nullptr, *scratch, out);
    }
    return int_list(out.ids.data(), out.ids.size());
  }

  std::size_t add(nb::handle tokens, bool special) {
    std::vector<AddedToken> list;
    for (const nb::handle token : nb::iter(tokens)) {
      PyAddedToken made;
      if (PyUnicode_Check(token.ptr())) {
        std::string text;
        made.token.content = TextRef::of(token.ptr()).utf8(text);
      } else if (!nb::try_cast(token, made)) {
        throw nb::type_error("an added token should be a str or an AddedToken");
      }
      made.token.special |= special;
      list.push_back(made.resolved());
    }
    std::size_t added = 0;
    core = core->with_added(list, added);
    return added;
  }

  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens) const {
    std::vector<Id> checked;
    checked.reserve(ids.size());
    for (const std::int64_t id : ids) {
      if (id < 0 || id > 0xFFFFFFFFll)
        throw nb::value_error(("a token id should lie between 0 and 2^32 - 1, got " + std::to_string(id)).c_str());
      checked.push_back(id > 0x7FFFFFFF ? kNoId : static_cast<Id>(id));
    }
    return core->decode(checked.data(), checked.size(), skip_special_tokens);
  }

  nb::object truncation() const {
    if (!options.truncation) return nb::none();
    nb::dict out;
    out["max_length"] = options.truncation->max_length;
    out["stride"] = options.truncation->stride;
    out["strategy"] = name_of(options.truncation->strategy);
    out["direction"] = name_of(options.truncation->direction);
    return out;
  }

  nb::object padding() const {
    if (!options.padding) return nb::none();
    const Padding& p = *options.padding;
    nb::dict out;
    out["length"] = p.fixed ? nb::cast(p.length) : nb::none();
    out["pad_to_multiple_of"] = p.multiple ? nb::cast(p.multiple) : nb::none();
    out["pad_id"] = p.id;
    out["pad_token"] = p.token;
    out["pad_type_id"] = p.type_id;
    out["direction"] = name_of(p.direction);
    return out;
  }
};

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
  t.core->model().vocab.each(put);
  if (with_added_tokens) {
    for (const auto& [content, id] : t.core->added().ids()) put(content, id);
  }
  return out;
}

std::string read_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw Error("the tokenizer file '" + path + "' is a folder");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw Error("can't open the tokenizer file '" + path + "'");
  std::string source(static_cast<std::size_t>(std::max<std::streamoff>(file.tellg(), 0)), '\0');
  file.seekg(0);
  if (!file.read(source.data(), static_cast<std::streamsize>(source.size()))) throw Error("can't read '" + path + "'");
  return source;
}

void bind_added_token(nb::module_& m) {
  using T = PyAddedToken;
  nb::class_<T>(m, "AddedToken", "A token put on top of a model's vocabulary, and how it is looked for.")
      .def(
          "__init__",
          [](T* self, const std::string& content, bool single_word, bool lstrip, bool rstrip,
             std::optional<bool> normalized,
             bool special) { new (self) T{{content, single_word, lstrip, rstrip, true, special}, normalized}; },
          "content"_a = "", "single_word"_a = false, "lstrip"_a = false, "rstrip"_a = false,
          "normalized"_a = nb::none(), "special"_a = false)
      .def_prop_rw(
          "content", [](const T& t) { return t.token.content; },
          [](T& t, const std::string& v) { t.token.content = v; })
      .def_prop_rw(
          "single_word", [](const T& t) { return t.token.single_word; }, [](T& t, bool v) { t.token.single_word = v; })
      .def_prop_rw(
          "lstrip", [](const T& t) { return t.token.lstrip; }, [](T& t, bool v) { t.token.lstrip = v; })
      .def_prop_rw(
          "rstrip", [](const T& t) { return t.token.rstrip; }, [](T& t, bool v) { t.token.rstrip = v; })
      .def_prop_rw(
          "special", [](const T& t) { return t.token.special; }, [](T& t, bool v) { t.token.special = v; })
      .def_prop_rw(
          "normalized", [](const T& t) { return t.resolved().normalized; }, [](T& t, bool v) { t.normalized = v; })
      .def("__str__", [](const T& t) { return t.token.content; })
      .def("__repr__", &repr)
      .def("__eq__",
           [](const T& t, nb::handle other) {
             T o;
             return nb::try_cast(other, o) && t.resolved() == o.resolved();
           })
      .def("__hash__", [](const T& t) { return nb::hash(nb::str(t.token.content.c_str(), t.token.content.size())); })
      .def("__getstate__",
           [](const T& t) {
             return nb::make_tuple(t.token.content, t.token.single_word, t.token.lstrip, t.token.rstrip, t.normalized,
                                   t.token.special);
           })
      .def("__setstate__", [](T& t, const nb::tuple& state) {
        new (&t) T{{nb::cast<std::string>(state[0]), nb::cast<bool>(state[1]), nb::cast<bool>(state[2]),
                    nb::cast<bool>(state[3]), true, nb::cast<bool>(state[5])},
                   nb::cast<std::optional<bool>>(state[4])};
      });
}

void bind_stream(nb::module_& m) {
  nb::class_<DecodeStream>(m, "DecodeStream", "Decodes ids as they come, whole characters at a time.")
      .def(
          "step",
          [](DecodeStream& s, std::int64_t id) -> nb::object {
            if (id < 0 || id > 0xFFFFFFFFll) throw nb::value_error("a token id should lie between 0 and 2^32 - 1");
            const auto text = s.step(id > 0x7FFFFFFF ? kNoId : static_cast<Id>(id));
            return text ? text_object(*text) : nb::none();
          },
          "id"_a);
}

}  // namespace

void bind_tokenizer(nb::module_& m) {
  using T = Tokenizer;
  bind_added_token(m);
  bind_stream(m);
  nb::class_<T>(m, "Tokenizer", "Text to ids and back, as a tokenizer.json says.")
      .def_static(
          "from_str", [](const std::string& json) { return T::from_source(json); }, "json"_a)
      .def_static(
          "from_buffer", [](const nb::bytes& buffer) { return T::from_source({buffer.c_str(), buffer.size()}); },
          "buffer"_a)
      .def_static(
          "from_file",
          [](nb::handle path) {
            const nb::object name = nb::steal(PyOS_FSPath(path.ptr()));
            if (!name.is_valid()) throw nb::python_error();
            return T::from_source(read_file(nb::cast<std::string>(name)));
          },
          "path"_a)
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
      .def("encode", &T::encode, "sequence"_a, "pair"_a = nb::none(), "is_pretokenized"_a = false,
           "add_special_tokens"_a = true)
      .def("encode_batch", &T::encode_batch, "input"_a, "is_pretokenized"_a = false, "add_special_tokens"_a = true)
      .def("encode_batch_fast", &T::encode_batch, "input"_a, "is_pretokenized"_a = false, "add_special_tokens"_a = true)
      .def("encode_arrays", &T::encode_arrays, "inputs"_a, nb::kw_only(), "add_special_tokens"_a = true,
           "is_pretokenized"_a = false, "truncation"_a = nb::none(), "offsets"_a = false, "words"_a = false)
      .def("encode_ids", &T::encode_ids, "text"_a, "add_special_tokens"_a = true)
      .def(
          "decode",
          [](const T& t, const std::vector<std::int64_t>& ids, bool skip) { return text_object(t.decode(ids, skip)); },
          "ids"_a, "skip_special_tokens"_a = true)
      .def(
          "decode_batch",
          [](const T& t, const std::vector<std::vector<std::int64_t>>& sequences, bool skip) {
            nb::list out;
            for (const auto& ids : sequences) out.append(text_object(t.decode(ids, skip)));
            return out;
          },
          "sequences"_a, "skip_special_tokens"_a = true)
      .def(
          "decode_stream", [](const T& t, bool skip) { return DecodeStream(t.core, skip); },
          "skip_special_tokens"_a = true)
      .def(
          "token_to_id",
          [](const T& t, std::string_view token) -> std::optional<Id> {
            const Id id = t.core->find(token);
            return id == kNoId ? std::nullopt : std::optional<Id>(id);
          },
          "token"_a)
      .def(
          "id_to_token",
          [](const T& t, std::int64_t id) -> nb::object {
            if (id < 0 || id > 0xFFFFFFFFll) throw nb::value_error("a token id should lie between 0 and 2^32 - 1");
            const std::string_view token = t.core->token(id > 0x7FFFFFFF ? kNoId : static_cast<Id>(id));
            return token.data() ? text_object(token) : nb::none();
          },
          "id"_a)
      .def("get_vocab", &vocab_dict, "with_added_tokens"_a = true)
      .def(
          "get_vocab_size", [](const T& t, bool with_added) { return t.core->size(with_added); },
          "with_added_tokens"_a = true)
      .def("get_added_tokens_decoder",
           [](const T& t) {
             std::vector<Id> ids;
             for (const auto& [id, token] : t.core->added().tokens()) ids.push_back(id);
             std::sort(ids.begin(), ids.end());
             nb::dict out;
             for (const Id id : ids) out[nb::cast(id)] = nb::cast(wrapped(*t.core->added().by_id(id)));
             return out;
           })
      .def(
          "add_tokens", [](T& t, nb::handle tokens) { return t.add(tokens, false); }, "tokens"_a)
      .def(
          "add_special_tokens", [](T& t, nb::handle tokens) { return t.add(tokens, true); }, "tokens"_a)
      .def(
          "num_special_tokens_to_add", [](const T& t, bool is_pair) { return t.core->added_by_template(is_pair); },
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
          "encode_special_tokens", [](const T& t) { return t.core->splits_special(); },
          [](T& t, bool value) { t.core = t.core->splitting_special(value); })
      .def_prop_ro("_has_plan", [](const T& t) { return t.core->plan_runs(); })
      .def("_without_plan", [](const T& t) {
        T made = t;
        made.core = t.core->without_plan();
        return made;
      });
}

}  // namespace enfold::tok
