#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "table_memory.hpp"

// A strict JSON reader (RFC 8259) made for files that are one large vocabulary: the document is one flat array of
// nodes in reading order, strings without escapes point into the source.
namespace enfold::tok::json {

enum class Kind : std::uint8_t { null, boolean, integer, real, string, array, object };

struct Node {
  Kind kind;
  std::uint32_t extent;  // nodes of this value, itself included
  std::uint32_t size;    // bytes of a string; items of an array; members of an object
  union {
    const char* text;
    std::int64_t integer;
    double real;
  };
};

class Document;

// A view of one value; lives as long as its document. Every getter checks the kind and names the place in its error.
class Value {
 public:
  Value() = default;
  Kind kind() const { return node_ ? node_->kind : Kind::null; }
  bool is_null() const { return kind() == Kind::null; }
  bool is(Kind k) const { return kind() == k; }
  std::string_view string(const char* what) const;
  bool boolean(const char* what) const;
  std::int64_t integer(const char* what) const;
  double number(const char* what) const;
  std::size_t size() const { return node_ ? node_->size : 0; }

  // Member of an object (the last one of that name, null if there is none).
  Value operator[](std::string_view key) const;
  // Whether there is such a member, be it null.
  bool has(std::string_view key) const { return (*this)[key].node_ != nullptr; }
  Value need(std::string_view key, const char* what) const;
  // A boolean member that may be missing or null.
  bool flag(std::string_view key, bool otherwise, const char* what) const;
  // A boolean member that has to be there.
  bool truth(std::string_view key, const char* what) const { return need(key, what).boolean(std::string(key).c_str()); }
  std::string text(std::string_view key, const char* what) const { return std::string(need(key, what).string(what)); }
  std::string dump() const;

  template <typename F>
  void each_item(const char* what, F&& f) const {
    expect(Kind::array, what);
    const Node* at = node_ + 1;
    for (std::uint32_t i = 0; i < node_->size; ++i, at += at->extent) f(Value(at));
  }
  template <typename F>
  void each_member(const char* what, F&& f) const {
    expect(Kind::object, what);
    const Node* at = node_ + 1;
    for (std::uint32_t i = 0; i < node_->size; ++i) {
      const std::string_view key(at->text, at->size);
      ++at;
      f(key, Value(at));
      at += at->extent;
    }
  }

 private:
  friend class Document;
  explicit Value(const Node* node) : node_(node) {}
  void expect(Kind kind, const char* what) const;
  const Node* node_ = nullptr;
};

class Document {
 public:
  explicit Document(std::string source) : own_(std::move(source)) { parse(own_); }
  // Over a source that outlives it: the nodes point into it.
  static Document over(std::string_view source) { return Document(Lent{source}); }
  Value root() const { return Value(nodes_.data()); }

 private:
  struct Parser;
  struct Lent {
    std::string_view source;
  };
  explicit Document(Lent lent) { parse(lent.source); }
  void parse(std::string_view source);

  std::string own_;
  std::deque<std::string> unescaped_;
  Table<Node> nodes_;
};

std::string quoted(std::string_view text);

}  // namespace enfold::tok::json
