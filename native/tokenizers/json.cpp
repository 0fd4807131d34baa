#include "json.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "errors.hpp"
#include "unicode.hpp"

namespace enfold::tok::json {

namespace {
constexpr int kMaxDepth = 128;
constexpr const char* kNames[] = {"null", "a boolean", "an integer", "a number", "a string", "an array", "an object"};
const std::array<double, 309>& powers_of_ten() {
  static const auto powers = [] {
    std::array<double, 309> made{};
    for (std::size_t k = 0; k < made.size(); ++k) {
      const std::string text = "1e" + std::to_string(k);
      std::from_chars(text.data(), text.data() + text.size(), made[k]);
    }
    return made;
  }();
  return powers;
}

// The value of a well-formed number as the reference library reads it: as many digits as fit into 64 bits, then one
// scaling by a power of ten. For long numbers that is not always the nearest double, and the last bit of a score may
// decide between two ways to write a word. False if it is too large.
bool read_real(const char* p, const char* end, double& out) {
  constexpr std::uint64_t kMax = ~std::uint64_t{0};
  const bool negative = *p == '-';
  p += negative;
  std::uint64_t digits = 0;
  std::int64_t exponent = 0;
  const auto is_digit = [&] { return p < end && *p >= '0' && *p <= '9'; };
  const auto take = [&] {
    const auto digit = static_cast<std::uint64_t>(*p - '0');
    if (digits > (kMax - digit) / 10) return false;
    digits = digits * 10 + digit;
    ++p;
    return true;
  };
  while (is_digit() && take()) {
  }
  for (; is_digit(); ++p) ++exponent;
  if (p < end && *p == '.') {
    for (++p; is_digit() && take(); --exponent) {
    }
    while (is_digit()) ++p;
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    ++p;
    const bool down = *p == '-';
    p += *p == '-' || *p == '+';
    std::int64_t given = 0;
    for (; is_digit(); ++p) given = std::min<std::int64_t>(given * 10 + (*p - '0'), 1 << 30);
    exponent += down ? -given : given;
  }
  auto value = static_cast<double>(digits);
  const auto& powers = powers_of_ten();
  for (; exponent < -308 && value != 0; exponent += 308) value /= powers[308];
  if (value != 0 && exponent > 308) return false;
  if (value != 0) value = exponent < 0 ? value / powers[static_cast<std::size_t>(-exponent)]
                                       : value * powers[static_cast<std::size_t>(exponent)];
  out = negative ? -value : value;
  return value <= std::numeric_limits<double>::max();
}

}  // namespace

struct Document::Parser {
  Document& document;
  const char* at;
  const char* const begin;
  const char* const end;
  int depth = 0;

  [[noreturn]] void fail(const char* why) const {
    throw Error("the JSON is torn or malformed at byte " + std::to_string(at - begin) + ": " + why);
  }

  void space() {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  }

  Node& node(std::size_t i) { return document.nodes_[i]; }
  std::size_t push(Kind kind) {
    Node made{};
    made.kind = kind;
    made.extent = 1;
    document.nodes_.push_back(made);
    return document.nodes_.size() - 1;
  }

  void literal(std::string_view word) {
    if (static_cast<std::size_t>(end - at) < word.size() || std::memcmp(at, word.data(), word.size()) != 0) {
      fail("expected a value");
    }
    at += word.size();
  }

  unsigned hex4() {
    if (end - at < 4) fail("unfinished \\u escape");
    unsigned value = 0;
    const auto result = std::from_chars(at, at + 4, value, 16);
    if (result.ptr != at + 4 || *at == '+' || *at == '-') fail("bad \\u escape");
    at += 4;
    return value;
  }

  // Goes on to the next byte of a string that is not plain text.
  void skip_plain() {
#if defined(__SSE2__)
    for (; end - at >= 16; at += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
      const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
      const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
      const __m128i escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
      const int mask = _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, escape)));
      if (mask) {
        at += std::countr_zero(static_cast<unsigned>(mask));
        return;
      }
    }
#endif
    while (at < end && *at != '"' && *at != '\\' && static_cast<unsigned char>(*at) >= 0x20) ++at;
  }

  void string() {
    ++at;
    const char* start = at;
    skip_plain();
    if (at < end && *at == '"') {
      const std::size_t i = push(Kind::string);
      node(i).text = start;
      node(i).size = static_cast<std::uint32_t>(at++ - start);
      return;
    }
    std::string text(start, at);
    for (;;) {
      if (at >= end) fail("unfinished string");
      const char c = *at;
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
      if (c != '\\') {
        text.push_back(c);
        ++at;
        continue;
      }
      if (++at >= end) fail("unfinished escape");
      switch (*at++) {
        case '"': text.push_back('"'); break;
        case '\\': text.push_back('\\'); break;
        case '/': text.push_back('/'); break;
        case 'b': text.push_back('\b'); break;
        case 'f': text.push_back('\f'); break;
        case 'n': text.push_back('\n'); break;
        case 'r': text.push_back('\r'); break;
        case 't': text.push_back('\t'); break;
        case 'u': {
          char32_t c32 = hex4();
          if (c32 >= 0xDC00 && c32 < 0xE000) fail("lone surrogate escape");
          if (c32 >= 0xD800 && c32 < 0xDC00) {
            if (end - at < 2 || at[0] != '\\' || at[1] != 'u') fail("lone surrogate escape");
            at += 2;
            const char32_t low = hex4();
            if (low < 0xDC00 || low >= 0xE000) fail("lone surrogate escape");
            c32 = 0x10000 + ((c32 - 0xD800) << 10) + (low - 0xDC00);
          }
          unicode::append(text, c32);
          break;
        }
        default: fail("unknown escape");
      }
    }
    ++at;
    document.unescaped_.push_back(std::move(text));
    const std::string& kept = document.unescaped_.back();
    const std::size_t i = push(Kind::string);
    node(i).text = kept.data();
    node(i).size = static_cast<std::uint32_t>(kept.size());
  }

  void number() {
    const char* start = at;
    const auto digits = [&] {
      if (at >= end || *at < '0' || *at > '9') fail("bad number");
      while (at < end && *at >= '0' && *at <= '9') ++at;
    };
    if (*at == '-') ++at;
    if (at < end && *at == '0' && at + 1 < end && at[1] >= '0' && at[1] <= '9') fail("number with a leading zero");
    digits();
    bool whole = true;
    if (at < end && *at == '.') ++at, whole = false, digits();
    if (at < end && (*at == 'e' || *at == 'E')) {
      ++at, whole = false;
      if (at < end && (*at == '+' || *at == '-')) ++at;
      digits();
    }
    const std::size_t i = push(whole ? Kind::integer : Kind::real);
    if (whole && std::from_chars(start, at, node(i).integer).ec == std::errc()) return;
    node(i).kind = Kind::real;
    double value = 0;
    if (!read_real(start, at, value)) fail("number out of range");
    node(i).real = value;
  }

  void value() {
    space();
    if (at >= end) fail("the text ends where a value was expected");
    switch (*at) {
      case '{': return container(Kind::object, '}');
      case '[': return container(Kind::array, ']');
      case '"': return string();
      case 't': literal("true"), node(push(Kind::boolean)).integer = 1; return;
      case 'f': literal("false"), node(push(Kind::boolean)).integer = 0; return;
      case 'n': literal("null"), push(Kind::null); return;
      default:
        if (*at != '-' && (*at < '0' || *at > '9')) fail("expected a value");
        return number();
    }
  }

  void container(Kind kind, char close) {
    if (++depth > kMaxDepth) fail("nested too deeply");
    ++at;
    const std::size_t i = push(kind);
    std::uint32_t count = 0;
    space();
    if (at < end && *at == close) {
      ++at;
    } else {
      for (;;) {
        if (kind == Kind::object) {
          space();
          if (at >= end || *at != '"') fail("expected a name");
          string();
          space();
          if (at >= end || *at != ':') fail("expected ':'");
          ++at;
        }
        value();
        ++count;
        space();
        if (at >= end) fail("the text ends inside an array or object");
        if (*at == close) {
          ++at;
          break;
        }
        if (*at != ',') fail("expected ','");
        ++at;
      }
    }
    node(i).size = count;
    node(i).extent = static_cast<std::uint32_t>(document.nodes_.size() - i);
    --depth;
  }
};

void Document::parse(std::string_view source) {
  if (source.size() >= 0xFFFFFFFFu) throw Error("the JSON is larger than 4 GiB");
  if (!unicode::is_valid(source)) throw Error("the JSON is not valid UTF-8");
  nodes_.reserve(source.size() / 12 + 16);
  Parser parser{*this, source.data(), source.data(), source.data() + source.size()};
  parser.value();
  parser.space();
  if (parser.at != parser.end) parser.fail("text after the value");
}

void Value::expect(Kind wanted, const char* what) const {
  if (kind() == wanted) return;
  throw Error(std::string(what) + " should be " + kNames[static_cast<int>(wanted)] + " but is " +
              kNames[static_cast<int>(kind())]);
}

std::string_view Value::string(const char* what) const {
  expect(Kind::string, what);
  return {node_->text, node_->size};
}

bool Value::boolean(const char* what) const {
  expect(Kind::boolean, what);
  return node_->integer;
}

std::int64_t Value::integer(const char* what) const {
  expect(Kind::integer, what);
  return node_->integer;
}

double Value::number(const char* what) const {
  if (is(Kind::integer)) return static_cast<double>(node_->integer);
  expect(Kind::real, what);
  return node_->real;
}

Value Value::operator[](std::string_view key) const {
  Value found;
  if (!is(Kind::object)) return found;
  each_member("", [&](std::string_view name, Value value) {
    if (name == key) found = value;
  });
  return found;
}

Value Value::need(std::string_view key, const char* what) const {
  expect(Kind::object, what);
  const Value found = (*this)[key];
  if (!found.node_) throw Error(std::string(what) + " lacks the field '" + std::string(key) + "'");
  return found;
}

bool Value::flag(std::string_view key, bool otherwise, const char* what) const {
  const Value found = (*this)[key];
  return found.is_null() ? otherwise : found.boolean(what);
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char escape[8];
          std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
          out += escape;
        } else {
          out.push_back(c);
        }
    }
  }
  return out += '"';
}

std::string Value::dump() const {
  switch (kind()) {
    case Kind::null: return "null";
    case Kind::boolean: return node_->integer ? "true" : "false";
    case Kind::integer: return std::to_string(node_->integer);
    case Kind::real: {
      char digits[40];
      const auto end = std::to_chars(digits, digits + sizeof digits, node_->real).ptr;
      std::string out(digits, end);
      return out.find_first_of(".en") == std::string::npos ? out + ".0" : out;
    }
    case Kind::string: return quoted({node_->text, node_->size});
    case Kind::array: {
      std::string out = "[";
      each_item("", [&](Value item) {
        if (out.size() > 1) out += ',';
        out += item.dump();
      });
      return out += ']';
    }
    case Kind::object: {
      std::string out = "{";
      each_member("", [&](std::string_view key, Value value) {
        if (out.size() > 1) out += ',';
        out.append(quoted(key)).append(1, ':').append(value.dump());
      });
      return out += '}';
    }
  }
  return "null";
}

}  // namespace enfold::tok::json
