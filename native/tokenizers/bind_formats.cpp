#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <optional>

#include "binding.hpp"
#include "byte_level.hpp"
#include "derived_merges.hpp"
#include "sentencepiece_file.hpp"
#include "unicode.hpp"

namespace enfold::tok {
namespace {

nb::object checked(PyObject* made) {
  if (!made) throw nb::python_error();
  return nb::steal(made);
}

nb::object str_of(std::string_view text, const char* errors = nullptr) {
  return checked(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), errors));
}

nb::object new_list(std::size_t n) { return checked(PyList_New(static_cast<Py_ssize_t>(n))); }

void set_item(const nb::object& list, std::size_t i, nb::object item) {
  PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), item.release().ptr());
}

nb::object pair_of(PyObject* left, PyObject* right) { return checked(PyTuple_Pack(2, left, right)); }

// The keys of a dictionary as UTF-8, and its values as numbers.
struct Numbered {
  std::vector<PyObject*> keys;
  std::vector<std::string_view> texts;
  std::vector<double> values;
  std::deque<std::string> kept;

  Numbered(const nb::dict& dict, const nb::set& skip) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict.ptr(), &at, &key, &value)) {
      const TextRef text = TextRef::of(key);
      if (nb::len(skip) != 0) {
        const int skipped = PySet_Contains(skip.ptr(), key);
        if (skipped < 0) throw nb::python_error();
        if (skipped) continue;
      }
      const double number = PyFloat_AsDouble(value);
      if (number == -1.0 && PyErr_Occurred()) throw nb::python_error();
      if (std::isnan(number)) throw Error("a token's score is not a number, so that its merges have no order");
      keys.push_back(key);
      std::string ascii;
      texts.push_back(text.utf8(text.ascii ? ascii : kept.emplace_back()));
      values.push_back(number);
    }
  }
};

nb::object merges_of_vocabulary(const nb::dict& vocab, const nb::object& scores, const nb::set& skip) {
  const Numbered tokens(vocab, skip);
  std::optional<Numbered> ranked;
  if (!scores.is_none()) ranked.emplace(nb::cast<nb::dict>(scores), skip);
  const Numbered& targets = ranked ? *ranked : tokens;
  std::vector<Join> found = joins(tokens.texts, targets.texts, Unit::character);
  const auto before = [&](const Join& a, const Join& b) {
    const double left = targets.values[a.target], right = targets.values[b.target];
    if (left != right) return left < right;
    return a.left_size != b.left_size ? a.left_size < b.left_size : a.right_size < b.right_size;
  };
  if (ranked) {
    std::stable_sort(found.begin(), found.end(), [&](const Join& a, const Join& b) { return before(b, a); });
  } else if (!std::is_sorted(found.begin(), found.end(), before)) {
    std::stable_sort(found.begin(), found.end(), before);
  }
  const nb::object list = new_list(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    set_item(list, i, pair_of(tokens.keys[found[i].left], tokens.keys[found[i].right]));
  }
  return list;
}

nb::object byte_level_vocabulary(const nb::list& ranks) {
  std::vector<std::string_view> tokens;
  const nb::object names = new_list(nb::len(ranks));
  std::string spelling;
  for (const nb::handle item : ranks) {
    char* data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(item.ptr(), &data, &size) < 0) throw nb::python_error();
    tokens.emplace_back(data, static_cast<std::size_t>(size));
    spelling.clear();
    for (const char c : tokens.back()) {
      unicode::append(spelling, byte_level::kTable.character[static_cast<unsigned char>(c)]);
    }
    set_item(names, tokens.size() - 1, str_of(spelling));
  }
  std::vector<Join> found = joins(tokens, tokens, Unit::byte);
  const auto before = [](const Join& a, const Join& b) {
    if (a.target != b.target) return a.target < b.target;
    return a.left != b.left ? a.left < b.left : a.right < b.right;
  };
  std::stable_sort(found.begin(), found.end(), before);
  const nb::object merges = new_list(found.size());
  const auto name = [&](std::uint32_t i) { return PyList_GET_ITEM(names.ptr(), static_cast<Py_ssize_t>(i)); };
  for (std::size_t i = 0; i < found.size(); ++i)
    set_item(merges, i, pair_of(name(found[i].left), name(found[i].right)));
  return pair_of(names.ptr(), merges.ptr());
}

// A spec's fields as (number, int or bytes), in their order.
nb::list fields_of(const std::vector<std::string_view>& messages) {
  nb::list fields;
  for (const std::string_view content : messages) {
    Message message(content);
    while (message.next()) {
      const bool number = message.wire != Message::Wire::bytes;
      fields.append(nb::make_tuple(message.number,
                                   number ? nb::object(nb::int_(message.value))
                                          : nb::object(nb::bytes(message.content.data(), message.content.size()))));
    }
  }
  return fields;
}

nb::object sentencepiece_file(const nb::bytes& content) {
  const SentencePieceFile file = read_sentencepiece({content.c_str(), content.size()});
  const nb::object pieces = new_list(file.pieces.size()), scores = new_list(file.pieces.size()),
                   types = new_list(file.pieces.size());
  for (std::size_t i = 0; i < file.pieces.size(); ++i) {
    set_item(pieces, i, str_of(file.pieces[i].text));
    set_item(scores, i, checked(PyFloat_FromDouble(file.pieces[i].score)));
    set_item(types, i, checked(PyLong_FromUnsignedLongLong(file.pieces[i].type)));
  }
  return nb::make_tuple(pieces, scores, types, fields_of(file.trainer), fields_of(file.normalizer));
}

nb::object prefixed_strings(const nb::object& buffer, std::size_t at, std::size_t count) {
  Py_buffer view;
  if (PyObject_GetBuffer(buffer.ptr(), &view, PyBUF_SIMPLE) < 0) throw nb::python_error();
  struct Release {
    Py_buffer* view;
    ~Release() { PyBuffer_Release(view); }
  } release{&view};
  const std::string_view content(static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len));
  const auto refuse = [&] {
    throw Error("a list of " + std::to_string(count) + " texts runs past the end of the file; was it cut short?");
  };
  if (at > content.size() || count > (content.size() - at) / 8) refuse();
  const nb::object list = new_list(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (content.size() - at < 8) refuse();
    std::uint64_t length = 0;
    for (int k = 7; k >= 0; --k)
      length = length << 8 | static_cast<unsigned char>(content[at + static_cast<std::size_t>(k)]);
    at += 8;
    if (length > content.size() - at) refuse();
    set_item(list, i, str_of(content.substr(at, static_cast<std::size_t>(length)), "replace"));
    at += static_cast<std::size_t>(length);
  }
  return nb::make_tuple(list, at);
}

}  // namespace

void bind_formats(nb::module_& m) {
  m.def("merges_of_vocabulary", &merges_of_vocabulary, nb::arg("vocab"), nb::arg("scores") = nb::none(),
        nb::arg("skip") = nb::set(),
        "Every way to join two tokens into a third as pairs, best first: by id, or the highest score first.");
  m.def("byte_level_vocabulary", &byte_level_vocabulary, nb::arg("ranks"),
        "Tokens in bytes, in the order of ranks, as GPT-2 spells them, and the merges that make them.");
  m.def("sentencepiece_file", &sentencepiece_file, nb::arg("content"),
        "Pieces, scores, types, and the fields of the trainer's and normaliser's specs.");
  m.def("prefixed_strings", &prefixed_strings, nb::arg("buffer"), nb::arg("at"), nb::arg("count"),
        "Texts that follow each other, each behind its length in 8 bytes, and the byte behind them.");
}

}  // namespace enfold::tok
