#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "vocabulary.hpp"

namespace enfold::tok {

namespace nb = nanobind;

// An id; kNoId for one that no tokenizer can have. Throws ValueError for a number that is no id.
Id checked_id(std::int64_t id);

// Ids from Python, row by row.
class IdRows {
 public:
  // Appends the ids of a list, a tuple, an array of one dimension or anything iterable. Throws TypeError for what is no
  // id.
  static void read(nb::handle row, std::vector<Id>& out);
  // Calls use(ids) for each row of a list, an array of two dimensions or anything iterable.
  template <typename Use>
  static void each(nb::handle rows, Use&& use) {
    std::vector<Id> ids;
    const Array array(rows);
    for (std::size_t r = 0; array.dimensions() == 2 && r < array.length(0); ++r) {
      ids.clear();
      array.row(r, ids);
      use(ids);
    }
    if (array.dimensions() == 2) return;
    for (const nb::handle row : nb::iter(rows)) {
      ids.clear();
      read(row, ids);
      use(ids);
    }
  }

 private:
  // An array of integers in another library's memory; of no dimensions for what is none.
  class Array {
   public:
    explicit Array(nb::handle object);
    ~Array();
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    int dimensions() const { return held_ ? buffer_.ndim : 0; }
    std::size_t length(int dimension) const { return static_cast<std::size_t>(buffer_.shape[dimension]); }
    // Appends a row, the only one if there is one dimension.
    void row(std::size_t index, std::vector<Id>& out) const;

   private:
    Py_buffer buffer_{};
    bool held_ = false;
  };
};

}  // namespace enfold::tok
