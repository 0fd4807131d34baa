#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../binding.hpp"
#include "word_splitter.hpp"

namespace enfold::tok {

// Counts the words of texts as they come. Threads work on what was handed in while the next texts are fetched; what is
// in memory is the distinct words and a few megabytes of text.
class WordCounter {
 public:
  explicit WordCounter(WordSplitter splitter);
  ~WordCounter();
  WordCounter(const WordCounter&) = delete;
  WordCounter& operator=(const WordCounter&) = delete;

  // Takes about a megabyte of texts from an iterator over str or over iterables of str; returns how many texts it took,
  // 0 at the end. Call these with the GIL.
  std::size_t pull(nb::handle iterator);
  // Takes a block of a file. A line is a text, with the end of the line; a line may go over several blocks.
  void feed(std::string_view block, const std::string& file);
  void end_file(const std::string& file);

  // Waits until everything is counted. Call without the GIL.
  WordCounts finish();

 private:
  struct Batch {
    std::vector<TextRef> texts;
    std::vector<nb::object> owners;
    std::string lines, file;
    std::size_t bytes = 0;
  };
  void submit(std::unique_ptr<Batch> batch);
  void add_text(Batch& batch, nb::handle text);
  void work();
  void process(const Batch& batch, Counted& counts);
  void fail();
  void collect(Counted& counts);

  WordSplitter splitter_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Batch>> waiting_, done_;
  std::size_t running_ = 0;
  bool closing_ = false;
  std::exception_ptr failure_;

  std::mutex collecting_;
  Counted all_;
  Counted own_;  // of the thread that calls
  std::string torn_;  // the last line of a file so far
  nb::object inner_;  // an iterable of texts that isn't exhausted
};

}  // namespace enfold::tok
