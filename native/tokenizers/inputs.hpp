#pragma once

#include <vector>

#include "binding.hpp"

namespace enfold::tok {

// Whether TOKENIZERS_PARALLELISM allows more threads than one.
bool threads_allowed();

// The inputs of one call, read from Python objects; holds references, so that the texts outlive the call even if the
// caller's list is changed by another thread meanwhile.
class Inputs {
 public:
  // Adds one input: a str or a pair of them; with `words`, a list of str or a pair of lists.
  void add(nb::handle input, bool words);
  void add(nb::handle first, nb::handle second, bool words);
  void add_single(nb::handle input, bool words);
  // Adds every item of a list or another iterable.
  void add_all(nb::handle inputs, bool words);

  std::size_t size() const { return items_.size(); }
  std::size_t bytes() const { return bytes_; }

  // The rows of all inputs; call without the GIL. Threads are spawned for large batches only.
  Rows encode(const Core& core, const Wanted& wanted, const Truncation* truncation) const;

 private:
  struct Part {
    std::size_t first = 0, count = 0;  // texts; one that is no list of words has count 1
    bool words = false;
  };
  struct Item {
    Part parts[2];
    bool pair = false;
    std::size_t bytes = 0;
  };
  Part part(nb::handle text, bool words, std::size_t& bytes);
  std::size_t text(nb::handle object);
  void encode_range(const Core& core, const Wanted& wanted, const Truncation* truncation, std::size_t begin,
                    std::size_t end, Rows& out) const;

  std::vector<TextRef> texts_;
  std::vector<nb::object> held_;
  std::vector<Item> items_;
  std::size_t bytes_ = 0;  // of all texts, as they lie in the strs
};

}  // namespace enfold::tok
