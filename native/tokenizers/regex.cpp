#include "regex.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "errors.hpp"
#include "unicode.hpp"

namespace enfold::tok {

namespace {

using unicode::Category;

constexpr std::size_t kMaxProgram = 20'000;  // instructions, after counted repetitions are written out
constexpr int kMaxDepth = 60;
constexpr std::uint32_t kEndless = 0xFFFFFFFFu;

constexpr std::uint32_t bit(Category c) { return 1u << static_cast<int>(c); }
constexpr std::uint32_t categories(Category first, Category last) {
  return (bit(last) | (bit(last) - 1)) & ~(bit(first) - 1);
}

std::optional<std::uint32_t> categories_named(std::string_view name) {
  using C = Category;
  static constexpr std::string_view kNames[] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                                "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                                "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"};
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return 1u << i;
  }
  static constexpr std::pair<std::string_view, std::uint32_t> kGroups[] = {
      {"L", categories(C::Lu, C::Lo)},
      {"Letter", categories(C::Lu, C::Lo)},
      {"M", categories(C::Mn, C::Me)},
      {"Mark", categories(C::Mn, C::Me)},
      {"N", categories(C::Nd, C::No)},
      {"Number", categories(C::Nd, C::No)},
      {"P", categories(C::Pc, C::Po)},
      {"Punctuation", categories(C::Pc, C::Po)},
      {"S", categories(C::Sm, C::So)},
      {"Symbol", categories(C::Sm, C::So)},
      {"Z", categories(C::Zs, C::Zp)},
      {"Separator", categories(C::Zs, C::Zp)},
      {"C", categories(C::Cc, C::Co) | bit(C::Cn)}};
  for (const auto& [group, mask] : kGroups) {
    if (name == group) return mask;
  }
  return std::nullopt;
}

char32_t fold(char32_t c) {
  switch (c) {
    case 0x17F: return U's';
    case 0x3C2: return 0x3C3;
    case 0x345:
    case 0x1FBE: return 0x3B9;
    default: break;
  }
  char32_t image[2];
  return unicode::lower(c, image) == 1 ? image[0] : c;
}

// What one character may be.
struct Set {
  struct Range {
    char32_t first, last;
  };
  struct Property {
    std::uint32_t categories;
    std::uint16_t flags;
    bool negated;
  };
  bool negated = false, folded = false;
  std::vector<Range> ranges;
  std::vector<Property> properties;
  std::vector<Set> any, all;  // nested classes; further operands of &&
  std::array<bool, 128> ascii{};

  bool holds(char32_t c) const {
    bool found = false;
    for (const Range& r : ranges) found |= r.first <= c && c <= r.last;
    const auto& p = unicode::properties(c);
    for (const Property& q : properties)
      found |= ((q.categories >> p.category & 1) || (p.flags & q.flags)) != q.negated;
    for (const Set& s : any) found |= s.slow(c);
    return found;
  }
  bool slow(char32_t c) const {
    bool found = holds(c);
    if (!found && folded) {
      const char32_t f = fold(c);
      found = holds(f);
      // The other characters that fold to the same: an upper-case ASCII letter, the long s, the Kelvin sign.
      if (!found && f < 128 && f >= U'a' && f <= U'z') {
        found = holds(f - 32) || (f == U's' && holds(0x17F)) || (f == U'k' && holds(0x212A));
      }
    }
    for (const Set& s : all) found = found && s.slow(c);
    return found != negated;
  }
  bool has(char32_t c) const { return c < 128 ? ascii[c] : slow(c); }
  void close() {
    for (char32_t c = 0; c < 128; ++c) ascii[c] = slow(c);
  }
};

struct Node {
  enum Kind { kEmpty, kSet, kConcat, kAlternate, kRepeat, kGroup, kAtomic, kLook, kAnchor } kind = kEmpty;
  Set set;
  std::vector<Node> children;
  std::uint32_t min = 0, max = 0;
  bool lazy = false, possessive = false, behind = false, negative = false;
  char anchor = 0;
};

enum class Op : std::uint8_t { set, run, split, jump, anchor, look, behind, atomic, mark, loop, done };

struct Instruction {
  Op op;
  bool flag = false;  // run: possessive; look, behind: negative
  bool lazy = false;
  std::uint32_t a = 0;  // set, run: index of the set; split: preferred target; others: target
  std::uint32_t b = 0;  // split: other target; run: min; behind: characters
  std::uint32_t c = 0;  // run: max
};

}  // namespace

struct Regex::Program {
  std::string source;
  std::vector<Set> sets;
  std::vector<Instruction> code;
  std::uint32_t registers = 0;

  struct Parser;
  struct Machine;
  void compile(const Node& node);
  std::uint32_t push(Instruction instruction) {
    if (code.size() >= kMaxProgram) throw Error("the regular expression '" + source + "' is too large");
    code.push_back(instruction);
    return static_cast<std::uint32_t>(code.size() - 1);
  }
  std::uint32_t here() const { return static_cast<std::uint32_t>(code.size()); }
};

struct Regex::Program::Parser {
  const std::string& source;
  std::string_view text;
  std::size_t at = 0;
  int depth = 0;
  bool ignore_case = false, dot_all = false;

  [[noreturn]] void fail(const std::string& why) const {
    throw Error("the regular expression '" + source + "' is malformed at byte " + std::to_string(at) + ": " + why);
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw NotBuilt("the regular expression '" + source + "' uses " + what + ", which is not built");
  }
  bool more() const { return at < text.size(); }
  bool eat(std::string_view what) {
    if (!text.substr(at).starts_with(what)) return false;
    at += what.size();
    return true;
  }
  char32_t next() {
    if (!more()) fail("it ends too early");
    const char32_t c = unicode::decode(text.data() + at);
    at += unicode::length(static_cast<unsigned char>(text[at]));
    return c;
  }

  Node alternation() {
    if (++depth > kMaxDepth) fail("nested too deeply");
    const bool saved_case = ignore_case, saved_all = dot_all;
    Node node;
    node.kind = Node::kAlternate;
    node.children.push_back(concatenation());
    while (eat("|")) node.children.push_back(concatenation());
    ignore_case = saved_case, dot_all = saved_all;
    --depth;
    return node.children.size() == 1 ? std::move(node.children[0]) : node;
  }

  Node concatenation() {
    Node node;
    node.kind = Node::kConcat;
    while (more() && text[at] != '|' && text[at] != ')') {
      if (eat("(?i)")) {
        ignore_case = true;
        continue;
      }
      if (eat("(?m)")) {
        dot_all = true;
        continue;
      }
      node.children.push_back(quantified());
    }
    return node;
  }

  Node quantified() {
    Node node = atom();
    while (more()) {
      std::uint32_t min = 0, max = kEndless;
      bool counted = false;
      const char c = text[at];
      if (c == '*') ++at;
      else if (c == '+') min = 1, ++at;
      else if (c == '?') max = 1, ++at;
      else if (c == '{' && counts(min, max)) counted = true;
      else break;
      Node repeat;
      repeat.kind = Node::kRepeat;
      repeat.min = min;
      repeat.max = max;
      if (eat("?")) repeat.lazy = true;
      else if (!counted && eat("+")) repeat.possessive = true;  // after {n,m} a plus repeats once more, as in Ruby
      if (++depth > kMaxDepth) fail("too many quantifiers");
      repeat.children.push_back(std::move(node));
      node = std::move(repeat);
    }
    return node;
  }

  // {n}, {n,}, {,m} or {n,m}; anything else in braces is literal text.
  bool counts(std::uint32_t& min, std::uint32_t& max) {
    std::size_t i = at + 1;
    const auto number = [&](std::uint32_t& out) {
      const std::size_t start = i;
      std::uint64_t value = 0;
      while (i < text.size() && text[i] >= '0' && text[i] <= '9' && i - start < 7)
        value = value * 10 + static_cast<std::uint64_t>(text[i++] - '0');
      out = static_cast<std::uint32_t>(value);
      return i > start;
    };
    const bool low = number(min);
    bool high = false;
    if (i < text.size() && text[i] == ',') {
      ++i;
      high = number(max);
      if (!high) max = kEndless;
      if (!low) min = 0;
      if (!low && !high) return false;
    } else if (low) {
      max = min;
    } else {
      return false;
    }
    if (i >= text.size() || text[i] != '}') return false;
    if (min > max) fail("the counts of {n,m} are in the wrong order");
    at = i + 1;
    return true;
  }

  Node of_set(Set set) {
    Node node;
    node.kind = Node::kSet;
    set.folded |= ignore_case;
    set.close();
    node.set = std::move(set);
    return node;
  }
  Node of_anchor(char which) {
    Node node;
    node.kind = Node::kAnchor;
    node.anchor = which;
    return node;
  }

  Node group(Node::Kind kind, bool behind = false, bool negative = false) {
    Node node;
    node.kind = kind;
    node.behind = behind;
    node.negative = negative;
    node.children.push_back(alternation());
    if (!eat(")")) fail("a group is not closed");
    return node;
  }

  Node atom() {
    if (eat("(")) {
      if (!eat("?")) return group(Node::kGroup);
      if (eat(":")) return group(Node::kGroup);
      if (eat("=")) return group(Node::kLook);
      if (eat("!")) return group(Node::kLook, false, true);
      if (eat("<=")) return group(Node::kLook, true);
      if (eat("<!")) return group(Node::kLook, true, true);
      if (eat(">")) return group(Node::kAtomic);
      if (eat("<")) {
        while (more() && text[at] != '>') ++at;
        if (!eat(">")) fail("a group's name is not closed");
        return group(Node::kGroup);
      }
      const bool saved_case = ignore_case, saved_all = dot_all;
      bool on = true;
      for (; more() && text[at] != ':' && text[at] != ')'; ++at) {
        if (text[at] == '-') on = false;
        else if (text[at] == 'i') ignore_case = on;
        else if (text[at] == 'm') dot_all = on;
        else refuse("the group (?" + std::string(1, text[at]) + "…");
      }
      if (!eat(":")) refuse("an option group that holds for the rest of its group");
      Node node = group(Node::kGroup);
      ignore_case = saved_case, dot_all = saved_all;
      return node;
    }
    if (eat("[")) return of_set(bracket());
    if (eat(".")) {
      Set set;
      if (dot_all) set.ranges.push_back({0, 0x10FFFF});
      else set.ranges.push_back({U'\n', U'\n'}), set.negated = true;
      return of_set(set);
    }
    if (eat("^")) return of_anchor('^');
    if (eat("$")) return of_anchor('$');
    if (more() && (text[at] == '*' || text[at] == '+' || text[at] == '?')) fail("nothing to repeat");
    if (eat("\\")) {
      if (!more()) fail("it ends in a backslash");
      const char c = text[at];
      if (c == 'b' || c == 'B' || c == 'A' || c == 'z' || c == 'Z') return ++at, of_anchor(c);
      if (c >= '1' && c <= '9') refuse("a back-reference");
      if (c == 'R' || c == 'X' || c == 'k' || c == 'g' || c == 'G' || c == 'K' || c == 'N' || c == 'O' || c == 'y' ||
          c == 'Y') {
        refuse(std::string("\\") + c);
      }
      Set set;
      escape(set);
      return of_set(set);
    }
    Set set;
    const char32_t c = next();
    set.ranges.push_back({c, c});
    return of_set(set);
  }

  char32_t hex(std::size_t least, std::size_t most) {
    char32_t value = 0;
    std::size_t n = 0;
    for (; n < most && more(); ++n, ++at) {
      const char c = text[at];
      if (c >= '0' && c <= '9') value = value * 16 + static_cast<char32_t>(c - '0');
      else if ((c | 32) >= 'a' && (c | 32) <= 'f') value = value * 16 + static_cast<char32_t>((c | 32) - 'a' + 10);
      else break;
    }
    if (n < least || value > 0x10FFFF) fail("bad hexadecimal escape");
    return value;
  }

  // What follows a backslash, added to the set. Returns the character if it was one.
  std::optional<char32_t> escape(Set& set) {
    const auto property = [&](std::uint32_t mask, std::uint16_t flags, bool negated) {
      set.properties.push_back({mask, flags, negated});
      return std::nullopt;
    };
    const auto literal = [&](char32_t c) {
      set.ranges.push_back({c, c});
      return std::optional<char32_t>(c);
    };
    const char32_t c = next();
    switch (c) {
      case 's':
      case 'S': return property(0, unicode::kRegexSpace, c == 'S');
      case 'w':
      case 'W': return property(0, unicode::kRegexWord, c == 'W');
      case 'd':
      case 'D': return property(bit(Category::Nd), 0, c == 'D');
      case 'h':
      case 'H': {
        Set digits;
        digits.ranges = {{U'0', U'9'}, {U'a', U'f'}, {U'A', U'F'}};
        digits.negated = c == 'H';
        set.any.push_back(digits);
        return std::nullopt;
      }
      case 'p':
      case 'P': {
        bool negated = c == 'P';
        if (!eat("{")) fail("\\p needs a name in braces");
        if (eat("^")) negated = !negated;
        const std::size_t start = at;
        while (more() && text[at] != '}') ++at;
        const std::string name(text.substr(start, at - start));
        if (!eat("}")) fail("a property's name is not closed");
        const auto mask = categories_named(name);
        if (!mask) refuse("the property \\p{" + name + "}");
        return property(*mask, 0, negated);
      }
      case 'n': return literal(U'\n');
      case 't': return literal(U'\t');
      case 'r': return literal(U'\r');
      case 'f': return literal(U'\f');
      case 'v': return literal(0x0B);
      case 'a': return literal(0x07);
      case 'e': return literal(0x1B);
      case '0': return literal(0);
      case 'u': return literal(hex(4, 4));
      case 'x': {
        if (!eat("{")) {
          const char32_t byte = hex(1, 2);
          if (byte >= 0x80) fail("\\x with two digits stands for a byte; write \\x{…}");
          return literal(byte);
        }
        const char32_t value = hex(1, 8);
        if (!eat("}")) fail("\\x{ is not closed");
        return literal(value);
      }
      default: return literal(c);
    }
  }

  Set bracket() {
    if (++depth > kMaxDepth) fail("nested too deeply");
    Set whole;
    whole.negated = eat("^");
    Set part;
    part.folded = whole.folded = ignore_case;
    bool first = true;
    std::vector<Set> operands;
    for (;; first = false) {
      if (!more()) fail("a class is not closed");
      if (text[at] == ']' && !first) break;
      if (eat("&&")) {
        operands.push_back(std::move(part));
        part = Set();
        part.folded = ignore_case;
        continue;
      }
      if (text.substr(at).starts_with("[:")) {
        ++at, posix(part);
        continue;
      }
      if (eat("[")) {
        part.any.push_back(bracket());
        continue;
      }
      std::optional<char32_t> low;
      if (text.substr(at).starts_with("\\w") || text.substr(at).starts_with("\\W")) {
        word_in_bracket(part, text[at + 1] == 'W');
        at += 2;
        continue;
      }
      if (eat("\\")) {
        if (eat("b")) part.ranges.push_back({8, 8}), low = 8;
        else low = escape(part);
      } else {
        low = next();
        part.ranges.push_back({*low, *low});
      }
      if (!low || text.substr(at).size() < 2 || text[at] != '-' || text[at + 1] == ']' || text[at + 1] == '[') continue;
      ++at;
      Set end;
      const std::optional<char32_t> high = eat("\\") ? escape(end) : std::optional<char32_t>(next());
      if (!high || *high < *low) fail("a range runs backwards");
      part.ranges.push_back({*low, *high});
    }
    ++at;
    operands.push_back(std::move(part));
    whole.any.push_back(std::move(operands[0]));
    for (std::size_t i = 1; i < operands.size(); ++i) whole.all.push_back(std::move(operands[i]));
    for (Set& set : whole.any) set.close();
    --depth;
    return whole;
  }

  // In a class, \w leaves out the superscripts and fractions of Latin-1 that it matches outside of one.
  void word_in_bracket(Set& part, bool negated) {
    Set word, less;
    word.properties.push_back({0, unicode::kRegexWord, false});
    less.ranges = {{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}};
    less.negated = true;
    word.all.push_back(std::move(less));
    word.negated = negated;
    part.any.push_back(std::move(word));
  }

  void posix(Set& part) {
    ++at;
    const bool negated = eat("^");
    const std::size_t start = at;
    while (more() && text[at] != ':') ++at;
    const std::string name(text.substr(start, at - start));
    if (!eat(":]")) fail("a [:name:] is not closed");
    if (name == "space") part.properties.push_back({0, unicode::kRegexSpace, negated});
    else if (name == "word") word_in_bracket(part, negated);
    else if (name == "digit") part.properties.push_back({bit(Category::Nd), 0, negated});
    else refuse("the class [:" + name + ":]");
  }
};

namespace {

// Characters that a node matches, if it is always the same number.
std::optional<std::uint32_t> fixed_length(const Node& node) {
  switch (node.kind) {
    case Node::kEmpty:
    case Node::kLook:
    case Node::kAnchor: return 0;
    case Node::kSet: return 1;
    case Node::kGroup:
    case Node::kAtomic: return fixed_length(node.children[0]);
    case Node::kConcat: {
      std::uint32_t sum = 0;
      for (const Node& child : node.children) {
        const auto n = fixed_length(child);
        if (!n) return std::nullopt;
        sum += *n;
      }
      return sum;
    }
    case Node::kAlternate: {
      const auto n = fixed_length(node.children[0]);
      for (const Node& child : node.children) {
        if (!n || fixed_length(child) != n) return std::nullopt;
      }
      return n;
    }
    case Node::kRepeat: {
      const auto n = fixed_length(node.children[0]);
      if (!n || node.min != node.max) return std::nullopt;
      return *n * node.min;
    }
  }
  return std::nullopt;
}

}  // namespace

void Regex::Program::compile(const Node& node) {
  switch (node.kind) {
    case Node::kEmpty: return;
    case Node::kSet:
      sets.push_back(node.set);
      push({Op::set, false, false, static_cast<std::uint32_t>(sets.size() - 1), 0, 0});
      return;
    case Node::kAnchor: push({Op::anchor, false, false, static_cast<std::uint32_t>(node.anchor), 0, 0}); return;
    case Node::kGroup: return compile(node.children[0]);
    case Node::kConcat:
      for (const Node& child : node.children) compile(child);
      return;
    case Node::kAlternate: {
      std::vector<std::uint32_t> exits;
      for (std::size_t i = 0; i < node.children.size(); ++i) {
        const bool last = i + 1 == node.children.size();
        const std::uint32_t split = last ? 0 : push({Op::split});
        if (!last) code[split].a = here();
        compile(node.children[i]);
        if (last) break;
        exits.push_back(push({Op::jump}));
        code[split].b = here();
      }
      for (const std::uint32_t exit : exits) code[exit].a = here();
      return;
    }
    case Node::kAtomic: {
      const std::uint32_t start = push({Op::atomic});
      compile(node.children[0]);
      push({Op::done});
      code[start].a = here();
      return;
    }
    case Node::kLook: {
      // A look-behind tries its alternatives one by one, each from as many characters back as it is long.
      const Node* body = &node.children[0];
      while (body->kind == Node::kGroup || (body->kind == Node::kConcat && body->children.size() == 1))
        body = &body->children[0];
      std::vector<const Node*> options{body};
      if (node.behind && body->kind == Node::kAlternate) {
        options.clear();
        for (const Node& child : body->children) options.push_back(&child);
      }
      const std::uint32_t start = push({Op::look, node.negative});
      for (const Node* option : options) {
        std::uint32_t back = 0;
        if (node.behind) {
          const auto length = fixed_length(*option);
          if (!length)
            throw NotBuilt("the regular expression '" + source +
                           "' uses a look-behind of varying length, which is not built");
          back = *length;
        }
        const std::uint32_t split = push({Op::split});
        code[split].a = here();
        if (node.behind) push({Op::behind, false, false, 0, back, 0});
        compile(*option);
        push({Op::done});
        code[split].b = here();
      }
      push({Op::jump, true});  // a jump that fails: no alternative is left
      code[start].a = here();
      return;
    }
    case Node::kRepeat: break;
  }
  const Node& body = node.children[0];
  if (body.kind == Node::kSet && !node.lazy) {
    sets.push_back(body.set);
    push({Op::run, node.possessive, false, static_cast<std::uint32_t>(sets.size() - 1), node.min, node.max});
    return;
  }
  std::uint32_t atomic = 0;
  if (node.possessive) atomic = push({Op::atomic});
  for (std::uint32_t i = 0; i < node.min; ++i) compile(body);
  if (node.max == kEndless) {
    const std::uint32_t loop = registers++;
    const std::uint32_t split = push({Op::split});
    const std::uint32_t inside = push({Op::mark, false, false, loop, 0, 0});
    compile(body);
    push({Op::loop, false, false, split, loop, 0});
    code[split].a = node.lazy ? here() : inside;
    code[split].b = node.lazy ? inside : here();
  } else {
    std::vector<std::uint32_t> splits;
    for (std::uint32_t i = node.min; i < node.max; ++i) {
      splits.push_back(push({Op::split}));
      compile(body);
    }
    for (const std::uint32_t split : splits) {
      code[split].a = node.lazy ? here() : split + 1;
      code[split].b = node.lazy ? split + 1 : here();
    }
  }
  if (node.possessive) {
    push({Op::done});
    code[atomic].a = here();
  }
}

struct Regex::Program::Machine {
  const Program& program;
  std::string_view text;
  std::size_t& steps;
  std::size_t limit;
  std::vector<std::size_t> registers;
  struct Frame {
    enum Kind : std::uint8_t { kTry, kRun, kRestore } kind;
    std::uint32_t pc;   // where to go on; the register to restore
    std::size_t at;     // where in the text; the register's value
    std::size_t least;  // kRun: the shortest end that is allowed
  };
  std::vector<Frame> stack;

  bool anchored(char which, std::size_t at) const {
    const auto word = [&](bool before) {
      if (before) return at > 0 && unicode::has(unicode::decode_before(text, at), unicode::kRegexWord);
      return at < text.size() && unicode::has(unicode::decode(text.data() + at), unicode::kRegexWord);
    };
    switch (which) {
      case '^': return at == 0 || (text[at - 1] == '\n' && at < text.size());
      case '$': return at == text.size() || text[at] == '\n';
      case 'A': return at == 0;
      case 'z': return at == text.size();
      case 'Z': return at == text.size() || (at + 1 == text.size() && text[at] == '\n');
      case 'b': return word(true) != word(false);
      default: return word(true) == word(false);
    }
  }

  // Runs from `pc` until Op::done; true with `at` at the end of the match.
  bool run(std::uint32_t pc, std::size_t& at) {
    const std::size_t floor = stack.size();
    for (;;) {
      if (++steps > limit) {
        throw Error("the regular expression '" + program.source +
                    "' needs too many steps on this text (backtracking without end)");
      }
      bool alive = true;
      const Instruction& now = program.code[pc];
      switch (now.op) {
        case Op::set:
          if (at < text.size() && program.sets[now.a].has(unicode::decode(text.data() + at))) {
            at += unicode::length(static_cast<unsigned char>(text[at]));
            ++pc;
          } else {
            alive = false;
          }
          break;
        case Op::run: {
          std::uint32_t n = 0;
          std::size_t least = at;
          while (n < now.c && at < text.size() && program.sets[now.a].has(unicode::decode(text.data() + at))) {
            at += unicode::length(static_cast<unsigned char>(text[at]));
            if (++n == now.b) least = at;
          }
          steps += n / 8;
          if (n < now.b) {
            alive = false;
            break;
          }
          ++pc;
          if (!now.flag && at > least) stack.push_back({Frame::kRun, pc, at, least});
          break;
        }
        case Op::split:
          stack.push_back({Frame::kTry, now.b, at, 0});
          pc = now.a;
          break;
        case Op::jump:
          if (now.flag) alive = false;
          else pc = now.a;
          break;
        case Op::anchor:
          if (anchored(static_cast<char>(now.a), at)) ++pc;
          else alive = false;
          break;
        case Op::behind:
          for (std::uint32_t n = now.b; n > 0 && alive; --n) {
            if (at == 0) alive = false;
            else do
                --at;
              while (at > 0 && unicode::is_continuation(text[at]));
          }
          ++pc;
          break;
        case Op::look: {
          std::size_t inner = at;
          alive = run(pc + 1, inner) != now.flag;
          pc = now.a;
          break;
        }
        case Op::atomic: {
          const std::uint32_t after = now.a;
          alive = run(pc + 1, at);
          pc = after;
          break;
        }
        case Op::mark:
          stack.push_back({Frame::kRestore, now.a, registers[now.a], 0});
          registers[now.a] = at;
          ++pc;
          break;
        case Op::loop:
          // A round that matched nothing would go on for ever.
          if (registers[now.b] == at) ++pc;
          else pc = now.a;
          break;
        case Op::done: stack.resize(floor); return true;
      }
      if (alive) continue;
      for (;;) {
        if (stack.size() == floor) return false;
        Frame& top = stack.back();
        if (top.kind == Frame::kRestore) {
          registers[top.pc] = top.at;
          stack.pop_back();
          continue;
        }
        if (top.kind == Frame::kTry) {
          pc = top.pc;
          at = top.at;
          stack.pop_back();
          break;
        }
        do --top.at;
        while (unicode::is_continuation(text[top.at]));
        pc = top.pc;
        at = top.at;
        if (top.at <= top.least) stack.pop_back();
        break;
      }
    }
  }
};

Regex::Regex(std::string_view source) : program_(std::make_unique<Program>()) {
  program_->source = source;
  Program::Parser parser{program_->source, program_->source};
  const Node node = parser.alternation();
  if (parser.more()) parser.fail("a ')' too many");
  program_->compile(node);
  program_->push({Op::done});
}

Regex::~Regex() = default;

bool Regex::search(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end,
                   std::size_t& steps) const {
  Program::Machine machine{
      *program_, text, steps, 1'000'000 + 2'000 * text.size(), std::vector<std::size_t>(program_->registers), {}};
  for (begin = from; begin <= text.size(); begin = next_character(text, begin)) {
    end = begin;
    if (machine.run(0, end)) return true;
    machine.stack.clear();
  }
  return false;
}

std::size_t Regex::next_character(std::string_view text, std::size_t at) {
  return at < text.size() ? at + unicode::length(static_cast<unsigned char>(text[at])) : text.size() + 1;
}

}  // namespace enfold::tok
