#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "char_set.hpp"
#include "regex.hpp"
#include "regex_tree.hpp"

namespace enfold::tok {

// What the matcher runs.
struct Regex::Program {
  enum class Op : std::uint8_t {
    text,       // literal bytes: a, b are their place and length in `literals`
    set,        // one character of set a
    run,        // b to c characters of set a, as many as possible; flag: all or nothing after
    split,      // go on at a; failing that, at b
    jump,       // go on at a
    anchor,     // a: which
    ahead,      // the body up to its `done` is tried here, then on at a; flag: it must not match
    behind,     // the same, tried from b to c characters back, so that it ends here
    arrive,     // end of a look-behind's body
    atomic,     // the body up to its `done`, never entered again, then on at a
    mark,       // register a takes the place
    loop,       // back to a, unless the round matched nothing since register b was marked
    zero,       // register a counts from 0
    count,      // register a: before b rounds on to the next one, before c rounds that or the exit, then the exit
    again,      // register a counts one round more, back to b
    save,       // register a takes the place, as a start or end of a group
    reference,  // what one of the groups in `references[a]` matched; flag: in any case
    keep,       // the match starts here
    done,
  };
  struct Instruction {
    Op op;
    bool flag = false;
    bool lazy = false;
    std::uint32_t a = 0, b = 0, c = 0;
    std::uint32_t exit = 0;  // count: where the loop ends
  };

  std::string source;
  std::vector<Instruction> code;
  std::vector<CharTable> sets;
  std::string literals;
  std::vector<std::vector<std::uint32_t>> references;  // registers of the groups' starts; their ends follow them
  std::uint32_t registers = 1;     // register 0 is where \K put the start of the match
  bool saves = false;              // whether any register outlives an atomic group
  std::optional<CharTable> first;  // how every match starts, if that is known

  explicit Program(std::string pattern);

 private:
  struct Compiler;
};

}  // namespace enfold::tok
