#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "binding.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

std::string repr(const PyAddedToken& t) {
  const AddedToken token = t.resolved();
  const auto flag = [](bool b) { return b ? "True" : "False"; };
  return "AddedToken(\"" + token.content + "\", rstrip=" + flag(token.rstrip) + ", lstrip=" + flag(token.lstrip) +
         ", single_word=" + flag(token.single_word) + ", normalized=" + flag(token.normalized) +
         ", special=" + flag(token.special) + ")";
}

}  // namespace

PyAddedToken added_token_of(nb::handle token) {
  PyAddedToken made;
  if (PyUnicode_Check(token.ptr())) {
    std::string text;
    made.token.content = TextRef::of(token.ptr()).utf8(text);
  } else if (!nb::try_cast(token, made)) {
    throw nb::type_error("an added token should be a str or an AddedToken");
  }
  return made;
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

}  // namespace enfold::tok
