#pragma once

#include <memory>
#include <mutex>
#include <optional>

namespace enfold::tok {

// Made when it is needed first: many tokenizers are loaded, changed and saved before they encode, if they ever do.
template <typename T>
class Late {
 public:
  template <typename Make>
  const T& get(Make&& make) const {
    std::call_once(state_->once, [&] { state_->value.emplace(make()); });
    return *state_->value;
  }

 private:
  struct State {
    std::once_flag once;
    std::optional<T> value;
  };
  std::unique_ptr<State> state_ = std::make_unique<State>();
};

}  // namespace enfold::tok
