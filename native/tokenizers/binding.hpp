#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer.hpp"

namespace enfold::tok {

namespace nb = nanobind;

// A str with surrogates in it has no UTF-8 form; Python sees TypeError.
struct LoneSurrogate {};

// A str borrowed from Python, to be read with or without the GIL while its owner holds a reference.
struct TextRef {
  const void* data = nullptr;
  std::size_t size = 0;
  int kind = 1;
  bool ascii = true;

  static TextRef of(PyObject* object);
  // The UTF-8 form: the str's own bytes if it is ASCII, else written to the end of `buffer`.
  std::string_view utf8(std::string& buffer) const;
  std::size_t bytes() const { return size * static_cast<std::size_t>(kind); }
};

// An encoded row: a view of a batch, or a batch of its own once it was changed. Rows [row, end) belong to one input:
// the first is the encoding, the others are its overflow.
struct EncodingView {
  std::shared_ptr<const Rows> rows;
  std::shared_ptr<const Core> core;
  std::size_t row = 0, end = 0;

  std::size_t begin() const { return rows->begin(row); }
  std::size_t size() const { return rows->length(row); }
};

struct EncodedBatch {
  std::shared_ptr<const Rows> rows;
  std::shared_ptr<const Core> core;
};

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

// What add_tokens and the trainers take: a str or an AddedToken.
PyAddedToken added_token_of(nb::handle token);

// Bytes of text; letting other threads run costs more than encoding less than this.
inline constexpr std::size_t kShortText = 4096;

// `core` is null for an encoding that no tokenizer made; its tokens have texts of their own.
nb::object token_text(const Core* core, const Rows& rows, std::size_t at);
// The rows of one encoding by themselves, and an encoding made to stand for other rows.
Rows own_rows(const EncodingView& e);
void assign(EncodingView& e, Rows rows);
EncodingView merge(const std::vector<EncodingView>& encodings, bool growing_offsets);
void truncate(EncodingView& e, std::size_t max_length, std::size_t stride, Side direction);
// What a post-processor (null for none) makes of one encoding or of two.
EncodingView process(const PostProcessor* post, const EncodingView& first, const EncodingView* second, bool special);

Strategy strategy_of(std::string_view name);
Truncation truncation_of(const nb::dict& spec);
Side side_of(std::string_view name, const char* what);

void bind_encoding(nb::module_& m);
void bind_batch(nb::module_& m);
void bind_added_token(nb::module_& m);
void bind_components(nb::module_& m);
void bind_text(nb::module_& m);
void bind_tokenizer(nb::module_& m);
void bind_formats(nb::module_& m);
void bind_training(nb::module_& m);

// A list of Python ints; the numbers of a row are small and mostly cached.
template <typename T>
nb::object int_list(const T* values, std::size_t n) {
  nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(n)));
  if (!list.is_valid()) throw nb::python_error();
  for (std::size_t i = 0; i < n; ++i) {
    PyObject* item = PyLong_FromLong(static_cast<long>(values[i]));
    if (!item) throw nb::python_error();
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), item);
  }
  return list;
}

}  // namespace enfold::tok
