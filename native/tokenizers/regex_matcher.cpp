#include <algorithm>
#include <cstring>
#include <utility>

#include "errors.hpp"
#include "regex_program.hpp"
#include "unicode.hpp"

namespace enfold::tok {

namespace {

// Some hundred million steps take a second.
constexpr std::size_t kSteps = 20'000'000, kStepsForByte = 5'000, kMostSteps = 2'000'000'000;

}  // namespace

struct Regex::Matcher::Machine {
  using Program = Regex::Program;
  using Op = Program::Op;
  using Instruction = Program::Instruction;

  const Program& program;
  std::string_view text;
  std::size_t limit, steps = 0;
  std::size_t from = 0;  // where the search began, for \G
  std::size_t stop;      // nothing is matched beyond: the end of the text, within a look-behind its own place
  std::vector<std::size_t> registers, arrivals;
  struct Frame {
    enum Kind : std::uint8_t { kTry, kRun, kRestore } kind;
    std::uint32_t pc;   // where to go on; the register to restore
    std::size_t at;     // where in the text; the register's value
    std::size_t least;  // kRun: the shortest end that is allowed
  };
  std::vector<Frame> stack;

  Machine(const Program& p, std::string_view t)
      : program(p),
        text(t),
        limit(kSteps + std::min(kStepsForByte * t.size(), kMostSteps)),
        stop(t.size()),
        registers(p.registers, kNowhere) {}

  std::size_t length_at(std::size_t at) const { return unicode::length(static_cast<unsigned char>(text[at])); }
  std::size_t before(std::size_t at) const {
    do --at;
    while (at > 0 && unicode::is_continuation(text[at]));
    return at;
  }

  bool anchored(char which, std::size_t at) const {
    const auto word = [&](bool behind) {
      if (behind) return at > 0 && unicode::has(unicode::decode_before(text, at), unicode::kRegexWord);
      return at < text.size() && unicode::has(unicode::decode(text.data() + at), unicode::kRegexWord);
    };
    switch (which) {
      case '^': return at == 0 || (text[at - 1] == '\n' && at < text.size());
      case '$': return at == text.size() || text[at] == '\n';
      case 'A': return at == 0;
      case 'z': return at == text.size();
      case 'Z': return at == text.size() || (at + 1 == text.size() && text[at] == '\n');
      case 'G': return at == from;
      case 'b': return word(true) != word(false);
      default: return word(true) == word(false);
    }
  }

  void set_register(std::uint32_t which, std::size_t value) {
    stack.push_back({Frame::kRestore, which, registers[which], 0});
    registers[which] = value;
  }

  // Forgets the ways not taken above `floor`, but not what registers held before.
  void settle(std::size_t floor) {
    if (!program.saves) return stack.resize(floor);
    std::size_t kept = floor;
    for (std::size_t i = floor; i < stack.size(); ++i) {
      if (stack[i].kind == Frame::kRestore) stack[kept++] = stack[i];
    }
    stack.resize(kept);
  }
  // Takes everything above `floor` back.
  void unwind(std::size_t floor) {
    for (; stack.size() > floor; stack.pop_back()) {
      if (stack.back().kind == Frame::kRestore) registers[stack.back().pc] = stack.back().at;
    }
  }

  // What a group matched once more, or in another case.
  bool repeats(const Instruction& now, std::size_t& at) const {
    for (const std::uint32_t group : program.references[now.a]) {
      const std::size_t begin = registers[group], end = registers[group + 1];
      if (begin == kNowhere || end == kNowhere) continue;
      const std::string_view meant = text.substr(begin, end - begin);
      if (!now.flag) {
        if (!text.substr(at, stop - at).starts_with(meant)) continue;
        at += meant.size();
        return true;
      }
      // In another case it may take fewer bytes than the first time, but not more.
      if (stop - at < meant.size()) continue;
      const std::size_t end_at = at + meant.size();
      std::size_t i = 0, k = at;
      while (i < meant.size() && k < end_at &&
             chars::fold(unicode::decode(meant.data() + i)) == chars::fold(unicode::decode(text.data() + k))) {
        i += unicode::length(static_cast<unsigned char>(meant[i]));
        k += length_at(k);
      }
      if (i < meant.size() || k > end_at) continue;
      at = k;
      return true;
    }
    return false;
  }

  bool looks_behind(std::uint32_t pc, std::size_t at) {
    const Instruction& now = program.code[pc];
    std::size_t start = at;
    std::uint32_t n = 0;
    for (; n < now.b; ++n) {
      if (start == 0) return false;
      start = before(start);
    }
    arrivals.push_back(at);
    const std::size_t outer = std::exchange(stop, at);
    bool found = false;
    for (;; ++n) {
      std::size_t inner = start;
      found = run(pc + 1, inner);
      if (found || n >= now.c || start == 0) break;
      start = before(start);
    }
    arrivals.pop_back();
    stop = outer;
    return found;
  }

  // Runs from `pc` until `done` or `arrive`; true with `at` at the end of the match.
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
        case Op::text:
          alive = stop - at >= now.b &&
                  std::memcmp(text.data() + at, program.literals.data() + now.a, now.b) == 0;
          at += now.b, ++pc;
          break;
        case Op::set:
          alive = at < stop && program.sets[now.a].has(unicode::decode(text.data() + at));
          if (alive) at += length_at(at), ++pc;
          break;
        case Op::run: {
          const CharTable& set = program.sets[now.a];
          std::uint32_t n = 0;
          std::size_t least = at;
          while (n < now.c && at < stop && set.has(unicode::decode(text.data() + at))) {
            at += length_at(at);
            if (++n == now.b) least = at;
          }
          steps += n / 8;
          alive = n >= now.b;
          ++pc;
          if (alive && !now.flag && at > least) stack.push_back({Frame::kRun, pc, at, least});
          break;
        }
        case Op::split:
          stack.push_back({Frame::kTry, now.b, at, 0});
          pc = now.a;
          break;
        case Op::jump: pc = now.a; break;
        case Op::anchor:
          alive = anchored(static_cast<char>(now.a), at);
          ++pc;
          break;
        case Op::ahead: {
          std::size_t inner = at;
          const std::size_t mark = stack.size();
          const bool found = run(pc + 1, inner);
          if (now.flag) unwind(mark);
          alive = found != now.flag;
          pc = now.a;
          break;
        }
        case Op::behind: {
          const std::size_t mark = stack.size();
          const bool found = looks_behind(pc, at);
          if (now.flag) unwind(mark);
          alive = found != now.flag;
          pc = now.a;
          break;
        }
        case Op::atomic: {
          const std::uint32_t after = now.a;
          alive = run(pc + 1, at);
          pc = after;
          break;
        }
        case Op::mark: set_register(now.a, at), ++pc; break;
        case Op::loop:
          // A round that matched nothing would go on for ever.
          if (registers[now.b] == at) ++pc;
          else pc = now.a;
          break;
        case Op::zero: set_register(now.a, 0), ++pc; break;
        case Op::count: {
          const std::size_t rounds = registers[now.a];
          if (rounds >= now.b) {
            if (rounds >= now.c) {
              pc = now.exit;
              break;
            }
            stack.push_back({Frame::kTry, now.lazy ? pc + 1 : now.exit, at, 0});
            pc = now.lazy ? now.exit : pc + 1;
            break;
          }
          ++pc;
          break;
        }
        case Op::again: {
          const bool idle = now.flag && registers[now.c] == at;
          set_register(now.a, registers[now.a] + 1);
          pc = idle ? program.code[now.b].exit : now.b;
          break;
        }
        case Op::save:
          if (now.flag) {
            set_register(now.a, registers[now.b]);
            set_register(now.a + 1, at);
          } else {
            set_register(now.a, at);
          }
          ++pc;
          break;
        case Op::reference: {
          const std::size_t start = at;
          alive = repeats(now, at);
          steps += (at - start) / 8;
          ++pc;
          break;
        }
        case Op::keep: set_register(0, at), ++pc; break;
        case Op::arrive:
          alive = at == arrivals.back();
          if (!alive) break;
          settle(floor);
          return true;
        case Op::done: settle(floor); return true;
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
        top.at = before(top.at);
        pc = top.pc;
        at = top.at;
        if (top.at <= top.least) stack.pop_back();
        break;
      }
    }
  }
};

Regex::Matcher::Matcher(const Regex& regex, std::string_view text)
    : machine_(std::make_unique<Machine>(*regex.program_, text)) {}
Regex::Matcher::~Matcher() = default;

bool Regex::Matcher::find(std::size_t from, std::size_t& begin, std::size_t& end) {
  Machine& machine = *machine_;
  const std::string_view text = machine.text;
  machine.from = from;
  machine.stack.clear();
  machine.arrivals.clear();
  std::fill(machine.registers.begin(), machine.registers.end(), kNowhere);
  const auto& first = machine.program.first;
  for (begin = from; begin <= text.size(); begin = next_character(text, begin)) {
    if (first) {
      while (begin < text.size() && !first->has(unicode::decode(text.data() + begin))) {
        begin += machine.length_at(begin);
      }
      if (begin == text.size()) return false;
    }
    end = begin;
    if (machine.run(0, end)) {
      if (machine.registers[0] != kNowhere) begin = std::min(machine.registers[0], end);
      return true;
    }
  }
  return false;
}

Regex::Regex(std::string_view source) : program_(std::make_unique<Program>(std::string(source))) {}
Regex::~Regex() = default;

std::size_t Regex::next_character(std::string_view text, std::size_t at) {
  return at < text.size() ? at + unicode::length(static_cast<unsigned char>(text[at])) : text.size() + 1;
}

}  // namespace enfold::tok
