#include "ids.hpp"

#include <cstring>
#include <string>
#include <string_view>

namespace enfold::tok {

namespace {

Id id_of(PyObject* object) {
  int overflow = 0;
  std::int64_t id = 0;
  if (PyLong_Check(object)) {
    id = PyLong_AsLongLongAndOverflow(object, &overflow);
  } else {
    if (!PyIndex_Check(object)) {
      throw nb::type_error((std::string("a token id should be an int, got ") + Py_TYPE(object)->tp_name).c_str());
    }
    const nb::object number = nb::steal(PyNumber_Index(object));
    if (!number.is_valid()) throw nb::python_error();
    id = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  }
  return checked_id(overflow ? -1 : id);
}

}  // namespace

Id checked_id(std::int64_t id) {
  if (id < 0 || id > 0xFFFFFFFFll) {
    throw nb::value_error(("a token id should lie between 0 and 2^32 - 1, got " + std::to_string(id)).c_str());
  }
  return id > 0x7FFFFFFF ? kNoId : static_cast<Id>(id);
}

IdRows::Array::Array(nb::handle object) {
  if (PyList_Check(object.ptr()) || PyTuple_Check(object.ptr()) || !PyObject_CheckBuffer(object.ptr())) return;
  if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_STRIDED_RO | PyBUF_FORMAT) < 0) {
    PyErr_Clear();
    return;
  }
  const std::string_view format = buffer_.format ? buffer_.format : "B";
  held_ = (format == "i" || format == "l" || format == "q") && (buffer_.itemsize == 4 || buffer_.itemsize == 8);
  if (!held_) PyBuffer_Release(&buffer_);
}

IdRows::Array::~Array() {
  if (held_) PyBuffer_Release(&buffer_);
}

void IdRows::Array::row(std::size_t index, std::vector<Id>& out) const {
  const int inner = buffer_.ndim - 1;
  const char* at = static_cast<const char*>(buffer_.buf);
  if (inner) at += static_cast<Py_ssize_t>(index) * buffer_.strides[0];
  for (std::size_t i = 0; i < length(inner); ++i, at += buffer_.strides[inner]) {
    std::int64_t id = 0;
    std::int32_t narrow = 0;
    if (buffer_.itemsize == 8) std::memcpy(&id, at, 8);
    else std::memcpy(&narrow, at, 4), id = narrow;
    out.push_back(checked_id(id));
  }
}

void IdRows::read(nb::handle row, std::vector<Id>& out) {
  PyObject* const object = row.ptr();
  if (PyList_CheckExact(object) || PyTuple_CheckExact(object)) {
    out.reserve(out.size() + static_cast<std::size_t>(PySequence_Fast_GET_SIZE(object)));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i) {
      // Another object's __index__ may change the list.
      out.push_back(id_of(nb::borrow(PySequence_Fast_GET_ITEM(object, i)).ptr()));
    }
    return;
  }
  if (const Array array(row); array.dimensions() == 1) return array.row(0, out);
  if (PyUnicode_Check(object) || PyBytes_Check(object)) {
    throw nb::type_error((std::string("ids should be a list of ints, got ") + Py_TYPE(object)->tp_name).c_str());
  }
  for (const nb::handle id : nb::iter(row)) out.push_back(id_of(id.ptr()));
}

}  // namespace enfold::tok
