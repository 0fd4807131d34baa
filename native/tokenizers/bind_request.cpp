#include <nanobind/stl/string.h>

#include <algorithm>

#include "request.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

// The names of the results.
struct Keys {
  PyObject *ids, *type_ids, *attention_mask, *special_tokens_mask, *offsets, *lengths, *samples;
};

const Keys& keys() {
  static const Keys made{PyUnicode_InternFromString("input_ids"),
                         PyUnicode_InternFromString("token_type_ids"),
                         PyUnicode_InternFromString("attention_mask"),
                         PyUnicode_InternFromString("special_tokens_mask"),
                         PyUnicode_InternFromString("offset_mapping"),
                         PyUnicode_InternFromString("length"),
                         PyUnicode_InternFromString("overflow_to_sample_mapping")};
  return made;
}

nb::object checked(PyObject* made) {
  if (!made) throw nb::python_error();
  return nb::steal(made);
}

void put(nb::dict& out, PyObject* key, const nb::object& value) {
  if (PyDict_SetItem(out.ptr(), key, value.ptr()) < 0) throw nb::python_error();
}

// `n` items and as many fillers as are missing to `target`. `get(i)` gives a new reference.
template <typename Get>
nb::object padded_list(std::size_t n, std::size_t target, bool left, PyObject* filler, Get&& get) {
  const std::size_t missing = target > n ? target - n : 0;
  nb::object list = checked(PyList_New(static_cast<Py_ssize_t>(n + missing)));
  const std::size_t first = left ? missing : 0;
  for (std::size_t i = 0; i < n; ++i) {
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(first + i), checked(get(i)).release().ptr());
  }
  for (std::size_t k = 0, at = left ? 0 : n; k < missing; ++k, ++at) {
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(at), nb::borrow(filler).release().ptr());
  }
  return list;
}

nb::object span_tuple(Span span) {
  nb::object pair = checked(PyTuple_New(2));
  PyTuple_SET_ITEM(pair.ptr(), 0, checked(PyLong_FromLong(span.begin)).release().ptr());
  PyTuple_SET_ITEM(pair.ptr(), 1, checked(PyLong_FromLong(span.end)).release().ptr());
  PyObject_GC_UnTrack(pair.ptr());  // two numbers make no cycle, and there may be very many of them
  return pair;
}

// The results as lists: of one row flat, of all rows nested.
class Lists {
 public:
  Lists(const Request& request, const Rows& rows)
      : request_(request), rows_(rows), target_(request.target(rows)), zero_(nb::int_(0)), one_(nb::int_(1)) {
    if (!request.padding) return;
    left_ = request.padding->direction == Side::left;
    pad_id_ = nb::int_(request.padding->id);
    pad_type_id_ = nb::int_(request.padding->type_id);
  }

  nb::dict results(bool flat) const {
    nb::dict out;
    const Keys& key = keys();
    const auto add = [&](PyObject* name, auto&& row) { put(out, name, flat ? row(0) : each(row)); };
    add(key.ids, [&](std::size_t r) { return numbers(rows_.ids.data() + rows_.begin(r), r, pad_id_); });
    if (request_.type_ids) {
      add(key.type_ids, [&](std::size_t r) { return numbers(rows_.type_ids.data() + rows_.begin(r), r, pad_type_id_); });
    }
    if (request_.attention_mask) {
      add(key.attention_mask, [&](std::size_t r) {
        return padded(r, zero_, [&](std::size_t) { return nb::borrow(one_).release().ptr(); });
      });
    }
    if (request_.special_tokens_mask) {
      add(key.special_tokens_mask, [&](std::size_t r) { return numbers(rows_.special.data() + rows_.begin(r), r, one_); });
    }
    if (request_.wanted.offsets) {
      const nb::object nowhere = span_tuple({0, 0});
      add(key.offsets, [&](std::size_t r) {
        const Span* spans = rows_.offsets.data() + rows_.begin(r);
        return padded(r, nowhere, [&](std::size_t i) { return span_tuple(spans[i]).release().ptr(); });
      });
    }
    put_sizes(out, request_, rows_, target_);
    return out;
  }

  // What is no list per row: the rows' lengths, and the texts they come from.
  static void put_sizes(nb::dict& out, const Request& request, const Rows& rows, std::size_t target) {
    if (request.lengths) {
      put(out, keys().lengths, padded_list(rows.size(), 0, false, nullptr, [&](std::size_t r) {
            return PyLong_FromSize_t(std::max(rows.length(r), target));
          }));
    }
    if (request.wanted.overflow) put(out, keys().samples, int_list(rows.samples.data(), rows.size()));
  }

 private:
  template <typename Row>
  nb::object each(Row&& row) const {
    return padded_list(rows_.size(), 0, false, nullptr, [&](std::size_t r) { return row(r).release().ptr(); });
  }
  template <typename Get>
  nb::object padded(std::size_t row, const nb::object& filler, Get&& get) const {
    return padded_list(rows_.length(row), target_, left_, filler.ptr(), get);
  }
  template <typename T>
  nb::object numbers(const T* values, std::size_t row, const nb::object& filler) const {
    return padded(row, filler, [&](std::size_t i) { return PyLong_FromLong(values[i]); });
  }

  const Request& request_;
  const Rows& rows_;
  std::size_t target_;
  bool left_ = false;
  nb::object zero_, one_, pad_id_, pad_type_id_;
};

// The lists of one text, or of one pair.
nb::dict lists_of_text(const Request& request, nb::handle text, nb::handle pair) {
  const auto read = [](nb::handle object) {
    if (!PyUnicode_Check(object.ptr())) throw nb::type_error("a text should be a str");
    return TextRef::of(object.ptr());
  };
  const TextRef first = read(text), second = pair.is_none() ? TextRef() : read(pair);
  Core::Lease scratch(*request.core);
  Rows& rows = (*scratch).rows;
  rows.clear();
  const auto encode = [&] {
    SequenceInput inputs[2];
    for (std::string& buffer : (*scratch).utf8) buffer.clear();
    inputs[0].text = first.utf8((*scratch).utf8[0]);
    if (!pair.is_none()) inputs[1].text = second.utf8((*scratch).utf8[1]);
    request.core->encode(inputs[0], pair.is_none() ? nullptr : &inputs[1], 0, request.wanted, request.cut(), *scratch,
                         rows);
  };
  if (first.bytes() + second.bytes() < kShortText) {
    encode();
  } else {
    const nb::gil_scoped_release released;
    encode();
  }
  return Lists(request, rows).results(true);
}

Inputs read_inputs(const Request& request, nb::handle inputs) {
  Inputs made;
  made.add_all(inputs, request.pretokenized);
  return made;
}

nb::dict lists(const Request& request, nb::handle batch) {
  const Inputs inputs = read_inputs(request, batch);
  return Lists(request, request.rows(inputs, request.wanted)).results(false);
}

EncodedBatch encode(const Request& request, nb::handle batch) {
  const Inputs inputs = read_inputs(request, batch);
  return {std::make_shared<const Rows>(request.rows(inputs, request.wanted)), request.core};
}

// (rows, columns) of the batch's matrices; None if rows that are longer than the padding differ in length.
nb::object shape(const Request& request, const EncodedBatch& batch) {
  const Rows& rows = *batch.rows;
  std::size_t longest = 0, shortest = rows.size() ? rows.length(0) : 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    longest = std::max(longest, rows.length(r));
    shortest = std::min(shortest, rows.length(r));
  }
  const std::size_t target = request.target(rows);
  if (longest > target && longest > shortest) return nb::none();
  return nb::make_tuple(rows.size(), std::max(longest, target));
}

// A contiguous int64 array of another library, to be written to.
class Matrix {
 public:
  Matrix(nb::handle array, std::size_t cells) {
    if (PyObject_GetBuffer(array.ptr(), &buffer_, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) throw nb::python_error();
    if (buffer_.itemsize != sizeof(std::int64_t) ||
        static_cast<std::size_t>(buffer_.len) != cells * sizeof(std::int64_t)) {
      PyBuffer_Release(&buffer_);
      throw Error("a result should be an int64 array of the batch's shape");
    }
  }
  ~Matrix() { PyBuffer_Release(&buffer_); }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;
  std::int64_t* data() const { return static_cast<std::int64_t*>(buffer_.buf); }

 private:
  Py_buffer buffer_{};
};

// Writes the batch into the arrays [R, L] (offsets [R, L, 2]) that stand in `out` under the results' names.
void fill(const Request& request, const EncodedBatch& batch, std::size_t columns, nb::dict& out) {
  const Rows& rows = *batch.rows;
  const bool left = request.padding && request.padding->direction == Side::left;
  const auto write = [&](PyObject* key, std::size_t width, std::int64_t filler, auto&& copy) {
    PyObject* array = PyDict_GetItemWithError(out.ptr(), key);
    if (!array) throw nb::key_error(PyUnicode_AsUTF8(key));
    const Matrix matrix(array, rows.size() * columns * width);
    std::int64_t* at = matrix.data();
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const std::size_t n = rows.length(r);
      if (n > columns) throw Error("a row is longer than the array");
      std::int64_t* const end = at + columns * width;
      std::int64_t* const first = left ? end - n * width : at;
      std::fill(at, first, filler);
      copy(rows.begin(r), n, first);
      std::fill(first + n * width, end, filler);
      at = end;
    }
  };
  const auto numbers = [](const auto& values) {
    return [&values](std::size_t begin, std::size_t n, std::int64_t* to) {
      std::copy_n(values.data() + begin, n, to);
    };
  };
  const Keys& key = keys();
  write(key.ids, 1, request.padding ? request.padding->id : 0, numbers(rows.ids));
  if (request.type_ids) write(key.type_ids, 1, request.padding ? request.padding->type_id : 0, numbers(rows.type_ids));
  if (request.attention_mask) {
    write(key.attention_mask, 1, 0, [](std::size_t, std::size_t n, std::int64_t* to) { std::fill_n(to, n, 1); });
  }
  if (request.special_tokens_mask) write(key.special_tokens_mask, 1, 1, numbers(rows.special));
  if (request.wanted.offsets) {
    write(key.offsets, 2, 0, [&](std::size_t begin, std::size_t n, std::int64_t* to) {
      for (std::size_t i = 0; i < n; ++i) {
        to[2 * i] = rows.offsets[begin + i].begin;
        to[2 * i + 1] = rows.offsets[begin + i].end;
      }
    });
  }
  Lists::put_sizes(out, request, rows, request.target(rows));
}

// An encoding for every row of the results, padded as they are. Encodings keep the overflow of their text even where
// the results leave it out.
nb::object encodings(const Request& request, nb::handle batch) {
  const Inputs inputs = read_inputs(request, batch);
  Wanted everything = request.wanted;
  everything.offsets = everything.words = everything.overflow = true;
  Rows rows = request.rows(inputs, everything);
  if (request.padding) {
    const bool named = request.core->plain_token(request.padding->id) == request.padding->token;
    rows = pad(rows, request.target(rows), *request.padding, named);
  }
  const auto shared = std::make_shared<const Rows>(std::move(rows));
  nb::list out;
  for (std::size_t row = 0; row < shared->size(); ++row) {
    const bool first = row == 0 || shared->samples[row] != shared->samples[row - 1];
    if (!first && !request.wanted.overflow) continue;
    std::size_t end = row + 1;
    while (first && end < shared->size() && shared->samples[end] == shared->samples[row]) ++end;
    out.append(EncodingView{shared, request.core, row, end});
  }
  return out;
}

template <typename T>
T option(const nb::dict& options, const char* name) {
  return nb::cast<T>(options[name]);
}

}  // namespace

Rows Request::rows(const Inputs& inputs, const Wanted& what) const {
  if (inputs.bytes() < kShortText) return inputs.encode(*core, what, cut());
  const nb::gil_scoped_release released;
  return inputs.encode(*core, what, cut());
}

Request make_request(const std::shared_ptr<const Core>& core, const nb::dict& options) {
  Request made;
  made.seen = core;
  made.core = option<bool>(options, "split_special_tokens") && !core->splits_special() ? core->splitting_special(true)
                                                                                         : core;
  made.wanted.special_tokens = option<bool>(options, "add_special_tokens");
  made.wanted.offsets = option<bool>(options, "offsets");
  made.wanted.words = false;
  made.wanted.overflow = option<bool>(options, "overflow");
  made.pretokenized = option<bool>(options, "is_pretokenized");
  made.type_ids = option<bool>(options, "type_ids");
  made.attention_mask = option<bool>(options, "attention_mask");
  made.special_tokens_mask = option<bool>(options, "special_tokens_mask");
  made.lengths = option<bool>(options, "lengths");
  if (const nb::object truncation = options["truncation"]; !truncation.is_none()) {
    made.truncation = truncation_of(nb::cast<nb::dict>(truncation));
  }
  if (const nb::object given = options["padding"]; !given.is_none()) {
    const auto spec = nb::cast<nb::dict>(given);
    Padding padding;
    padding.fixed = !spec["length"].is_none();
    if (padding.fixed) padding.length = option<std::size_t>(spec, "length");
    padding.multiple = option<std::size_t>(spec, "multiple");
    padding.direction = side_of(option<std::string>(spec, "side"), "side");
    padding.id = option<Id>(spec, "id");
    padding.type_id = option<std::int32_t>(spec, "type_id");
    padding.token = option<std::string>(spec, "token");
    made.padding = padding;
  }
  return made;
}

void bind_request(nb::module_& m) {
  nb::class_<Request>(m, "Request", "The options of a call, resolved; made by Tokenizer.request.")
      .def("text", &lists_of_text, "text"_a, "pair"_a = nb::none())
      .def("lists", &lists, "inputs"_a)
      .def("encode", &encode, "inputs"_a)
      .def("shape", &shape, "batch"_a)
      .def("fill", &fill, "batch"_a, "columns"_a, "out"_a)
      .def("encodings", &encodings, "inputs"_a);
}

}  // namespace enfold::tok
