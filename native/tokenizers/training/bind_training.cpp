#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "../tokenizer_object.hpp"
#include "bpe_training.hpp"
#include "unigram_training.hpp"
#include "word_counter.hpp"

namespace enfold::tok {

using namespace nb::literals;

namespace {

nb::object text_of(std::string_view text) {
  nb::object made = nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
  if (!made.is_valid()) throw nb::python_error();
  return made;
}

void bind_words(nb::module_& m) {
  nb::class_<WordCounts>(m, "WordCounts", "Distinct words and how often each of them occurs.")
      .def(nb::init<>())
      .def("__len__", &WordCounts::size)
      .def(
          "add", [](WordCounts& w, std::string_view word, std::uint64_t count) { w.add(word, count); }, "word"_a,
          "count"_a = 1)
      .def(
          "most_common",
          [](const WordCounts& w, std::size_t limit, std::uint64_t min_count) {
            nb::list out;
            for (const std::size_t i : w.most_common(limit, min_count)) out.append(text_of(w.word(i)));
            return out;
          },
          "limit"_a, "min_count"_a = 0)
      .def("items", [](const WordCounts& w) {
        nb::list out;
        for (std::size_t i = 0; i < w.size(); ++i) out.append(nb::make_tuple(text_of(w.word(i)), w.count(i)));
        return out;
      });
}

void bind_counter(nb::module_& m) {
  using T = WordCounter;
  nb::class_<T>(m, "WordCounter", "Counts the words that a tokenizer cuts texts into.")
      .def(
          "__init__",
          [](T* self, const Tokenizer& tokenizer) {
            new (self) T(WordSplitter(tokenizer.core()));
          },
          "tokenizer"_a)
      .def("pull", &T::pull, "iterator"_a)
      .def(
          "feed",
          [](T& t, const nb::bytes& block, const std::string& file) { t.feed({block.c_str(), block.size()}, file); },
          "block"_a, "file"_a)
      .def("end_file", &T::end_file, "file"_a)
      .def("finish", &T::finish, nb::call_guard<nb::gil_scoped_release>());
}

std::vector<char32_t> characters_of(std::string_view text) {
  std::vector<char32_t> out;
  for (std::size_t i = 0; i < text.size(); i += unicode::length(static_cast<unsigned char>(text[i]))) {
    out.push_back(unicode::decode(text.data() + i));
  }
  return out;
}

void bind_bpe(nb::module_& m) {
  using T = BpeTraining;
  nb::class_<T>(m, "BpeTraining", "Byte-pair encoding learnt from word counts, a few merges at a time.")
      .def(
          "__init__",
          [](T* self, const WordCounts& words, std::size_t vocab_size, std::uint64_t min_frequency,
             std::vector<std::string> special_tokens, std::optional<std::size_t> limit_alphabet,
             std::string_view initial_alphabet, std::optional<std::string> prefix, std::optional<std::string> suffix,
             std::optional<std::size_t> max_token_length) {
            BpeOptions options{vocab_size,
                               min_frequency,
                               std::move(special_tokens),
                               limit_alphabet,
                               characters_of(initial_alphabet),
                               std::move(prefix),
                               std::move(suffix),
                               max_token_length};
            const nb::gil_scoped_release released;
            new (self) T(words, std::move(options));
          },
          "words"_a, nb::kw_only(), "vocab_size"_a, "min_frequency"_a, "special_tokens"_a, "limit_alphabet"_a.none(),
          "initial_alphabet"_a, "continuing_subword_prefix"_a.none(), "end_of_word_suffix"_a.none(),
          "max_token_length"_a.none())
      .def("advance", &T::advance, "merges"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("__len__", [](const T& t) { return t.tokens().size(); })
      .def_prop_ro("tokens",
                   [](const T& t) {
                     nb::list out;
                     for (const std::string& token : t.tokens()) out.append(text_of(token));
                     return out;
                   })
      .def_prop_ro("merges", [](const T& t) {
        std::vector<nb::object> texts;
        for (const std::string& token : t.tokens()) texts.push_back(text_of(token));
        nb::list out;
        for (const auto& [a, b] : t.merges()) out.append(nb::make_tuple(texts[a], texts[b]));
        return out;
      });
}

void bind_unigram(nb::module_& m) {
  using T = UnigramTraining;
  nb::class_<T>(m, "UnigramTraining", "A unigram language model learnt from word counts, turn by turn.")
      .def(
          "__init__",
          [](T* self, WordCounts& words, std::size_t vocab_size, std::size_t n_sub_iterations, double shrinking_factor,
             std::vector<std::string> special_tokens, std::string_view initial_alphabet,
             std::optional<std::string> unk_token, std::size_t max_piece_length, std::size_t seed_size) {
            UnigramOptions options{vocab_size,
                                   n_sub_iterations,
                                   shrinking_factor,
                                   std::move(special_tokens),
                                   characters_of(initial_alphabet),
                                   std::move(unk_token),
                                   max_piece_length,
                                   seed_size};
            const nb::gil_scoped_release released;
            new (self) T(words, std::move(options));
          },
          "words"_a, nb::kw_only(), "vocab_size"_a, "n_sub_iterations"_a, "shrinking_factor"_a, "special_tokens"_a,
          "initial_alphabet"_a, "unk_token"_a.none(), "max_piece_length"_a, "seed_size"_a, nb::keep_alive<1, 2>())
      .def("advance", &T::advance, nb::call_guard<nb::gil_scoped_release>())
      .def("__len__", &T::size)
      .def_prop_ro("tokens",
                   [](const T& t) {
                     nb::list out;
                     for (const auto& [text, score] : t.tokens()) out.append(nb::make_tuple(text_of(text), score));
                     return out;
                   })
      .def_prop_ro("unk_id", &T::unk_id);
}

}  // namespace

void bind_training(nb::module_& m) {
  bind_words(m);
  bind_counter(m);
  bind_bpe(m);
  bind_unigram(m);
}

}  // namespace enfold::tok
