#include <algorithm>
#include <map>

#include "errors.hpp"
#include "regex_program.hpp"
#include "unicode.hpp"

namespace enfold::tok {

using regex::kEndless;
using regex::Node;

namespace {

constexpr std::size_t kMaxProgram = 50'000;  // instructions
constexpr std::size_t kMaxSets = 2'000;      // of about 10 kB each
constexpr std::uint32_t kUnrolled = 16;      // instructions up to which a counted repetition is written out

// Characters that a node matches: at least, at most.
struct Width {
  std::uint64_t min = 0, max = 0;
};

std::uint64_t capped(std::uint64_t n) { return std::min<std::uint64_t>(n, kEndless); }

Width width(const Node& node) {
  switch (node.kind) {
    case Node::kEmpty:
    case Node::kLook:
    case Node::kAnchor:
    case Node::kKeep: return {};
    case Node::kText: return {node.text.size(), node.text.size()};
    case Node::kSet: return {1, 1};
    case Node::kReference: return {0, kEndless};
    case Node::kGroup:
    case Node::kAtomic: return width(node.children[0]);
    case Node::kConcat: {
      Width sum;
      for (const Node& child : node.children) {
        const Width w = width(child);
        sum = {capped(sum.min + w.min), capped(sum.max + w.max)};
      }
      return sum;
    }
    case Node::kAlternate: {
      Width all = width(node.children[0]);
      for (const Node& child : node.children) {
        const Width w = width(child);
        all = {std::min(all.min, w.min), std::max(all.max, w.max)};
      }
      return all;
    }
    case Node::kRepeat: {
      const Width w = width(node.children[0]);
      const std::uint64_t most = node.max == kEndless ? (w.max ? kEndless : 0) : capped(w.max * node.max);
      return {capped(w.min * node.min), most};
    }
  }
  return {};
}

CharSet with_cases(char32_t c) { return chars::with_cases(CharSet(c, c)); }

// Which characters a match of the node can start with; `nullable` if it can be empty.
struct Start {
  CharSet set;
  bool nullable = false;
};

const CharSet& everything() {
  static const CharSet kAll(0, 0x10FFFF);
  return kAll;
}

Start start_of(const Node& node) {
  switch (node.kind) {
    case Node::kEmpty:
    case Node::kLook:
    case Node::kAnchor:
    case Node::kKeep: return {{}, true};
    case Node::kReference: return {everything(), true};
    case Node::kSet: return {node.set, false};
    case Node::kText: {
      if (node.text.empty()) return {{}, true};
      if (!node.any_case) return {CharSet(node.text[0], node.text[0]), false};
      // One that equals several characters, or the first of several that equal it.
      CharSet set = with_cases(node.text[0]);
      for (const chars::LongFold& fold : chars::long_folds()) {
        if (fold.to[0] == chars::fold(node.text[0])) set = set | with_cases(fold.from);
        if (chars::fold(fold.from) == chars::fold(node.text[0])) set = set | with_cases(fold.to[0]);
      }
      return {std::move(set), false};
    }
    case Node::kGroup:
    case Node::kAtomic: return start_of(node.children[0]);
    case Node::kConcat: {
      Start start{{}, true};
      for (const Node& child : node.children) {
        if (!start.nullable) break;
        Start next = start_of(child);
        start = {start.set | next.set, next.nullable};
      }
      return start;
    }
    case Node::kAlternate: {
      Start start;
      for (const Node& child : node.children) {
        Start next = start_of(child);
        start = {start.set | next.set, start.nullable || next.nullable};
      }
      return start;
    }
    case Node::kRepeat: {
      if (node.max == 0) return {{}, true};
      Start start = start_of(node.children[0]);
      start.nullable |= node.min == 0;
      return start;
    }
  }
  return {everything(), true};
}

}  // namespace

struct Regex::Program::Compiler {
  Program& program;
  std::vector<std::uint32_t> wanted;  // groups that a reference asks for
  std::map<std::uint32_t, std::uint32_t> group_registers;
  std::map<std::vector<std::pair<char32_t, char32_t>>, std::uint32_t> known_sets;
  int looks_behind = 0;

  std::uint32_t push(Instruction instruction) {
    if (program.code.size() >= kMaxProgram) {
      throw Error("the regular expression '" + program.source + "' is too large");
    }
    program.code.push_back(instruction);
    return here() - 1;
  }
  std::uint32_t here() const { return static_cast<std::uint32_t>(program.code.size()); }
  Instruction& at(std::uint32_t pc) { return program.code[pc]; }

  std::uint32_t set_index(const CharSet& set) {
    std::vector<std::pair<char32_t, char32_t>> key;
    for (const CharRange& range : set.ranges()) key.emplace_back(range.first, range.last);
    const auto [found, fresh] = known_sets.try_emplace(std::move(key), static_cast<std::uint32_t>(program.sets.size()));
    if (fresh) {
      if (program.sets.size() >= kMaxSets) {
        throw Error("the regular expression '" + program.source + "' has too many different classes");
      }
      program.sets.emplace_back(set);
    }
    return found->second;
  }

  void note_references(const Node& node) {
    if (node.kind == Node::kReference) wanted.insert(wanted.end(), node.groups.begin(), node.groups.end());
    for (const Node& child : node.children) note_references(child);
  }
  std::uint32_t registers_of(std::uint32_t group) {
    const auto [found, fresh] = group_registers.try_emplace(group, program.registers);
    if (fresh) program.registers += 2;
    return found->second;
  }

  void text(std::u32string_view characters) {
    const auto begin = static_cast<std::uint32_t>(program.literals.size());
    for (const char32_t c : characters) unicode::append(program.literals, c);
    push({.op = Op::text, .a = begin, .b = static_cast<std::uint32_t>(program.literals.size()) - begin});
  }
  void one_of(const CharSet& set) { push({.op = Op::set, .a = set_index(set)}); }

  // A text in any case. Where characters of it together equal single ones, either may stand in the text.
  void text_in_any_case(const std::u32string& characters) {
    for (std::size_t i = 0; i < characters.size();) {
      std::size_t n = 0;
      std::vector<CharRange> singles;
      const auto take = [&](const chars::LongFold& fold) { singles.push_back({fold.from, fold.from}); };
      std::array<char32_t, 3> several{};
      for (std::size_t length = 3; length > 1 && !n && !looks_behind; --length) {
        if (i + length > characters.size()) continue;
        for (const chars::LongFold& fold : chars::long_folds()) {
          bool same = fold.size() == length;
          for (std::size_t k = 0; k < length && same; ++k) same = chars::fold(characters[i + k]) == fold.to[k];
          if (same) take(fold), several = fold.to, n = length;
        }
      }
      std::size_t taken = n;
      if (!n && !looks_behind) {
        for (const chars::LongFold& fold : chars::long_folds()) {
          if (chars::fold(fold.from) == chars::fold(characters[i])) take(fold), several = fold.to, n = fold.size();
        }
        taken = 1;
      }
      if (!n) {
        one_of(with_cases(characters[i++]));
        continue;
      }
      const std::uint32_t split = push({.op = Op::split});
      at(split).a = here();
      for (std::size_t k = 0; k < n; ++k) one_of(with_cases(several[k]));
      const std::uint32_t jump = push({.op = Op::jump});
      at(split).b = here();
      one_of(chars::with_cases(CharSet(singles)));
      at(jump).a = here();
      i += taken;
    }
  }

  void look_behind(const Node& node) {
    check_behind(node.children[0], node.negative);
    // Alternatives are tried one by one, each as far back as it is long.
    const Node* body = &node.children[0];
    while ((body->kind == Node::kGroup && !body->capture) ||
           (body->kind == Node::kConcat && body->children.size() == 1)) {
      body = &body->children[0];
    }
    const Width w = width(*body);
    ++looks_behind;
    const std::uint32_t start = push({.op = Op::behind,
                                      .flag = node.negative,
                                      .b = static_cast<std::uint32_t>(w.min),
                                      .c = static_cast<std::uint32_t>(capped(w.max))});
    compile(*body);
    push({.op = Op::arrive});
    at(start).a = here();
    --looks_behind;
  }

  // What Oniguruma does not allow in a look-behind.
  void check_behind(const Node& node, bool negative) const {
    const bool refused = node.kind == Node::kKeep || (node.kind == Node::kLook && !node.behind) ||
                         (node.kind == Node::kLook && node.negative && !negative) ||
                         (node.kind == Node::kGroup && node.capture && negative);
    if (refused) {
      throw Error("the regular expression '" + program.source +
                  "' is malformed: a look-ahead, a group or the like stands in a look-behind, where it can't");
    }
    for (const Node& child : node.children) check_behind(child, negative);
  }

  void compile(const Node& node) {
    switch (node.kind) {
      case Node::kEmpty: return;
      case Node::kText: return node.any_case ? text_in_any_case(node.text) : text(node.text);
      case Node::kSet: return one_of(node.set);
      case Node::kAnchor: push({.op = Op::anchor, .a = static_cast<std::uint32_t>(node.anchor)}); return;
      case Node::kKeep:
        program.saves = true;
        push({.op = Op::keep});
        return;
      case Node::kGroup: {
        const bool saved = node.capture && std::find(wanted.begin(), wanted.end(), node.capture) != wanted.end();
        if (!saved) return compile(node.children[0]);
        const std::uint32_t registers = registers_of(node.capture);
        // The start counts when the group ends: within itself it stands for its last round.
        const std::uint32_t begun = program.registers++;
        program.saves = true;
        push({.op = Op::save, .a = begun, .b = begun});
        compile(node.children[0]);
        push({.op = Op::save, .flag = true, .a = registers, .b = begun});
        return;
      }
      case Node::kConcat:
        for (const Node& child : node.children) compile(child);
        return;
      case Node::kAlternate: return alternate(node);
      case Node::kAtomic: {
        const std::uint32_t start = push({.op = Op::atomic});
        compile(node.children[0]);
        push({.op = Op::done});
        at(start).a = here();
        return;
      }
      case Node::kLook: {
        if (node.behind) return look_behind(node);
        const std::uint32_t start = push({.op = Op::ahead, .flag = node.negative});
        compile(node.children[0]);
        push({.op = Op::done});
        at(start).a = here();
        return;
      }
      case Node::kReference: {
        std::vector<std::uint32_t> registers;
        for (const std::uint32_t group : node.groups) registers.push_back(registers_of(group));
        program.references.push_back(std::move(registers));
        push({.op = Op::reference,
              .flag = node.any_case,
              .a = static_cast<std::uint32_t>(program.references.size() - 1)});
        return;
      }
      case Node::kRepeat: return repeat(node);
    }
  }

  void alternate(const Node& node) {
    std::vector<std::uint32_t> exits;
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      const bool last = i + 1 == node.children.size();
      const std::uint32_t split = last ? 0 : push({.op = Op::split});
      if (!last) at(split).a = here();
      compile(node.children[i]);
      if (last) break;
      exits.push_back(push({.op = Op::jump}));
      at(split).b = here();
    }
    for (const std::uint32_t exit : exits) at(exit).a = here();
  }

  // The one set that a body consists of, if that is all.
  std::optional<CharSet> lone_set(const Node& node) const {
    if (node.kind == Node::kSet) return node.set;
    if (node.kind == Node::kText && node.text.size() == 1) {
      if (!node.any_case) return CharSet(node.text[0], node.text[0]);
      for (const chars::LongFold& fold : chars::long_folds()) {
        if (!looks_behind && chars::fold(fold.from) == chars::fold(node.text[0])) return std::nullopt;
      }
      return with_cases(node.text[0]);
    }
    const bool wraps = node.children.size() == 1 &&
                       (node.kind == Node::kConcat || (node.kind == Node::kGroup && !node.capture));
    return wraps ? lone_set(node.children[0]) : std::nullopt;
  }

  void repeat(const Node& node) {
    if (node.max == 0) return;
    const Node& body = node.children[0];
    if (!node.lazy) {
      if (const auto set = lone_set(body)) {
        push({.op = Op::run, .flag = node.possessive, .a = set_index(*set), .b = node.min, .c = node.max});
        return;
      }
    }
    std::uint32_t atomic = 0;
    if (node.possessive) atomic = push({.op = Op::atomic});
    rounds(node, body);
    if (node.possessive) {
      push({.op = Op::done});
      at(atomic).a = here();
    }
  }

  std::size_t size_of(const Node& node) const {
    std::size_t size = 1 + node.text.size();
    for (const Node& child : node.children) size += size_of(child);
    return size;
  }

  void rounds(const Node& node, const Node& body) {
    const std::uint32_t written = node.max == kEndless ? node.min + 1 : node.max;
    if (written > 1 && size_of(body) * written > kUnrolled) return counted(node, body);
    for (std::uint32_t i = 0; i < node.min; ++i) compile(body);
    if (node.max == kEndless) {
      const std::uint32_t loop = program.registers++;
      const std::uint32_t split = push({.op = Op::split});
      const std::uint32_t inside = push({.op = Op::mark, .a = loop});
      compile(body);
      push({.op = Op::loop, .a = split, .b = loop});
      at(split).a = node.lazy ? here() : inside;
      at(split).b = node.lazy ? inside : here();
      return;
    }
    std::vector<std::uint32_t> splits;
    for (std::uint32_t i = node.min; i < node.max; ++i) {
      splits.push_back(push({.op = Op::split}));
      compile(body);
    }
    for (const std::uint32_t split : splits) {
      at(split).a = node.lazy ? here() : split + 1;
      at(split).b = node.lazy ? split + 1 : here();
    }
  }

  void counted(const Node& node, const Node& body) {
    const std::uint32_t counter = program.registers++, place = program.registers++;
    program.saves = true;
    push({.op = Op::zero, .a = counter});
    const std::uint32_t head = push({.op = Op::count, .lazy = node.lazy, .a = counter, .b = node.min, .c = node.max});
    push({.op = Op::mark, .a = place});
    compile(body);
    push({.op = Op::again, .flag = node.max == kEndless, .a = counter, .b = head, .c = place});
    at(head).exit = here();
  }
};

Regex::Program::Program(std::string pattern) : source(std::move(pattern)) {
  const regex::Tree tree = regex::parse(source);
  Compiler compiler{*this, {}, {}, {}};
  compiler.note_references(tree.root);
  compiler.compile(tree.root);
  compiler.push({.op = Op::done});
  Start start = start_of(tree.root);
  if (!start.nullable && start.set != everything()) first.emplace(start.set);
}

}  // namespace enfold::tok
