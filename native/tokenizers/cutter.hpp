#pragma once

#include <optional>
#include <vector>

#include "pre_tokenizers.hpp"
#include "scanner.hpp"

namespace enfold::tok {

// Cuts a text as a chain of pre-tokenizers does of which none changes it.
class Cutter {
 public:
  // Adds what a pre-tokenizer does to the chain; false if it might change the text.
  bool add(const PreTokenizer& pre_tokenizer);
  void add(Style style) { steps_.push_back({Step::Kind::style, style, true, nullptr}); }

  // Calls emit(begin, end) for each piece.
  template <typename Emit>
  void cut(const char* p, const char* end, Emit&& emit) const {
    if (steps_.empty()) {
      if (p < end) emit(p, end);
    } else if (steps_.size() == 1 && steps_[0].kind == Step::Kind::style) {
      by_style(steps_[0], p, end, emit);
    } else {
      from_step(0, p, end, emit);
    }
  }

 private:
  struct Step {
    enum class Kind { style, digits, runs_of_digits, other } kind;
    Style style;
    bool keeps;  // what the style does not match is a piece as well
    const PreTokenizer* other;
  };

  template <typename Emit>
  static void by_style(const Step& step, const char* p, const char* end, Emit&& emit) {
    const char* last = p;
    scan(step.style, p, end, [&](const char* a, const char* b) {
      if (step.keeps && last != a) emit(last, a);
      last = b;
      emit(a, b);
    });
    if (step.keeps && last != end) emit(last, end);
  }

  template <typename Emit>
  static void by_digits(bool each, const char* p, const char* end, Emit&& emit) {
    const char* last = p;
    bool in = false;  // [last, p) is a run of digits
    while (p < end) {
      const auto lead = static_cast<unsigned char>(*p);
      const bool digit =
          lead < 0x80 ? static_cast<unsigned char>(lead - '0') < 10 : unicode::has(unicode::decode(p), unicode::kDigit);
      if (last < p && (digit != in || (digit && each))) {
        emit(last, p);
        last = p;
      }
      in = digit;
      p += unicode::length(lead);
    }
    if (last < end) emit(last, end);
  }

  template <typename Emit>
  static void by_other(const PreTokenizer& other, const char* p, const char* end, Emit&& emit) {
    std::vector<Aligned> pieces{Aligned::from({p, static_cast<std::size_t>(end - p)}, 0)};
    other.apply(pieces);
    for (const Aligned& piece : pieces) {
      if (!piece.text.empty()) emit(p + piece.covers.begin, p + piece.covers.end);
    }
  }

  template <typename Emit>
  void from_step(std::size_t at, const char* p, const char* end, Emit& emit) const {
    if (at == steps_.size()) return emit(p, end);
    const Step& step = steps_[at];
    const auto next = [&](const char* a, const char* b) { from_step(at + 1, a, b, emit); };
    switch (step.kind) {
      case Step::Kind::style: return by_style(step, p, end, next);
      case Step::Kind::digits: return by_digits(true, p, end, next);
      case Step::Kind::runs_of_digits: return by_digits(false, p, end, next);
      case Step::Kind::other: return by_other(*step.other, p, end, next);
    }
  }

  std::vector<Step> steps_;
};

}  // namespace enfold::tok
