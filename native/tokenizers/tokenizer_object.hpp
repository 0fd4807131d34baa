#pragma once

#include <memory>

#include "binding.hpp"
#include "components.hpp"

namespace enfold::tok {

class Inputs;

// The Python class Tokenizer: a core, options of its own, and the places of the components that were handed out or set.
class Tokenizer {
 public:
  Core::Options options;

  Tokenizer() = default;
  explicit Tokenizer(std::shared_ptr<Slot<Model>> model);
  Tokenizer(const Tokenizer& other);
  Tokenizer(Tokenizer&&) = default;
  static Tokenizer from_source(std::string_view source);

  // As it is now, with every change made to its components so far.
  const std::shared_ptr<const Core>& core() const {
    if (seen_ != component_changes) refresh();
    return core_;
  }
  void set_core(std::shared_ptr<const Core> core) { core_ = std::move(core); }

  template <typename T>
  struct Part;
  // The place of one of the components; null if there is no such component.
  template <typename T>
  std::shared_ptr<Slot<T>> slot();
  template <typename T>
  void set_slot(std::shared_ptr<Slot<T>> slot);
  // The same place, as Python holds it.
  template <typename T>
  void hold(std::shared_ptr<Slot<T>> slot);
  // For Python's garbage collector.
  int traverse(visitproc visit, void* arg) const;

  std::string dump() const;
  std::shared_ptr<const Rows> rows(const Inputs& inputs, const Wanted& wanted,
                                   const std::shared_ptr<const Core>& by) const;
  EncodingView encode(nb::handle sequence, nb::handle pair, bool is_pretokenized, bool add_special_tokens) const;
  nb::object encode_batch(nb::handle batch, bool is_pretokenized, bool add_special_tokens) const;
  EncodedBatch encode_arrays(nb::handle batch, bool add_special_tokens, bool is_pretokenized,
                             const std::optional<nb::dict>& truncation, nb::handle offsets, bool words,
                             bool overflow) const;
  EncodingView post_process(EncodingView first, std::optional<EncodingView> second, bool special) const;
  nb::object encode_ids(nb::handle text, bool add_special_tokens) const;
  nb::object encode_tokens(nb::handle text, bool add_special_tokens) const;
  std::string decode(const std::vector<Id>& ids, bool skip_special_tokens) const;
  std::size_t add(nb::handle tokens, bool special);
  nb::object truncation() const;
  nb::object padding() const;

 private:
  void refresh() const;
  // Calls use(core, rows) with the row of one text, without offsets and words.
  template <typename Use>
  nb::object encode_one(nb::handle text, bool add_special_tokens, Use&& use) const;

  struct Slots {
    std::shared_ptr<Slot<Model>> model;
    std::shared_ptr<Slot<Normalizer>> normalizer;
    std::shared_ptr<Slot<PreTokenizer>> pre_tokenizer;
    std::shared_ptr<Slot<PostProcessor>> post;
    std::shared_ptr<Slot<Decoder>> decoder;
  };
  mutable std::shared_ptr<const Core> core_;
  Slots slots_;  // those not asked for yet are null
  mutable std::uint64_t seen_ = component_changes;
};

}  // namespace enfold::tok
