#include "word_counter.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <system_error>

#include "../inputs.hpp"
#include "parallel.hpp"

namespace enfold::tok {

namespace {

constexpr std::size_t kBatchBytes = 1 << 20;
constexpr std::size_t kTextsOfABatch = 1 << 16;
// A thread's own table goes into the common one when it has so many words: this bounds what threads keep twice.
constexpr std::size_t kOwnWords = 1 << 19;

}  // namespace

WordCounter::WordCounter(WordSplitter splitter) : splitter_(std::move(splitter)) {
  const std::size_t cores = std::thread::hardware_concurrency();
  if (cores < 2 || splitter_.needs_python() || !threads_allowed()) return;
  for (std::size_t t = 0; t < cores; ++t) {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      break;  // no more threads to be had: those that run do the work
    }
  }
}

WordCounter::~WordCounter() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  if (threads_.empty()) return;
  const nb::gil_scoped_release released;
  for (std::thread& thread : threads_) thread.join();
}

void WordCounter::add_text(Batch& batch, nb::handle text) {
  batch.texts.push_back(TextRef::of(text.ptr()));
  batch.bytes += batch.texts.back().bytes();
  batch.owners.push_back(nb::borrow(text));
}

std::size_t WordCounter::pull(nb::handle iterator) {
  auto batch = std::make_unique<Batch>();
  while (batch->bytes < kBatchBytes && batch->texts.size() < kTextsOfABatch) {
    const bool inside = inner_.is_valid();
    const nb::object item = nb::steal(PyIter_Next(inside ? inner_.ptr() : iterator.ptr()));
    if (!item.is_valid()) {
      if (PyErr_Occurred()) throw nb::python_error();
      if (!inside) break;
      inner_.reset();
      continue;
    }
    if (PyUnicode_Check(item.ptr())) {
      add_text(*batch, item);
      continue;
    }
    const std::string got = Py_TYPE(item.ptr())->tp_name;
    if (inside) throw nb::type_error(("a text to train on should be a str, got " + got).c_str());
    nb::object inner = nb::steal(PyObject_GetIter(item.ptr()));
    if (!inner.is_valid()) {
      PyErr_Clear();
      throw nb::type_error(("the iterator to train on should give str or lists of str, got " + got).c_str());
    }
    inner_ = std::move(inner);
  }
  const std::size_t n = batch->texts.size();
  if (n) submit(std::move(batch));
  return n;
}

void WordCounter::feed(std::string_view block, const std::string& file) {
  const std::size_t end = block.rfind('\n');
  if (end == std::string_view::npos) {
    torn_ += block;
    return;
  }
  auto batch = std::make_unique<Batch>();
  batch->lines.swap(torn_);
  batch->lines += block.substr(0, end + 1);
  batch->file = file;
  torn_ = block.substr(end + 1);
  submit(std::move(batch));
}

void WordCounter::end_file(const std::string& file) {
  if (torn_.empty()) return;
  auto batch = std::make_unique<Batch>();
  batch->lines.swap(torn_);
  batch->file = file;
  submit(std::move(batch));
}

void WordCounter::submit(std::unique_ptr<Batch> batch) {
  if (threads_.empty()) {
    if (splitter_.needs_python()) return process(*batch, own_);
    const nb::gil_scoped_release released;
    return process(*batch, own_);
  }
  std::deque<std::unique_ptr<Batch>> done;  // freed with the GIL held
  {
    std::unique_lock lock(mutex_, std::defer_lock);
    {
      const nb::gil_scoped_release released;
      lock.lock();
      // Enough is waiting: let the threads catch up.
      changed_.wait(lock, [&] { return failure_ || waiting_.size() < 2 * threads_.size(); });
    }
    if (failure_) std::rethrow_exception(failure_);
    waiting_.push_back(std::move(batch));
    done.swap(done_);
  }
  changed_.notify_all();
}

void WordCounter::work() {
  Counted counts;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
    if (waiting_.empty()) break;
    std::unique_ptr<Batch> batch = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    bool failed = false;
    try {
      process(*batch, counts);
      if (counts.size() > kOwnWords) collect(counts);
    } catch (...) {
      failed = true;
      fail();
    }
    lock.lock();
    done_.push_back(std::move(batch));
    // Texts are given back where the GIL is held.
    for (; failed && !waiting_.empty(); waiting_.pop_front()) done_.push_back(std::move(waiting_.front()));
    changed_.notify_all();
  }
  lock.unlock();
  try {
    collect(counts);
  } catch (...) {
    fail();
  }
}

void WordCounter::fail() {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::current_exception();
}

void WordCounter::collect(Counted& counts) {
  const std::lock_guard lock(collecting_);
  all_.absorb(counts);
}

void WordCounter::process(const Batch& batch, Counted& counts) {
  std::string buffer;
  for (const TextRef& text : batch.texts) {
    buffer.clear();
    splitter_.cut(text.utf8(buffer), counts);
  }
  if (batch.lines.empty()) return;
  if (!unicode::is_valid(batch.lines)) {
    throw Error("the file '" + batch.file + "' is not valid UTF-8; convert it before training");
  }
  const char* p = batch.lines.data();
  const char* const end = p + batch.lines.size();
  while (p < end) {
    const auto* newline = static_cast<const char*>(std::memchr(p, '\n', static_cast<std::size_t>(end - p)));
    const char* next = newline ? newline + 1 : end;
    splitter_.cut({p, static_cast<std::size_t>(next - p)}, counts);
    p = next;
  }
}

WordCounts WordCounter::finish() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  const std::size_t workers = std::max<std::size_t>(1, threads_.size());
  threads_.clear();
  if (failure_) std::rethrow_exception(failure_);
  all_.absorb(own_);
  WordCounts pieces;
  std::swap(pieces, all_.pieces);
  const std::size_t share = std::max<std::size_t>(1, pieces.size() / (8 * workers) + 1);
  std::atomic<std::size_t> next{0};
  in_threads(workers, [&](std::size_t) {
    Counted mine;
    for (std::size_t at; (at = next.fetch_add(share)) < pieces.size();) {
      splitter_.finish(pieces, at, std::min(at + share, pieces.size()), mine.words);
      if (mine.size() > kOwnWords) collect(mine);
    }
    collect(mine);
  });
  return std::move(all_.words);
}

}  // namespace enfold::tok
