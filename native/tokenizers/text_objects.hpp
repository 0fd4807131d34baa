#pragma once

#include <memory>
#include <string>
#include <vector>

#include "binding.hpp"
#include "splits.hpp"

namespace enfold::tok {

// A text under normalisation, as Python holds it: one of its own, or one lent to Python code for the length of a call.
class NormalizedText {
 public:
  explicit NormalizedText(std::string_view text)
      : input_(std::make_shared<const std::string>(text)), own_(Aligned::from(*input_, 0)), at_(&own_) {}
  NormalizedText(std::shared_ptr<const std::string> input, Aligned text)
      : input_(std::move(input)), own_(std::move(text)), at_(&own_) {
    own_.input = *input_;
  }
  explicit NormalizedText(Aligned* lent) : at_(lent) {}
  NormalizedText(const NormalizedText&) = delete;
  NormalizedText& operator=(const NormalizedText&) = delete;

  Aligned& text() const {
    if (!at_) throw Error("a text was lent to Python code for the length of one call, and that call is over");
    return *at_;
  }
  void take_back() { at_ = nullptr; }
  std::string_view original() const {
    const Aligned& aligned = text();
    const auto [begin, end] = aligned.covers;
    if (begin >= end || end > aligned.input.size()) return {};
    return aligned.input.substr(begin, end - begin);
  }
  // A part of the text that lives on by itself.
  std::shared_ptr<NormalizedText> part(Aligned piece);

 private:
  std::shared_ptr<const std::string> input_;  // of a lent text: copied when a part needs it
  Aligned own_;
  Aligned* at_;
};

// A text that is being cut, as Python holds it: one of its own, or one lent to Python code for the length of a call.
class SplitText {
 public:
  explicit SplitText(std::string_view text)
      : shared_(std::make_shared<const std::string>(text)), input_(*shared_), at_(&own_) {
    own_.push_back({Aligned::from(input_, 0), {}});
  }
  SplitText(std::vector<Split>* lent, std::string_view input) : input_(input), at_(lent) {}
  SplitText(const SplitText&) = delete;
  SplitText& operator=(const SplitText&) = delete;

  std::vector<Split>& splits() const {
    if (!at_) throw Error("a text was lent to Python code for the length of one call, and that call is over");
    return *at_;
  }
  void take_back() { at_ = nullptr; }
  void split(nb::handle function);
  void normalize(nb::handle function);
  void tokenize(nb::handle function);
  EncodingView encoding(std::int32_t type_id, std::optional<std::int32_t> word) const;
  nb::list listed(bool normalized, bool characters) const;

 private:
  template <typename F>
  void change(F&& function);

  std::shared_ptr<const std::string> shared_;  // the input, if it was lent: copied when a part needs it
  std::string_view input_;
  std::vector<Split> own_;
  std::vector<Split>* at_;
};

// Takes back what was lent, whatever happens.
template <typename Lent>
struct Lending {
  explicit Lending(Lent& l) : lent(l) {}
  ~Lending() { lent.take_back(); }
  Lent& lent;
};

// A regular expression as Python holds it.
struct RegexObject {
  std::string source;
  Pattern pattern;
};

// A str or a Regex; an empty str is found nowhere.
std::vector<Cut> cuts_of(nb::handle pattern, std::string_view text);
Behavior behavior_of(nb::handle name);
Token token_of(nb::handle object);

}  // namespace enfold::tok
