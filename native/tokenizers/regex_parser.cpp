#include <algorithm>
#include <optional>

#include "errors.hpp"
#include "regex_reader.hpp"
#include "unicode.hpp"

namespace enfold::tok::regex {

namespace {

constexpr std::uint32_t kMaxRepeat = 100'000;

struct Options {
  bool any_case = false, dot_all = false, extended = false;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

struct Parser : Reader {
  Options options;
  std::uint32_t groups = 0;  // opened so far
  bool has_names = false;
  std::map<std::string, std::vector<std::uint32_t>> names;
  // References are resolved when all groups are known.
  struct Reference {
    std::string name;
    std::uint32_t number;
  };
  std::vector<Reference> references;

  // Comments, and under (?x) blanks.
  void skip() {
    for (;;) {
      if (eat("(?#")) {
        while (more() && text[at] != ')') at += text[at] == '\\' && at + 1 < text.size() ? 2 : 1;
        if (!eat(")")) fail("a comment is not closed");
      } else if (options.extended && more() && (text[at] == ' ' || (text[at] >= '\t' && text[at] <= '\r'))) {
        ++at;
      } else if (options.extended && eat("#")) {
        while (more() && text[at] != '\n') ++at;
      } else {
        return;
      }
    }
  }

  Node alternation() {
    const Deeper deeper(*this);
    const Options saved = options;
    Node node;
    node.kind = Node::kAlternate;
    node.children.push_back(concatenation());
    while (eat("|")) node.children.push_back(concatenation());
    options = saved;
    return node.children.size() == 1 ? std::move(node.children[0]) : node;
  }

  // Neighbouring texts become one: what ignores case may equal several characters of it at once.
  static void append(Node& list, Node item) {
    const auto unwrapped = [](Node& node) -> Node& {
      Node* inner = &node;
      while (inner->children.size() == 1 &&
             (inner->kind == Node::kConcat || (inner->kind == Node::kGroup && !inner->capture))) {
        inner = &inner->children[0];
      }
      return inner->kind == Node::kText ? *inner : node;
    };
    Node& fresh = unwrapped(item);
    if (fresh.kind == Node::kText && !list.children.empty()) {
      Node& last = list.children.back();
      if (last.kind == Node::kText && last.any_case == fresh.any_case) {
        last.text += fresh.text;
        return;
      }
    }
    Node moved = std::move(fresh);
    list.children.push_back(std::move(moved));
  }

  Node concatenation() {
    Node node;
    node.kind = Node::kConcat;
    for (skip(); more() && text[at] != '|' && text[at] != ')'; skip()) {
      // Options without a colon hold up to the end of the group, its further alternatives included.
      if (const auto changed = loose_options()) {
        const Options saved = options;
        options = *changed;
        node.children.push_back(alternation());
        options = saved;
        break;
      }
      append(node, quantified());
    }
    return node;
  }

  std::optional<Options> loose_options() {
    if (!sees("(?")) return std::nullopt;
    std::size_t end = at + 2;
    while (end < text.size() && (text[end] == '-' || (text[end] >= 'a' && text[end] <= 'z'))) ++end;
    if (end == at + 2 || end >= text.size() || text[end] != ')') return std::nullopt;
    at += 2;
    const Options made = letters();
    ++at;
    return made;
  }

  // The letters of (?im-x…): up to a colon or a parenthesis.
  Options letters() {
    Options made = options;
    bool on = true;
    for (; more() && text[at] != ':' && text[at] != ')'; ++at) {
      switch (text[at]) {
        case '-': on = false; break;
        case 'i': made.any_case = on; break;
        case 'm': made.dot_all = on; break;
        case 'x': made.extended = on; break;
        default: not_built("the group (?" + std::string(1, text[at]) + "…");
      }
    }
    if (!more()) fail("a group is not closed");
    return made;
  }

  // Whether a node can be repeated at all: an anchor can't.
  static bool is_place(const Node& node) {
    if (node.kind == Node::kAnchor || node.kind == Node::kLook || node.kind == Node::kKeep) return true;
    return node.children.size() == 1 &&
           (node.kind == Node::kConcat || (node.kind == Node::kGroup && !node.capture)) && is_place(node.children[0]);
  }

  Node quantified() {
    Node node = atom();
    for (int nested = 0;; ++nested) {
      skip();
      if (!more()) break;
      std::uint32_t min = 0, max = kEndless;
      bool counted = false, possessive = false;
      const char c = text[at];
      if (c == '*') ++at;
      else if (c == '+') min = 1, ++at;
      else if (c == '?') max = 1, ++at;
      else if (c == '{' && counts(min, max, possessive)) counted = true;
      else break;
      if (is_place(node)) fail("a place can't be repeated");
      if (nested > kMaxDepth) fail("too many quantifiers");
      Node repeat;
      repeat.kind = Node::kRepeat;
      repeat.min = min;
      repeat.max = max;
      repeat.possessive = possessive;
      if (counted && min == max && sees("?")) {
        // {n}? is not lazy: the whole may be left out.
        ++at;
        repeat.children.push_back(std::move(node));
        Node optional;
        optional.kind = Node::kRepeat;
        optional.max = 1;
        optional.children.push_back(std::move(repeat));
        node = std::move(optional);
        continue;
      }
      if (eat("?")) repeat.lazy = true;
      else if (!counted && eat("+")) repeat.possessive = true;  // after {n,m} a plus repeats once more, as in Ruby
      node = repeated(std::move(repeat), std::move(node));
    }
    return node;
  }

  // A repetition of a repetition of the same kind is one: (a*)+ is a*. Nested, they would backtrack without end.
  static Node repeated(Node outer, Node body) {
    const auto simple = [&](const Node& node) {
      return node.kind == Node::kRepeat && !node.possessive && node.lazy == outer.lazy && node.min <= 1 &&
             (node.max == 1 || node.max == kEndless);
    };
    Node* inner = &body;
    while (inner->children.size() == 1 &&
           (inner->kind == Node::kConcat || (inner->kind == Node::kGroup && !inner->capture))) {
      inner = &inner->children[0];
    }
    if (!simple(outer) || !simple(*inner)) {
      outer.children.push_back(std::move(body));
      return outer;
    }
    Node made = std::move(*inner);
    made.min = std::min(made.min, outer.min);
    made.max = std::max(made.max, outer.max);
    return made;
  }

  // {n}, {n,}, {,m} or {n,m}; {m,n} is possessive; anything else in braces is plain text.
  bool counts(std::uint32_t& min, std::uint32_t& max, bool& possessive) {
    std::size_t i = at + 1;
    const auto number = [&](std::uint32_t& out) {
      const std::size_t start = i;
      std::uint64_t value = 0;
      for (; i < text.size() && is_digit(text[i]); ++i) {
        value = std::min<std::uint64_t>(value * 10 + static_cast<std::uint64_t>(text[i] - '0'), kMaxRepeat + 1);
      }
      out = static_cast<std::uint32_t>(value);
      return i > start;
    };
    const bool low = number(min);
    bool high = false;
    if (i < text.size() && text[i] == ',') {
      ++i;
      high = number(max);
      if (!low && !high) return false;
      if (!high) max = kEndless;
      if (!low) min = 0;
    } else if (low) {
      max = min;
    } else {
      return false;
    }
    if (i >= text.size() || text[i] != '}') return false;
    if (min > kMaxRepeat || (high && max > kMaxRepeat)) fail("a repetition of more than 100000 times");
    if (min > max) std::swap(min, max), possessive = true;
    at = i + 1;
    return true;
  }

  static Node of_set(CharSet set) {
    Node node;
    node.kind = Node::kSet;
    node.set = std::move(set);
    return node;
  }
  static Node of_anchor(char which) {
    Node node;
    node.kind = Node::kAnchor;
    node.anchor = which;
    return node;
  }
  Node of_text(std::u32string characters) const {
    Node node;
    node.kind = Node::kText;
    node.text = std::move(characters);
    node.any_case = options.any_case;
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
  Node capture(const std::string* name) {
    const std::uint32_t number = ++groups;
    if (name) names[*name].push_back(number);
    Node node = group(Node::kGroup);
    node.capture = number;
    return node;
  }

  Node named_group(char close) {
    const std::string name = name_until(close);
    if (name.empty() || is_digit(name[0]) || name.find_first_of("()+") != std::string::npos || name[0] == '-') {
      fail("'" + name + "' is no name of a group");
    }
    has_names = true;
    return capture(&name);
  }

  Node parenthesis() {
    if (sees("*")) not_built("a callout (*…)");
    if (!eat("?")) return capture(nullptr);
    if (eat(":")) return group(Node::kGroup);
    if (eat("=")) return group(Node::kLook);
    if (eat("!")) return group(Node::kLook, false, true);
    if (eat("<=")) return group(Node::kLook, true);
    if (eat("<!")) return group(Node::kLook, true, true);
    if (eat(">")) return group(Node::kAtomic);
    if (eat("<")) return named_group('>');
    if (eat("'")) return named_group('\'');
    if (sees("~")) not_built("the absent operator (?~…)");
    if (sees("(")) not_built("a condition (?(…)…)");
    const Options saved = options;
    options = letters();
    if (!eat(":")) fail("an option group that is not closed");
    Node node = group(Node::kGroup);
    options = saved;
    return node;
  }

  Node atom() {
    if (eat("(")) return parenthesis();
    if (sees("[")) return bracket_node();
    if (eat(".")) return of_set(options.dot_all ? CharSet(0, 0x10FFFF) : CharSet(U'\n', U'\n').complement());
    if (eat("^")) return of_anchor('^');
    if (eat("$")) return of_anchor('$');
    if (more() && (text[at] == '*' || text[at] == '+' || text[at] == '?')) fail("nothing to repeat");
    if (text[at] == '{') {
      std::uint32_t min, max;
      bool possessive;
      const std::size_t start = at;
      if (counts(min, max, possessive)) fail("nothing to repeat");
      at = start;
    }
    if (eat("\\")) return escaped();
    return of_text({next()});
  }

  Node escaped() {
    if (!more()) fail("it ends in a backslash");
    const char c = text[at];
    switch (c) {
      case 'b':
      case 'B':
      case 'A':
      case 'z':
      case 'Z':
      case 'G': return ++at, of_anchor(c);
      case 'K': {
        ++at;
        Node node;
        node.kind = Node::kKeep;
        return node;
      }
      case 'R': return ++at, line_break();
      case 'N': return ++at, of_set(CharSet(U'\n', U'\n').complement());
      case 'O': return ++at, of_set(CharSet(0, 0x10FFFF));
      case 'k':
        if (at + 1 < text.size() && (text[at + 1] == '<' || text[at + 1] == '\'')) return named_reference();
        break;
      case 'g': not_built("a call of a group (\\g)");
      case 'X':
      case 'y':
      case 'Y': not_built(std::string("\\") + c);
      default: break;
    }
    if (c >= '1' && c <= '9') {
      std::size_t end = at;
      std::uint64_t number = 0;
      while (end < text.size() && is_digit(text[end]) && end - at < 9) {
        number = number * 10 + static_cast<std::uint64_t>(text[end++] - '0');
      }
      if (number <= 9 || number <= groups) {
        at = end;
        return reference({}, static_cast<std::uint32_t>(number));
      }
      if (c > '7') fail("a reference to a group that is not there");
    }
    std::optional<CharSet> set = class_escape(false);
    if (set) return of_set(std::move(*set));
    return of_text({character_escape()});
  }

  static Node line_break() {
    Node both, node, atomic;
    both.kind = Node::kText;
    both.text = U"\r\n";
    node.kind = Node::kAlternate;
    node.children.push_back(std::move(both));
    node.children.push_back(of_set(CharSet({{U'\n', U'\r'}, {0x85, 0x85}, {0x2028, 0x2029}})));
    atomic.kind = Node::kAtomic;
    atomic.children.push_back(std::move(node));
    return atomic;
  }

  Node reference(const std::string& name, std::uint32_t number) {
    Node node;
    node.kind = Node::kReference;
    node.any_case = options.any_case;
    references.push_back({name, number});
    node.groups = {static_cast<std::uint32_t>(references.size() - 1)};  // until resolve()
    return node;
  }

  Node named_reference() {
    const char close = text[at + 1] == '<' ? '>' : '\'';
    at += 2;
    const std::string name = name_until(close);
    const bool relative = name.starts_with('-') || name.starts_with('+');
    const std::string digits = name.substr(relative);
    if (digits.empty()) fail("a reference without a name");
    if (digits.find_first_of("+-") != std::string::npos && is_digit(digits[0])) not_built("a reference with a level");
    if (!std::all_of(digits.begin(), digits.end(), is_digit)) return reference(name, 0);
    if (digits.size() > 8) fail("a reference to a group that is not there");
    auto number = static_cast<std::int64_t>(std::stoll(digits));
    if (name[0] == '-') number = static_cast<std::int64_t>(groups) + 1 - number;
    if (name[0] == '+') number = static_cast<std::int64_t>(groups) + number;
    if (number < 1) fail("a reference to a group that is not there");
    return reference({}, static_cast<std::uint32_t>(number));
  }

  void resolve(Node& node) {
    for (Node& child : node.children) resolve(child);
    if (node.kind == Node::kGroup && node.capture && has_names) {
      // Beside named groups the others don't capture.
      const bool named = std::any_of(names.begin(), names.end(), [&](const auto& entry) {
        return std::find(entry.second.begin(), entry.second.end(), node.capture) != entry.second.end();
      });
      if (!named) node.capture = 0;
    }
    if (node.kind != Node::kReference) return;
    const Reference& meant = references[node.groups[0]];
    if (meant.name.empty()) {
      if (has_names) fail("a reference by number beside named groups");
      if (meant.number > groups) fail("a reference to a group that is not there");
      node.groups = {meant.number};
      return;
    }
    const auto at = names.find(meant.name);
    if (at == names.end()) fail("a reference to the group '" + meant.name + "', which is not there");
    node.groups.assign(at->second.rbegin(), at->second.rend());
  }

  Node bracket_node() {
    bool negated = false;
    CharSet set = bracket(negated);
    if (!options.any_case) return of_set(negated ? set.complement() : std::move(set));
    CharSet closed = chars::with_cases(set);
    if (negated) return of_set(closed.complement());
    // Characters that equal several make alternatives of their own, behind the others.
    Node node;
    node.kind = Node::kAlternate;
    node.children.push_back(of_set(std::move(closed)));
    for (const chars::LongFold& fold : chars::long_folds()) {
      if (!set.has(fold.from)) continue;
      Node several;
      several.kind = Node::kConcat;
      for (std::size_t i = 0; i < fold.size(); ++i) {
        several.children.push_back(of_set(chars::with_cases(CharSet(fold.to[i], fold.to[i]))));
      }
      node.children.push_back(std::move(several));
    }
    if (node.children.size() == 1) return std::move(node.children[0]);
    Node group;
    group.kind = Node::kGroup;
    group.children.push_back(std::move(node));
    return group;
  }

};

}  // namespace

Tree parse(const std::string& source) {
  Parser parser{{source, source}, {}, 0, false, {}, {}};
  Tree tree;
  tree.root = parser.alternation();
  if (parser.more()) parser.fail("a ')' too many");
  parser.resolve(tree.root);
  tree.captures = parser.groups;
  return tree;
}

}  // namespace enfold::tok::regex
