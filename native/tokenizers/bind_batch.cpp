#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "binding.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

// A numpy array over one of the batch's buffers; it keeps the batch alive.
template <typename T>
nb::object view(const std::shared_ptr<const Rows>& rows, const T* data, std::initializer_list<std::size_t> shape) {
  auto* keep = new std::shared_ptr<const Rows>(rows);
  const nb::capsule owner(keep, [](void* p) noexcept { delete static_cast<std::shared_ptr<const Rows>*>(p); });
  static T nothing{};
  return nb::cast(nb::ndarray<nb::numpy, T>(const_cast<T*>(data ? data : &nothing), shape, owner));
}

template <typename T>
nb::object view(const std::shared_ptr<const Rows>& rows, const Buffer<T>& values) {
  return view(rows, values.data(), {values.size()});
}

template <typename Get>
nb::object nested(const Rows& rows, Get get) {
  nb::object out = nb::steal(PyList_New(static_cast<Py_ssize_t>(rows.size())));
  if (!out.is_valid()) throw nb::python_error();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(r), get(rows.begin(r), rows.length(r)).release().ptr());
  }
  return out;
}

template <typename T>
nb::object nested_of(const Rows& rows, const Buffer<T>& values) {
  return nested(rows, [&](std::size_t begin, std::size_t n) { return int_list(values.data() + begin, n); });
}

void need_kept(const Rows& rows, bool kept, const char* what) {
  if (!kept && !rows.ids.empty()) throw Error(std::string("this batch was encoded without ") + what);
}

nb::object padded(const EncodedBatch& batch, std::size_t length, const std::string& side, Id pad_id,
                  std::int32_t pad_type_id, const std::vector<std::string>& keys) {
  const Rows& rows = *batch.rows;
  const bool left = side_of(side, "side") == Side::left;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (rows.length(r) > length) {
      throw Error("row " + std::to_string(r) + " has " + std::to_string(rows.length(r)) +
                  " tokens and can't be padded to " + std::to_string(length) + "; truncate it or pad to more");
    }
  }
  nb::dict out;
  for (const std::string& key : keys) {
    const std::size_t cells = rows.size() * length;
    std::unique_ptr<std::int64_t[]> matrix(new std::int64_t[cells ? cells : 1]);
    const auto fill = [&](auto get, std::int64_t filler) {
      std::int64_t* at = matrix.get();
      for (std::size_t r = 0; r < rows.size(); ++r, at += length) {
        const std::size_t begin = rows.begin(r), n = rows.length(r);
        std::int64_t* row = left ? at + (length - n) : at;
        std::fill(at, row, filler);
        for (std::size_t i = 0; i < n; ++i) row[i] = get(begin + i);
        std::fill(row + n, at + length, filler);
      }
    };
    if (key == "input_ids") fill([&](std::size_t i) { return rows.ids[i]; }, pad_id);
    else if (key == "token_type_ids") fill([&](std::size_t i) { return rows.type_ids[i]; }, pad_type_id);
    else if (key == "attention_mask") fill([&](std::size_t i) { return rows.attends(i); }, 0);
    else if (key == "special_tokens_mask") fill([&](std::size_t i) { return rows.special[i]; }, 1);
    else
      throw Error("unknown key '" + key +
                  "': expected input_ids, token_type_ids, attention_mask or special_tokens_mask");
    std::int64_t* data = matrix.release();
    const nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<std::int64_t*>(p); });
    out[nb::str(key.c_str())] = nb::cast(nb::ndarray<nb::numpy, std::int64_t>(data, {rows.size(), length}, owner));
  }
  return out;
}

EncodingView encoding(const EncodedBatch& batch, std::int64_t index) {
  const auto n = static_cast<std::int64_t>(batch.rows->size());
  if (index < -n || index >= n) throw nb::index_error("row out of range");
  const auto row = static_cast<std::size_t>(index < 0 ? index + n : index);
  std::size_t end = row + 1;
  const auto& samples = batch.rows->samples;
  // Only the first row of an input owns the overflow.
  if (row == 0 || samples[row - 1] != samples[row]) {
    while (end < batch.rows->size() && samples[end] == samples[row]) ++end;
  }
  return {batch.rows, batch.core, row, end};
}

}  // namespace

void bind_batch(nb::module_& m) {
  using B = EncodedBatch;
  nb::class_<B>(m, "EncodedBatch",
                "Encoded inputs as flat arrays; row r is [row_splits[r], row_splits[r + 1]) of each.")
      .def("__len__", [](const B& b) { return b.rows->size(); })
      .def_prop_ro("row_splits", [](const B& b) { return view(b.rows, b.rows->splits); })
      .def_prop_ro("ids", [](const B& b) { return view(b.rows, b.rows->ids); })
      .def_prop_ro("type_ids", [](const B& b) { return view(b.rows, b.rows->type_ids); })
      .def_prop_ro("special_tokens_mask", [](const B& b) { return view(b.rows, b.rows->special); })
      .def_prop_ro("sequence_ids", [](const B& b) { return view(b.rows, b.rows->sequence); })
      .def_prop_ro("overflow_to_sample", [](const B& b) { return view(b.rows, b.rows->samples); })
      .def_prop_ro("offsets",
                   [](const B& b) {
                     need_kept(*b.rows, !b.rows->offsets.empty(), "offsets: pass offsets=True");
                     return view(b.rows, reinterpret_cast<const std::int32_t*>(b.rows->offsets.data()),
                                 {b.rows->offsets.size(), 2});
                   })
      .def_prop_ro("word_ids",
                   [](const B& b) {
                     need_kept(*b.rows, !b.rows->words.empty(), "word ids: pass words=True");
                     return view(b.rows, b.rows->words);
                   })
      .def("encoding", &encoding, "index"_a)
      .def("ids_lists", [](const B& b) { return nested_of(*b.rows, b.rows->ids); })
      .def("type_ids_lists", [](const B& b) { return nested_of(*b.rows, b.rows->type_ids); })
      .def("special_tokens_mask_lists", [](const B& b) { return nested_of(*b.rows, b.rows->special); })
      .def("attention_mask_lists",
           [](const B& b) {
             return nested(*b.rows, [&](std::size_t begin, std::size_t n) {
               std::vector<std::int8_t> ones(n, 1);
               for (std::size_t i = 0; i < n; ++i) ones[i] = b.rows->attends(begin + i);
               return int_list(ones.data(), n);
             });
           })
      .def("padded", &padded, "length"_a, nb::kw_only(), "side"_a = "right", "pad_id"_a = 0, "pad_type_id"_a = 0,
           "keys"_a = std::vector<std::string>{"input_ids", "attention_mask"});
}

}  // namespace enfold::tok
