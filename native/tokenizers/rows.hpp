#pragma once

#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aligned.hpp"
#include "vocabulary.hpp"

namespace enfold::tok {

// A growing array of plain values that does not clear what it is about to be filled with.
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer& other) { append(other.data(), other.size()); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer other) noexcept { return swap(other), *this; }
  ~Buffer() { std::free(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

  void reserve(std::size_t n) {
    if (n <= capacity_) return;
    const std::size_t wanted = std::max(n, capacity_ + capacity_ / 2 + 16);
    void* grown = std::realloc(data_, wanted * sizeof(T));
    if (!grown) throw std::bad_alloc();
    data_ = static_cast<T*>(grown);
    capacity_ = wanted;
  }
  // Room for n more values, uninitialised; returns where they go.
  T* extend(std::size_t n) {
    reserve(size_ + n);
    T* at = data_ + size_;
    size_ += n;
    return at;
  }
  void push_back(T value) {
    if (size_ == capacity_) reserve(size_ + 1);
    data_[size_++] = value;
  }
  // Adds a value where reserve() has made room.
  void put(T value) { data_[size_++] = value; }
  void append(const T* from, std::size_t n) {
    if (n) std::memcpy(extend(n), from, n * sizeof(T));
  }
  void fill(std::size_t n, T value) { std::fill_n(extend(n), n, value); }
  void resize_down(std::size_t n) { size_ = n; }
  // Takes in what was written behind the last value, where reserve() has made room.
  void end_at(const T* end) { size_ = static_cast<std::size_t>(end - data_); }
  void clear() { size_ = 0; }
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

// A token whose text is not the vocabulary's for its id (what an added token matched, a padding token).
struct OwnText {
  std::size_t at;
  std::string text;
};

// The tokens of one sequence. Offsets count characters.
struct Tokens {
  Buffer<Id> ids;
  Buffer<Span> offsets;
  Buffer<std::int32_t> words;
  std::vector<OwnText> texts;
  bool want_offsets = true, want_words = true;

  void clear() {
    ids.clear();
    offsets.clear();
    words.clear();
    texts.clear();
  }
  void push(Id id, Span offset, std::int32_t word) {
    ids.push_back(id);
    if (want_offsets) offsets.push_back(offset);
    if (want_words) words.push_back(word);
  }
  // Room for n more tokens, which put() then needs not ask for.
  void reserve(std::size_t n) {
    ids.reserve(ids.size() + n);
    if (want_offsets) offsets.reserve(offsets.size() + n);
    if (want_words) words.reserve(words.size() + n);
  }
  void put(Id id, Span offset, std::int32_t word) {
    ids.put(id);
    if (want_offsets) offsets.put(offset);
    if (want_words) words.put(word);
  }
  void resize_down(std::size_t n) {
    ids.resize_down(n);
    if (want_offsets) offsets.resize_down(n);
    if (want_words) words.resize_down(n);
    while (!texts.empty() && texts.back().at >= n) texts.pop_back();
  }
};

// Encoded rows, flat: row r is [splits[r], splits[r + 1]) of every array that is kept.
struct Rows {
  Buffer<std::int64_t> splits;
  Buffer<Id> ids;
  Buffer<std::int32_t> type_ids;
  Buffer<Span> offsets;           // if offsets were wanted
  Buffer<std::int32_t> words;     // if words were wanted; -1 for none
  Buffer<std::int8_t> special;    // 1 for tokens that the post-processor or padding put in
  Buffer<std::int8_t> sequence;   // 0, 1, or -1 for special
  Buffer<std::int8_t> attention;  // empty as long as every token counts
  Buffer<std::int32_t> samples;   // input that each row came from; further rows of one input are its overflow
  Buffer<std::int8_t> inputs;     // sequences that each row's input had: 1, or 2 for a pair
  std::vector<OwnText> texts;     // ordered by position
  bool whole = false;             // no post-processor: a row of one sequence is it from end to end, padding included

  Rows() { splits.push_back(0); }
  // Empty again, with its memory kept.
  void clear();
  // Room for so many tokens, with their offsets and words.
  void reserve(std::size_t tokens, bool with_offsets, bool with_words);
  std::size_t size() const { return splits.size() - 1; }
  std::size_t begin(std::size_t row) const { return static_cast<std::size_t>(splits[row]); }
  std::size_t length(std::size_t row) const { return static_cast<std::size_t>(splits[row + 1] - splits[row]); }
  bool attends(std::size_t at) const { return attention.empty() || attention[at]; }
  const std::string* own_text(std::size_t at) const;
  void append(const Rows& other);
  // One row by itself.
  Rows row(std::size_t at) const;
  // Tokens [begin, end), which lie in the given row, as a row of their own.
  Rows slice(std::size_t begin, std::size_t end, std::size_t row) const;
};

enum class Strategy { longest_first, only_first, only_second };
enum class Side { left, right };

struct Truncation {
  std::size_t max_length = 512, stride = 0;
  Strategy strategy = Strategy::longest_first;
  Side direction = Side::right;
};

struct Padding {
  bool fixed = false;
  std::size_t length = 0, multiple = 0;
  Side direction = Side::right;
  Id id = 0;
  std::int32_t type_id = 0;
  std::string token = "[PAD]";
};

// [begin, end) ranges of a sequence of `size` tokens cut to `max_length`: the kept one first, then the overflow if it is
// wanted.
std::vector<std::pair<std::size_t, std::size_t>> windows(std::size_t size, std::size_t max_length, std::size_t stride,
                                                         Side direction, bool overflow = true);

// How many tokens truncation leaves of one sequence, or of each of a pair, when there is room for `room` of them.
std::pair<std::size_t, std::size_t> kept(const Truncation& truncation, std::size_t room, std::size_t first,
                                         std::optional<std::size_t> second);

// Pads every row to `length` tokens. `named`: the vocabulary has padding.token under padding.id.
Rows pad(const Rows& rows, std::size_t length, const Padding& padding, bool named);
std::size_t padded_length(const Rows& rows, const Padding& padding);

}  // namespace enfold::tok
