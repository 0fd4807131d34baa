#pragma once

#include "binding.hpp"
#include "components.hpp"

namespace enfold::tok {

// Components that are Python code: objects with a method `normalize`, `pre_tokenize` or `decode_chain`. They take the
// GIL for each call, so encodings may run in many threads, but not the Python code itself.
std::shared_ptr<const Normalizer> custom_normalizer(nb::object object);
std::shared_ptr<const PreTokenizer> custom_pre_tokenizer(nb::object object);
std::shared_ptr<const Decoder> custom_decoder(nb::object object);

// For Python's garbage collector: visits the objects that are held by this component alone, if nothing else in C++ holds
// the component.
template <typename T>
int visit_code(const std::shared_ptr<const T>& component, visitproc visit, void* arg);
// The same for a place. One that Python made is visited itself.
template <typename T>
int visit_slot(const std::shared_ptr<Slot<T>>& slot, visitproc visit, void* arg);

// The object behind a custom component, None for any other.
template <typename T>
nb::object custom_object(const T& component);

}  // namespace enfold::tok
