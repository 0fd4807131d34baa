#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "binding.hpp"
#include "byte_offsets.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

template <typename F>
nb::object make_list(std::size_t n, F&& item) {
  nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(n)));
  if (!list.is_valid()) throw nb::python_error();
  for (std::size_t i = 0; i < n; ++i) {
    nb::object value = item(i);
    if (!value.is_valid()) throw nb::python_error();
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), value.release().ptr());
  }
  return list;
}

nb::object integer(long long value) { return nb::steal(PyLong_FromLongLong(value)); }
nb::object integer_or_none(long long value) { return value < 0 ? nb::none() : integer(value); }

nb::object offset_tuple(Span span) {
  nb::object first = integer(span.begin), second = integer(span.end);
  return nb::steal(PyTuple_Pack(2, first.ptr(), second.ptr()));
}

template <typename T>
nb::object int_slice(const Buffer<T>& values, const EncodingView& e) {
  return int_list(values.data() + e.begin(), e.size());
}

using Range = std::pair<std::size_t, std::size_t>;

// Where a sequence lies in the row: all of it, if the input had no such sequence.
Range sequence_range(const EncodingView& e, std::size_t sequence) {
  if (sequence >= static_cast<std::size_t>(e.rows->inputs[e.row])) return {0, e.size()};
  const auto* at = e.rows->sequence.data() + e.begin();
  std::size_t first = e.size(), last = 0;
  for (std::size_t i = 0; i < e.size(); ++i) {
    if (at[i] >= 0 && static_cast<std::size_t>(at[i]) == sequence) first = std::min(first, i), last = i + 1;
  }
  return first < last ? Range{first, last} : Range{0, 0};
}

void need(bool kept, const char* what) {
  if (!kept) throw Error(std::string("this batch was encoded without ") + what);
}

std::optional<std::size_t> char_to_token(const EncodingView& e, std::size_t position, std::size_t sequence) {
  need(!e.rows->offsets.empty() || !e.size(), "offsets");
  const auto [first, last] = sequence_range(e, sequence);
  const Span* offsets = e.rows->offsets.data() + e.begin();
  for (std::size_t i = first; i < last; ++i) {
    if (position >= offsets[i].begin && position < offsets[i].end) return i;
  }
  return std::nullopt;
}

std::optional<std::size_t> token_to_sequence(const EncodingView& e, std::size_t token) {
  if (token >= e.size()) return std::nullopt;
  const int sequence = e.rows->sequence[e.begin() + token];
  if (sequence < 0) return std::nullopt;
  return static_cast<std::size_t>(sequence);
}

std::optional<Range> token_to_chars(const EncodingView& e, std::size_t token) {
  if (!token_to_sequence(e, token)) return std::nullopt;
  need(!e.rows->offsets.empty(), "offsets");
  const Span span = e.rows->offsets[e.begin() + token];
  return Range{span.begin, span.end};
}

std::optional<std::size_t> token_to_word(const EncodingView& e, std::size_t token) {
  if (!token_to_sequence(e, token)) return std::nullopt;
  need(!e.rows->words.empty(), "word ids");
  const std::int32_t word = e.rows->words[e.begin() + token];
  if (word < 0) return std::nullopt;
  return static_cast<std::size_t>(word);
}

std::optional<Range> word_to_tokens(const EncodingView& e, std::size_t word, std::size_t sequence) {
  need(!e.rows->words.empty() || !e.size(), "word ids");
  const auto [first, last] = sequence_range(e, sequence);
  const std::int32_t* words = e.rows->words.data() + e.begin();
  std::size_t begin = last, end = first;
  for (std::size_t i = first; i < last && (words[i] < 0 || static_cast<std::size_t>(words[i]) <= word); ++i) {
    if (words[i] >= 0 && static_cast<std::size_t>(words[i]) == word) begin = std::min(begin, i), end = i + 1;
  }
  if (begin >= end) return std::nullopt;
  return Range{begin, end};
}

std::optional<Range> word_to_chars(const EncodingView& e, std::size_t word, std::size_t sequence) {
  const auto tokens = word_to_tokens(e, word, sequence);
  if (!tokens) return std::nullopt;
  need(!e.rows->offsets.empty(), "offsets");
  const Span* offsets = e.rows->offsets.data() + e.begin();
  return Range{offsets[tokens->first].begin, offsets[tokens->second - 1].end};
}

void pad_encoding(EncodingView& e, std::size_t length, const std::string& direction, Id id, std::int32_t type_id,
                  const std::string& token) {
  Padding padding;
  padding.direction = side_of(direction, "direction");
  padding.id = id;
  padding.type_id = type_id;
  padding.token = token;
  assign(e, pad(own_rows(e), length, padding, e.core && e.core->plain_token(id) == token));
}

// Two rows as one; growing offsets go on where the first row's end.
Rows joined(const Rows& a, const Rows& b, bool growing_offsets) {
  Rows made = a;
  const std::size_t base = made.ids.size();
  const std::uint32_t shift = growing_offsets && !a.offsets.empty() ? a.offsets[a.offsets.size() - 1].end : 0;
  Rows rest = b;
  for (Span& span : rest.offsets) span = {span.begin + shift, span.end + shift};
  made.append(rest);
  made.splits.clear();
  made.splits.push_back(0);
  made.splits.push_back(static_cast<std::int64_t>(base + b.ids.size()));
  made.samples.resize_down(1);
  made.inputs.resize_down(1);
  made.inputs[0] = std::max(a.inputs[0], b.inputs[0]);
  return made;
}

// A row whose tokens all have texts of their own.
Rows with_texts(const EncodingView& e, std::size_t row) {
  Rows made = e.rows->row(row);
  std::vector<OwnText> texts;
  for (std::size_t i = 0; i < made.ids.size(); ++i) {
    const std::string* own = made.own_text(i);
    texts.push_back({i, own ? *own : std::string(e.core ? e.core->plain_token(made.ids[i]) : std::string_view())});
  }
  made.texts = std::move(texts);
  return made;
}

nb::object words_list(const EncodingView& e) {
  need(!e.rows->words.empty() || !e.size(), "word ids");
  return make_list(e.size(), [&](std::size_t i) { return integer_or_none(e.rows->words[e.begin() + i]); });
}

template <typename T>
nb::bytes bytes_of(const Buffer<T>& values) {
  return nb::bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <typename T>
void read_bytes(nb::handle bytes, Buffer<T>& values) {
  const auto source = nb::cast<nb::bytes>(bytes);
  if (source.size() % sizeof(T)) throw Error("the state of an encoding is torn");
  values.append(reinterpret_cast<const T*>(source.c_str()), source.size() / sizeof(T));
}

nb::tuple state_of(const EncodingView& e) {
  Rows rows;
  for (std::size_t r = e.row; r < e.end; ++r) rows.append(with_texts(e, r));
  nb::list texts;
  for (const OwnText& t : rows.texts) texts.append(nb::str(t.text.data(), t.text.size()));
  return nb::make_tuple(bytes_of(rows.splits), bytes_of(rows.ids), bytes_of(rows.type_ids), bytes_of(rows.offsets),
                        bytes_of(rows.words), bytes_of(rows.special), bytes_of(rows.sequence), bytes_of(rows.attention),
                        bytes_of(rows.inputs), texts);
}

void restore(EncodingView& e, const nb::tuple& state) {
  if (state.size() != 10) throw Error("the state of an encoding should have 10 parts");
  Rows rows;
  rows.splits.clear();
  read_bytes(state[0], rows.splits);
  read_bytes(state[1], rows.ids);
  read_bytes(state[2], rows.type_ids);
  read_bytes(state[3], rows.offsets);
  read_bytes(state[4], rows.words);
  read_bytes(state[5], rows.special);
  read_bytes(state[6], rows.sequence);
  read_bytes(state[7], rows.attention);
  read_bytes(state[8], rows.inputs);
  const auto texts = nb::cast<std::vector<std::string>>(state[9]);
  const std::size_t n = rows.ids.size();
  const auto fits = [n](std::size_t size, bool optional) { return size == n || (optional && size == 0); };
  bool whole = rows.splits.size() > 1 && rows.splits[0] == 0 && rows.splits.back() == static_cast<std::int64_t>(n) &&
               std::is_sorted(rows.splits.begin(), rows.splits.end()) && rows.inputs.size() == rows.size() &&
               fits(rows.type_ids.size(), false) && fits(rows.special.size(), false) &&
               fits(rows.sequence.size(), false) && fits(texts.size(), false) && fits(rows.offsets.size(), true) &&
               fits(rows.words.size(), true) && fits(rows.attention.size(), true);
  if (!whole) throw Error("the parts of the state of an encoding don't fit together");
  for (std::size_t i = 0; i < n; ++i) rows.texts.push_back({i, texts[i]});
  rows.samples.fill(rows.size(), 0);
  new (&e) EncodingView{};
  assign(e, std::move(rows));
}

// A text, or a list of words, as Python gives it; `buffer` keeps what had to be transcoded.
SequenceInput input_of(nb::handle given, std::vector<std::string>& buffer, std::vector<std::string_view>& words) {
  const auto text = [&](nb::handle item) -> std::string {
    if (!PyUnicode_Check(item.ptr()))
      throw nb::type_error("byte_offsets takes the str, or list of str, that was encoded");
    std::string made;
    return std::string(TextRef::of(item.ptr()).utf8(made));
  };
  if (PyUnicode_Check(given.ptr())) {
    buffer.push_back(text(given));
    return {buffer[0], nullptr};
  }
  for (const nb::handle item : nb::iter(given)) buffer.push_back(text(item));
  words.assign(buffer.begin(), buffer.end());
  return {{}, &words};
}

nb::list byte_offsets(const EncodingView& e, nb::handle sequence, nb::handle pair) {
  need(!e.rows->offsets.empty() || !e.size(), "offsets");
  std::vector<std::string> buffers[2];
  std::vector<std::string_view> words[2];
  std::vector<ByteOffsets> converters;
  converters.emplace_back(input_of(sequence, buffers[0], words[0]));
  if (!pair.is_none()) converters.emplace_back(input_of(pair, buffers[1], words[1]));
  nb::list out;
  for (std::size_t i = e.begin(); i < e.begin() + e.size(); ++i) {
    const int which = e.rows->sequence[i];
    Span span = e.rows->offsets[i];
    if (which >= static_cast<int>(converters.size()))
      throw Error("the encoding is of a pair; give the second text too");
    if (which >= 0)
      span = converters[static_cast<std::size_t>(which)](span, e.rows->words.empty() ? -1 : e.rows->words[i]);
    out.append(offset_tuple(span));
  }
  return out;
}

}  // namespace

Rows own_rows(const EncodingView& e) {
  Rows made;
  for (std::size_t r = e.row; r < e.end; ++r) made.append(e.rows->row(r));
  return made;
}

void assign(EncodingView& e, Rows rows) {
  e.rows = std::make_shared<const Rows>(std::move(rows));
  e.row = 0;
  e.end = e.rows->size();
}

void truncate(EncodingView& e, std::size_t max_length, std::size_t stride, Side direction) {
  if (max_length >= e.size()) return;
  Rows made;
  const std::size_t begin = e.begin();
  for (const auto& [from, to] : windows(e.size(), max_length, stride, direction)) {
    made.append(e.rows->slice(begin + from, begin + to, e.row));
  }
  for (std::size_t r = e.row + 1; r < e.end; ++r) made.append(e.rows->row(r));
  for (std::int32_t& sample : made.samples) sample = 0;
  assign(e, std::move(made));
}

EncodingView merge(const std::vector<EncodingView>& encodings, bool growing_offsets) {
  EncodingView out;
  // Ids of different vocabularies: the tokens take their texts along.
  const bool mixed = std::any_of(encodings.begin(), encodings.end(),
                                 [&](const EncodingView& e) { return e.core != encodings[0].core; });
  std::vector<Rows> rows;  // the merged row, then its overflow
  for (const EncodingView& e : encodings) {
    if (!out.core) out.core = e.core;
    std::vector<Rows> mine;
    for (std::size_t r = e.row; r < e.end; ++r) mine.push_back(mixed ? with_texts(e, r) : e.rows->row(r));
    if (rows.empty()) {
      rows = std::move(mine);
      continue;
    }
    std::vector<Rows> next{joined(rows[0], mine[0], growing_offsets)};
    for (std::size_t i = 1; i < rows.size(); ++i) {
      for (const Rows& other : mine) next.push_back(joined(rows[i], other, growing_offsets));
    }
    for (std::size_t j = 1; j < mine.size(); ++j) next.push_back(joined(rows[0], mine[j], growing_offsets));
    rows = std::move(next);
  }
  Rows all;
  for (const Rows& r : rows) all.append(r);
  if (rows.empty()) {
    all.splits.push_back(0);
    all.samples.push_back(0);
    all.inputs.push_back(1);
  }
  for (std::int32_t& sample : all.samples) sample = 0;
  assign(out, std::move(all));
  return out;
}

nb::object token_text(const Core* core, const Rows& rows, std::size_t at) {
  const std::string* own = rows.own_text(at);
  const std::string_view text = own    ? std::string_view(*own)
                                : core ? core->plain_token(rows.ids[at])
                                       : std::string_view("");
  return nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
}

Side side_of(std::string_view name, const char* what) {
  if (name == "left") return Side::left;
  if (name == "right") return Side::right;
  throw Error(std::string(what) + " should be 'left' or 'right', got '" + std::string(name) + "'");
}

void bind_encoding(nb::module_& m) {
  using E = EncodingView;
  nb::class_<E>(m, "Encoding", "The tokens of one input, with what each of them stands for.")
      .def("__init__", [](E* self) { new (self) E(merge({}, false)); })
      .def("__len__", &E::size)
      .def("__repr__",
           [](const E& e) {
             return "Encoding(num_tokens=" + std::to_string(e.size()) +
                    ", attributes=[ids, type_ids, tokens, offsets, attention_mask, special_tokens_mask, overflowing])";
           })
      .def_prop_ro("ids", [](const E& e) { return int_slice(e.rows->ids, e); })
      .def_prop_ro("type_ids", [](const E& e) { return int_slice(e.rows->type_ids, e); })
      .def_prop_ro("special_tokens_mask", [](const E& e) { return int_slice(e.rows->special, e); })
      .def_prop_ro("attention_mask",
                   [](const E& e) {
                     return make_list(e.size(), [&](std::size_t i) { return integer(e.rows->attends(e.begin() + i)); });
                   })
      .def_prop_ro("tokens",
                   [](const E& e) {
                     return make_list(e.size(),
                                      [&](std::size_t i) { return token_text(e.core.get(), *e.rows, e.begin() + i); });
                   })
      .def_prop_ro("offsets",
                   [](const E& e) {
                     need(!e.rows->offsets.empty() || !e.size(), "offsets");
                     return make_list(e.size(),
                                      [&](std::size_t i) { return offset_tuple(e.rows->offsets[e.begin() + i]); });
                   })
      .def_prop_ro("word_ids", &words_list)
      .def_prop_ro("words", &words_list)
      .def_prop_ro("sequence_ids",
                   [](const E& e) {
                     return make_list(e.size(),
                                      [&](std::size_t i) { return integer_or_none(e.rows->sequence[e.begin() + i]); });
                   })
      .def_prop_ro("n_sequences", [](const E& e) { return static_cast<int>(e.rows->inputs[e.row]); })
      .def_prop_ro("overflowing",
                   [](const E& e) {
                     return make_list(e.end - e.row - 1, [&](std::size_t i) {
                       return nb::cast(E{e.rows, e.core, e.row + 1 + i, e.row + 2 + i});
                     });
                   })
      .def("char_to_token", &char_to_token, "char_pos"_a, "sequence_index"_a = 0)
      .def(
          "char_to_word",
          [](const E& e, std::size_t position, std::size_t sequence) {
            const auto token = char_to_token(e, position, sequence);
            return token ? token_to_word(e, *token) : std::nullopt;
          },
          "char_pos"_a, "sequence_index"_a = 0)
      .def("token_to_chars", &token_to_chars, "token_index"_a)
      .def("token_to_word", &token_to_word, "token_index"_a)
      .def("token_to_sequence", &token_to_sequence, "token_index"_a)
      .def("word_to_tokens", &word_to_tokens, "word_index"_a, "sequence_index"_a = 0)
      .def("word_to_chars", &word_to_chars, "word_index"_a, "sequence_index"_a = 0)
      .def(
          "set_sequence_id",
          [](E& e, std::int8_t sequence) {
            Rows rows = own_rows(e);
            for (std::size_t i = 0; i < rows.length(0); ++i) rows.sequence[i] = sequence;
            rows.inputs[0] = static_cast<std::int8_t>(std::max<int>(rows.inputs[0], sequence + 1));
            assign(e, std::move(rows));
          },
          "sequence_id"_a)
      .def("pad", &pad_encoding, "length"_a, "direction"_a = "right", "pad_id"_a = 0, "pad_type_id"_a = 0,
           "pad_token"_a = "[PAD]")
      .def(
          "truncate",
          [](E& e, std::size_t max_length, std::size_t stride, const std::string& direction) {
            truncate(e, max_length, stride, side_of(direction, "direction"));
          },
          "max_length"_a, "stride"_a = 0, "direction"_a = "right")
      .def("__getstate__", &state_of)
      .def("__setstate__", &restore)
      .def("byte_offsets", &byte_offsets, "sequence"_a, "pair"_a = nb::none())
      .def_static("merge", &merge, "encodings"_a, "growing_offsets"_a = true);
}

}  // namespace enfold::tok
