#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "text_objects.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

struct UpperRun {
  char32_t first, last;
  std::uint32_t step;
  std::int32_t distance;
};
struct UpperSeveral {
  char32_t c, image[3];
};

#include "unicode_upper.inc"

void uppercase(Aligned& text) {
  std::vector<unicode::Change> changes;
  for (std::size_t i = 0; i < text.text.size(); i += unicode::length(static_cast<unsigned char>(text.text[i]))) {
    const char32_t c = unicode::decode(text.text.data() + i);
    const auto* several = std::lower_bound(std::begin(kUpperSeveral), std::end(kUpperSeveral), c,
                                           [](const UpperSeveral& row, char32_t x) { return row.c < x; });
    if (several != std::end(kUpperSeveral) && several->c == c) {
      for (int k = 0; k < 3 && several->image[k]; ++k) changes.push_back({several->image[k], k > 0});
      continue;
    }
    const auto* run = std::lower_bound(std::begin(kUpperRuns), std::end(kUpperRuns), c,
                                       [](const UpperRun& row, char32_t x) { return row.last < x; });
    const bool moves = run != std::end(kUpperRuns) && run->first <= c && (c - run->first) % run->step == 0;
    changes.push_back({moves ? c + static_cast<char32_t>(run->distance) : c, 0});
  }
  text.transform(changes);
}

nb::str character(char32_t c) {
  char bytes[4];
  return nb::str(bytes, unicode::encode(c, bytes));
}

char32_t first_character(nb::handle returned) {
  std::string text;
  if (!nb::try_cast(returned, text) || unicode::count(text) != 1) {
    throw nb::value_error("map takes a function that returns one character for each");
  }
  return unicode::decode(text.data());
}

void append(Aligned& text, std::string_view what) {
  if (what.empty()) return;
  std::vector<unicode::Change> changes;
  std::size_t last = text.text.size();
  if (last) {
    do --last;
    while (unicode::is_continuation(text.text[last]));
    changes.push_back({unicode::decode(text.text.data() + last), 0});
  }
  for (std::size_t i = 0; i < what.size(); i += unicode::length(static_cast<unsigned char>(what[i]))) {
    changes.push_back({unicode::decode(what.data() + i), 1});
  }
  text.transform_range(last, text.text.size(), changes, 0);
}

void map(Aligned& text, nb::handle function) {
  std::vector<unicode::Change> changes;
  for (std::size_t i = 0; i < text.text.size(); i += unicode::length(static_cast<unsigned char>(text.text[i]))) {
    changes.push_back({first_character(function(character(unicode::decode(text.text.data() + i)))), 0});
  }
  text.transform(changes);
}

bool kept(nb::handle function, char32_t c) {
  bool keep = false;
  if (!nb::try_cast(function(character(c)), keep, false)) {
    throw nb::type_error("filter takes a function that returns a bool for each character");
  }
  return keep;
}

// The characters that an index, a pair or a slice stands for, as bytes of the text; false if there are none.
bool byte_range(nb::handle range, std::string_view text, std::size_t& begin, std::size_t& end) {
  const auto n = static_cast<Py_ssize_t>(unicode::count(text));
  Py_ssize_t from = 0, to = 0;
  std::pair<std::size_t, std::size_t> pair;
  if (PyLong_Check(range.ptr())) {
    from = PyLong_AsSsize_t(range.ptr());
    if (from == -1 && PyErr_Occurred()) throw nb::python_error();
    if (from < 0) from += n;
    if (from < 0) throw nb::value_error("the index lies before the start of the text");
    to = from + 1;
    if (from >= n) return false;
  } else if (PySlice_Check(range.ptr())) {
    Py_ssize_t step = 1;
    if (PySlice_Unpack(range.ptr(), &from, &to, &step) < 0) throw nb::python_error();
    if (step < 0) return false;
    PySlice_AdjustIndices(n, &from, &to, 1);
  } else if (nb::try_cast(range, pair)) {
    from = static_cast<Py_ssize_t>(std::min<std::size_t>(pair.first, static_cast<std::size_t>(n) + 1));
    to = static_cast<Py_ssize_t>(std::min<std::size_t>(pair.second, static_cast<std::size_t>(n)));
  } else {
    throw nb::type_error("a range should be an int, a tuple of two ints or a slice");
  }
  if (from > to || (from >= n && n > 0)) return false;
  const auto byte_of = [&](Py_ssize_t c) {
    std::size_t i = 0;
    for (; c > 0; --c) i += unicode::length(static_cast<unsigned char>(text[i]));
    return i;
  };
  begin = byte_of(from);
  end = byte_of(to);
  return true;
}

std::shared_ptr<NormalizedText> slice(NormalizedText& self, nb::handle range) {
  std::size_t begin = 0, end = 0;
  if (!byte_range(range, self.text().text, begin, end)) return nullptr;
  return self.part(self.text().slice(begin, end));
}

std::vector<std::shared_ptr<NormalizedText>> split(NormalizedText& self, nb::handle pattern, nb::handle behavior) {
  std::vector<Aligned> pieces;
  const Aligned& text = self.text();
  text.split(cuts_of(pattern, text.text), behavior_of(behavior), pieces, true);
  std::vector<std::shared_ptr<NormalizedText>> out;
  for (Aligned& piece : pieces) out.push_back(self.part(std::move(piece)));
  return out;
}

void bind_normalized(nb::module_& m) {
  using N = NormalizedText;
  const auto form = [](unicode::Form form) {
    return [form](N& self) { self.text().transform(unicode::normalize(self.text().text, form)); };
  };
  nb::class_<N>(m, "NormalizedString",
                "A text under normalisation: what it was, what it is, and which characters stand for which.")
      .def(nb::init<std::string_view>(), "sequence"_a)
      .def_prop_ro("normalized", [](const N& self) { return self.text().text; })
      .def_prop_ro("original", &N::original)
      .def("nfc", form(unicode::Form::nfc))
      .def("nfd", form(unicode::Form::nfd))
      .def("nfkc", form(unicode::Form::nfkc))
      .def("nfkd", form(unicode::Form::nfkd))
      .def("lowercase", [](N& self) { self.text().lowercase(); })
      .def("uppercase", [](N& self) { uppercase(self.text()); })
      .def(
          "prepend", [](N& self, std::string_view s) { self.text().prepend(s); }, "s"_a)
      .def(
          "append", [](N& self, std::string_view s) { append(self.text(), s); }, "s"_a)
      .def("lstrip", [](N& self) { self.text().strip(true, false); })
      .def("rstrip", [](N& self) { self.text().strip(false, true); })
      .def("strip", [](N& self) { self.text().strip(true, true); })
      .def("clear",
           [](N& self) {
             self.text().text.clear();
             self.text().origin.clear();
           })
      .def("slice", &slice, "range"_a)
      .def("__getitem__", &slice, "range"_a)
      .def(
          "filter",
          [](N& self, nb::handle function) {
            Aligned made = self.text();
            made.filter([&](char32_t c) { return kept(function, c); });
            self.text() = std::move(made);
          },
          "func"_a)
      .def(
          "for_each",
          [](N& self, nb::handle function) {
            const std::string text = self.text().text;
            for (std::size_t i = 0; i < text.size(); i += unicode::length(static_cast<unsigned char>(text[i]))) {
              function(character(unicode::decode(text.data() + i)));
            }
          },
          "func"_a)
      .def(
          "map",
          [](N& self, nb::handle function) {
            Aligned made = self.text();
            map(made, function);
            self.text() = std::move(made);
          },
          "func"_a)
      .def("split", &split, "pattern"_a, "behavior"_a)
      .def(
          "replace",
          [](N& self, nb::handle pattern, std::string_view content) {
            self.text().replace(cuts_of(pattern, self.text().text), content);
          },
          "pattern"_a, "content"_a)
      .def("__str__", [](const N& self) { return self.text().text; })
      .def("__repr__", [](const N& self) {
        return "NormalizedString(original=\"" + std::string(self.original()) + "\", normalized=\"" + self.text().text +
               "\")";
      });
}

bool is_named(nb::handle value, const char* what, const char* yes, const char* no) {
  const auto name = nb::cast<std::string>(nb::getattr(value, "value", value));
  if (name == yes) return true;
  if (name == no) return false;
  throw nb::value_error((std::string(what) + " should be '" + yes + "' or '" + no + "', got '" + name + "'").c_str());
}

}  // namespace

std::shared_ptr<NormalizedText> NormalizedText::part(Aligned piece) {
  if (!input_) input_ = std::make_shared<const std::string>(text().input);
  return std::make_shared<NormalizedText>(input_, std::move(piece));
}

std::vector<Cut> cuts_of(nb::handle pattern, std::string_view text) {
  if (text.empty()) return {{0, 0, false}};
  if (RegexObject* regex = nullptr; nb::try_cast(pattern, regex) && regex) return regex->pattern.find(text);
  std::string literal;
  if (!nb::try_cast(pattern, literal)) throw nb::type_error("a pattern should be a str or a Regex");
  if (literal.empty()) return {{0, static_cast<std::uint32_t>(text.size()), false}};
  return Pattern::text(std::move(literal)).find(text);
}

Behavior behavior_of(nb::handle given) {
  const auto name = nb::cast<std::string>(nb::getattr(given, "value", given));
  const std::pair<const char*, Behavior> names[] = {{"removed", Behavior::removed},
                                                    {"isolated", Behavior::isolated},
                                                    {"merged_with_previous", Behavior::merged_with_previous},
                                                    {"merged_with_next", Behavior::merged_with_next},
                                                    {"contiguous", Behavior::contiguous}};
  for (const auto& [known, behavior] : names) {
    if (name == known) return behavior;
  }
  throw nb::value_error(("behavior should be removed, isolated, merged_with_previous, merged_with_next or contiguous, "
                         "got '" +
                         name + "'")
                            .c_str());
}

// What a function of `split` returns: a list, or the text itself if it stays whole.
std::vector<std::shared_ptr<NormalizedText>> parts_of(nb::handle returned) {
  std::shared_ptr<NormalizedText> whole;
  if (nb::try_cast(returned, whole) && whole) return {whole};
  std::vector<std::shared_ptr<NormalizedText>> parts;
  const bool list = PyList_Check(returned.ptr()) || PyTuple_Check(returned.ptr());
  if (!list || !nb::try_cast(returned, parts) || std::find(parts.begin(), parts.end(), nullptr) != parts.end()) {
    throw nb::type_error("split takes a function that returns a list of NormalizedString");
  }
  return parts;
}

// Works on a copy: Python code may do anything to this object meanwhile, and if it fails, nothing has changed.
template <typename F>
void SplitText::change(F&& function) {
  std::vector<Split> made = splits();
  function(made);
  splits() = std::move(made);
}

void SplitText::split(nb::handle function) {
  change([&](std::vector<Split>& before) {
    std::vector<Split> made;
    if (!shared_) shared_ = std::make_shared<const std::string>(input_);
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i].tokens) {
        made.push_back(std::move(before[i]));
        continue;
      }
      const nb::object returned = function(i, std::make_shared<NormalizedText>(shared_, std::move(before[i].text)));
      for (const auto& part : parts_of(returned)) {
        if (part->text().text.empty()) continue;
        made.push_back({part->text(), {}});
        made.back().text.input = input_;
      }
    }
    before = std::move(made);
  });
}

void SplitText::normalize(nb::handle function) {
  change([&](std::vector<Split>& made) {
    for (Split& split : made) {
      if (split.tokens) continue;
      const auto lent = std::make_shared<NormalizedText>(&split.text);
      const Lending lending(*lent);
      function(lent);
    }
  });
}

void SplitText::tokenize(nb::handle function) {
  change([&](std::vector<Split>& made) {
    for (Split& split : made) {
      if (split.tokens) continue;
      std::vector<Token> tokens;
      const nb::object returned = function(split.text.text);
      for (const nb::handle token : nb::iter(returned)) tokens.push_back(token_of(token));
      split.tokens = std::move(tokens);
    }
  });
}

Token token_of(nb::handle object) {
  Token* token = nullptr;
  if (!nb::try_cast(object, token) || !token) throw nb::type_error("tokens should be Token objects");
  return *token;
}

EncodingView SplitText::encoding(std::int32_t type_id, std::optional<std::int32_t> word) const {
  Rows rows;
  std::vector<std::uint32_t> characters;
  index_characters(input_, characters);
  std::int32_t index = 0;
  for (const Split& split : splits()) {
    if (!split.tokens) throw Error("a part of the text has no tokens yet; call tokenize first");
    for (const Token& token : *split.tokens) {
      const auto [begin, end] = token.offsets;
      Span span{static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
      split.text.source(begin, end, span);
      rows.texts.push_back({rows.ids.size(), token.value});
      rows.ids.push_back(static_cast<Id>(token.id));
      rows.type_ids.push_back(type_id);
      rows.offsets.push_back(in_characters(span, characters));
      rows.words.push_back(word.value_or(index));
      rows.special.push_back(0);
      rows.sequence.push_back(0);
    }
    ++index;
  }
  rows.splits.push_back(static_cast<std::int64_t>(rows.ids.size()));
  rows.samples.push_back(0);
  rows.inputs.push_back(1);
  return {std::make_shared<const Rows>(std::move(rows)), nullptr, 0, 1};
}

nb::list SplitText::listed(bool normalized, bool characters) const {
  std::vector<std::uint32_t> index;
  if (characters) index_characters(input_, index);
  nb::list out;
  std::uint32_t at = 0;
  for (const Split& split : splits()) {
    const auto size = static_cast<std::uint32_t>(split.text.text.size());
    Span span = normalized ? Span{at, at + size} : split.text.covers;
    at += size;
    if (characters) span = in_characters(span, index);
    out.append(nb::make_tuple(split.text.text, nb::make_tuple(span.begin, span.end), split.tokens));
  }
  return out;
}

void bind_text(nb::module_& m) {
  nb::class_<Token>(m, "Token", "A token of one word: id, text, and the bytes of the word that it stands for.")
      .def(
          "__init__",
          [](Token* self, std::int64_t id, std::string value, std::pair<std::size_t, std::size_t> offsets) {
            if (id < 0 || id > 0x7FFFFFFF) {
              PyErr_SetString(PyExc_OverflowError, "a token id should lie between 0 and 2^31 - 1");
              throw nb::python_error();
            }
            new (self) Token{id, std::move(value), offsets};
          },
          "id"_a, "value"_a, "offsets"_a)
      .def_ro("id", &Token::id)
      .def_ro("value", &Token::value)
      .def_ro("offsets", &Token::offsets)
      .def("as_tuple", [](const Token& t) { return nb::make_tuple(t.id, t.value, t.offsets); });
  nb::class_<RegexObject>(m, "Regex", "A regular expression, where a str would be looked for as it stands.")
      .def(
          "__init__",
          [](RegexObject* self, std::string pattern) {
            Pattern compiled = Pattern::regex(pattern);
            new (self) RegexObject{std::move(pattern), std::move(compiled)};
          },
          "pattern"_a)
      .def_ro("pattern", &RegexObject::source)
      .def("__repr__", [](const RegexObject& r) { return "Regex(\"" + r.source + "\")"; })
      .def("__getstate__", [](const RegexObject& r) { return r.source; })
      .def("__setstate__", [](RegexObject& r, std::string source) {
        Pattern compiled = Pattern::regex(source);
        new (&r) RegexObject{std::move(source), std::move(compiled)};
      });
  bind_normalized(m);
  using S = SplitText;
  nb::class_<S>(m, "PreTokenizedString", "A text that is being cut into pieces, which then get their tokens.")
      .def(nb::init<std::string_view>(), "sequence"_a)
      .def("split", &S::split, "func"_a)
      .def("normalize", &S::normalize, "func"_a)
      .def("tokenize", &S::tokenize, "func"_a)
      .def("to_encoding", &S::encoding, "type_id"_a = 0, "word_idx"_a = nb::none())
      .def(
          "get_splits",
          [](const S& self, nb::handle referential, nb::handle type) {
            return self.listed(!is_named(referential, "offset_referential", "original", "normalized"),
                               is_named(type, "offset_type", "char", "byte"));
          },
          "offset_referential"_a = "original", "offset_type"_a = "char");
}

}  // namespace enfold::tok
