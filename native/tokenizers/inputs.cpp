#include "inputs.hpp"

#include <atomic>
#include <exception>
#include <string_view>
#include <thread>

#include "byte_offsets.hpp"

namespace enfold::tok {

namespace {

constexpr std::size_t kThreadBytes = 200'000;  // less text than this is encoded faster than threads start
constexpr std::size_t kChunkBytes = 32'768;
constexpr std::size_t kSample = 4;  // inputs
constexpr std::size_t kMostReserved = 1 << 18;  // tokens; a guess should not ask for more memory than that

void reserve(Rows& out, std::size_t tokens, const Wanted& wanted) {
  out.reserve(std::min(tokens, kMostReserved), wanted.offsets, wanted.words);
}

template <typename Unit>
std::string_view transcode(const Unit* units, std::size_t n, std::string& buffer) {
  const std::size_t start = buffer.size();
  buffer.resize(start + n * (sizeof(Unit) == 1 ? 2 : sizeof(Unit) == 2 ? 3 : 4));
  char* at = buffer.data() + start;
  for (std::size_t i = 0; i < n; ++i) {
    const char32_t c = units[i];
    if (c < 0x80) {
      *at++ = static_cast<char>(c);
      continue;
    }
    if (sizeof(Unit) > 1 && c - 0xD800u < 0x800u) throw LoneSurrogate();
    at += unicode::encode(c, at);
  }
  buffer.resize(static_cast<std::size_t>(at - buffer.data()));
  return {buffer.data() + start, buffer.size() - start};
}

}  // namespace

bool threads_allowed() {
  const char* setting = std::getenv("TOKENIZERS_PARALLELISM");
  if (!setting) return true;
  const std::string_view value = setting;
  return !(value == "false" || value == "0" || value == "off" || value == "no" || value == "n" || value == "f" ||
           value.empty());
}

TextRef TextRef::of(PyObject* object) {
  TextRef made;
  made.data = PyUnicode_DATA(object);
  made.size = static_cast<std::size_t>(PyUnicode_GET_LENGTH(object));
  made.kind = static_cast<int>(PyUnicode_KIND(object));
  made.ascii = PyUnicode_IS_ASCII(object);
  if (made.bytes() >= 0x3FFFFFFF) throw Error("a text is larger than 1 GiB; cut it before encoding");
  return made;
}

std::string_view TextRef::utf8(std::string& buffer) const {
  if (ascii) return {static_cast<const char*>(data), size};
  switch (kind) {
    case 1: return transcode(static_cast<const std::uint8_t*>(data), size, buffer);
    case 2: return transcode(static_cast<const std::uint16_t*>(data), size, buffer);
    default: return transcode(static_cast<const std::uint32_t*>(data), size, buffer);
  }
}

std::size_t Inputs::text(nb::handle object) {
  if (!PyUnicode_Check(object.ptr())) {
    const std::string got = Py_TYPE(object.ptr())->tp_name;
    throw nb::type_error(("an input text should be a str, got " + got).c_str());
  }
  texts_.push_back(TextRef::of(object.ptr()));
  held_.push_back(nb::borrow(object));
  bytes_ += texts_.back().bytes();
  return texts_.back().bytes();
}

Inputs::Part Inputs::part(nb::handle input, bool words, std::size_t& bytes) {
  Part made{texts_.size(), 1, words};
  if (!words) {
    bytes += text(input);
    return made;
  }
  if (PyUnicode_Check(input.ptr())) {
    throw nb::type_error("with is_pretokenized=True an input should be a list of words, got a str");
  }
  for (const nb::handle word : nb::iter(input)) bytes += text(word);
  made.count = texts_.size() - made.first;
  return made;
}

void Inputs::add(nb::handle input, bool words) {
  const auto is_sequence = [](nb::handle h) { return PyTuple_Check(h.ptr()) || PyList_Check(h.ptr()); };
  // A pair is a tuple or list of two texts, or of two lists of words.
  if (is_sequence(input) && PySequence_Fast_GET_SIZE(input.ptr()) == 2) {
    const nb::handle a = PySequence_Fast_GET_ITEM(input.ptr(), 0), b = PySequence_Fast_GET_ITEM(input.ptr(), 1);
    if (!words || (!PyUnicode_Check(a.ptr()) && !PyUnicode_Check(b.ptr()))) return add(a, b, words);
  }
  add_single(input, words);
}

void Inputs::add_single(nb::handle input, bool words) {
  Item item;
  item.parts[0] = part(input, words, item.bytes);
  items_.push_back(item);
}

void Inputs::add(nb::handle first, nb::handle second, bool words) {
  Item item;
  item.pair = true;
  item.parts[0] = part(first, words, item.bytes);
  item.parts[1] = part(second, words, item.bytes);
  items_.push_back(item);
}

void Inputs::add_all(nb::handle inputs, bool words) {
  if (PyUnicode_Check(inputs.ptr())) throw nb::type_error("a batch should be a list of inputs, got a str");
  if (const Py_ssize_t n = PyObject_LengthHint(inputs.ptr(), 0); n > 0) {
    items_.reserve(static_cast<std::size_t>(n));
    texts_.reserve(static_cast<std::size_t>(n));
    held_.reserve(static_cast<std::size_t>(n));
  } else if (n < 0) {
    throw nb::python_error();
  }
  if (!PyList_CheckExact(inputs.ptr())) {
    for (const nb::handle input : nb::iter(inputs)) add(input, words);
    return;
  }
  // By index, as reading an iterable of words may change the list.
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(inputs.ptr()); ++i) {
    add(nb::borrow(PyList_GET_ITEM(inputs.ptr(), i)), words);
  }
}

void Inputs::encode_range(const Core& core, const Wanted& wanted, const Truncation* truncation, std::size_t begin,
                          std::size_t end, Rows& out) const {
  Core::Lease scratch(core);
  std::vector<std::string_view> words[2];
  for (std::size_t i = begin; i < end; ++i) {
    const Item& item = items_[i];
    SequenceInput inputs[2];
    for (int k = 0; k < (item.pair ? 2 : 1); ++k) {
      const Part& part = item.parts[k];
      std::string& buffer = (*scratch).utf8[k];
      buffer.clear();
      if (!part.words) {
        inputs[k].text = texts_[part.first].utf8(buffer);
        continue;
      }
      // Reserve first: the views must not move while the next word is written.
      std::size_t room = 0;
      for (std::size_t w = 0; w < part.count; ++w) room += texts_[part.first + w].size * 4;
      buffer.reserve(room);
      words[k].clear();
      for (std::size_t w = 0; w < part.count; ++w) words[k].push_back(texts_[part.first + w].utf8(buffer));
      inputs[k].words = &words[k];
    }
    // The first inputs tell how much room the others need.
    if (i - begin == kSample) reserve(out, out.ids.size() * 5 / 4 / kSample * (end - begin), wanted);
    const std::size_t before = out.ids.size();
    core.encode(inputs[0], item.pair ? &inputs[1] : nullptr, static_cast<std::int32_t>(i), wanted, truncation, *scratch,
                out);
    if (!wanted.bytes) continue;
    ByteOffsets converters[2]{ByteOffsets(inputs[0]), ByteOffsets(inputs[1])};
    for (std::size_t t = before; t < out.ids.size(); ++t) {
      if (out.sequence[t] < 0) continue;
      out.offsets[t] = converters[out.sequence[t]](out.offsets[t], wanted.words ? out.words[t] : -1);
    }
  }
}

Rows Inputs::encode(const Core& core, const Wanted& wanted, const Truncation* truncation) const {
  const std::size_t total = bytes_;
  Rows out;
  // Asking for the number of cores costs more than encoding a sentence.
  const std::size_t cores = total >= kThreadBytes ? std::thread::hardware_concurrency() : 1;
  const std::size_t workers = std::min({cores, total / (kThreadBytes / 2), items_.size()});
  if (workers < 2 || !threads_allowed()) {
    reserve(out, total / 4 + items_.size() * 4, wanted);
    encode_range(core, wanted, truncation, 0, items_.size(), out);
    return out;
  }
  std::vector<std::size_t> bounds{0};
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    bytes += items_[i].bytes;
    if (bytes >= kChunkBytes || i + 1 == items_.size()) bounds.push_back(i + 1), bytes = 0;
  }
  std::vector<Rows> chunks(bounds.size() - 1);
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failing;
  const auto work = [&] {
    try {
      for (std::size_t c; (c = next.fetch_add(1)) < chunks.size();) {
        encode_range(core, wanted, truncation, bounds[c], bounds[c + 1], chunks[c]);
      }
    } catch (...) {
      const std::lock_guard lock(failing);
      if (!failure) failure = std::current_exception();
      next = chunks.size();
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t t = 1; t < workers; ++t) {
    try {
      threads.emplace_back(work);
    } catch (const std::system_error&) {
      break;  // no more threads to be had: those that run do the work
    }
  }
  work();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  for (Rows& chunk : chunks) {
    out.append(chunk);
    chunk = Rows();
  }
  return out;
}

}  // namespace enfold::tok
