#include "tokenizer_object.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "custom.hpp"
#include "inputs.hpp"

namespace enfold::tok {

namespace {

const char* name_of(Strategy strategy) {
  const char* names[] = {"longest_first", "only_first", "only_second"};
  return names[static_cast<int>(strategy)];
}

constexpr std::size_t kShortRow = 1024;  // ids

const char* name_of(Side side) { return side == Side::left ? "left" : "right"; }

}  // namespace

Strategy strategy_of(std::string_view name) {
  if (name == "longest_first") return Strategy::longest_first;
  if (name == "only_first") return Strategy::only_first;
  if (name == "only_second") return Strategy::only_second;
  throw Error(
      "strategy should be 'longest_first', 'only_first' or "
      "'only_second', got '" +
      std::string(name) + "'");
}

Truncation truncation_of(const nb::dict& spec) {
  Truncation made;
  for (const auto& [key, value] : spec) {
    const auto name = nb::cast<std::string>(key);
    if (name == "max_length") made.max_length = nb::cast<std::size_t>(value);
    else if (name == "stride") made.stride = nb::cast<std::size_t>(value);
    else if (name == "strategy") made.strategy = strategy_of(nb::cast<std::string>(value));
    else if (name == "direction") made.direction = side_of(nb::cast<std::string>(value), "direction");
    else throw Error("unknown truncation option '" + name + "': expected max_length, stride, strategy or direction");
  }
  return made;
}

template <>
struct Tokenizer::Part<Model> {
  static constexpr auto slot = &Slots::model;
  static constexpr auto component = &Core::Components::model;
};

template <>
struct Tokenizer::Part<Normalizer> {
  static constexpr auto slot = &Slots::normalizer;
  static constexpr auto component = &Core::Components::normalizer;
  static constexpr auto spec = &Core::Components::normalizer_spec;
};

template <>
struct Tokenizer::Part<PreTokenizer> {
  static constexpr auto slot = &Slots::pre_tokenizer;
  static constexpr auto component = &Core::Components::pre_tokenizer;
  static constexpr auto spec = &Core::Components::pre_tokenizer_spec;
};

template <>
struct Tokenizer::Part<PostProcessor> {
  static constexpr auto slot = &Slots::post;
  static constexpr auto component = &Core::Components::post;
  static constexpr auto spec = &Core::Components::post_spec;
};

template <>
struct Tokenizer::Part<Decoder> {
  static constexpr auto slot = &Slots::decoder;
  static constexpr auto component = &Core::Components::decoder;
  static constexpr auto spec = &Core::Components::decoder_spec;
};

Tokenizer::Tokenizer(std::shared_ptr<Slot<Model>> model) : core_(Core::of(model->get())) {
  slots_.model = std::move(model);
}

Tokenizer::Tokenizer(const Tokenizer& other) : options(other.options), core_(other.core()), seen_(other.seen_) {
  const auto clone = [](auto& mine, const auto& theirs) {
    if (theirs) mine = theirs->clone();
  };
  clone(slots_.model, other.slots_.model);
  clone(slots_.normalizer, other.slots_.normalizer);
  clone(slots_.pre_tokenizer, other.slots_.pre_tokenizer);
  clone(slots_.post, other.slots_.post);
  clone(slots_.decoder, other.slots_.decoder);
}

Tokenizer Tokenizer::from_source(std::string_view source) {
  Tokenizer made;
  const nb::gil_scoped_release released;
  made.core_ = Core::read(source, made.options);
  return made;
}

void Tokenizer::refresh() const {
  const std::uint64_t now = component_changes;
  Core::Components components = core_->components();
  bool differs = false;
  const auto take = [&]<typename T>(const std::shared_ptr<Slot<T>>& slot) {
    if (!slot || slot->changed() <= seen_) return;
    components.*Part<T>::component = slot->get();
    if constexpr (!std::is_same_v<T, Model>) components.*Part<T>::spec = slot->spec();
    differs = true;
  };
  take(slots_.model);
  take(slots_.normalizer);
  take(slots_.pre_tokenizer);
  take(slots_.post);
  take(slots_.decoder);
  if (differs) core_ = core_->with(std::move(components));
  seen_ = now;
}

template <typename T>
std::shared_ptr<Slot<T>> Tokenizer::slot() {
  auto& slot = slots_.*Part<T>::slot;
  const auto& components = core()->components();
  const auto& component = components.*Part<T>::component;
  if (slot || !component) return slot;
  if constexpr (std::is_same_v<T, Model>) slot = std::make_shared<Slot<T>>(component);
  else slot = std::make_shared<Slot<T>>(components.*Part<T>::spec);
  seen_ = component_changes;  // reading the specification again changed nothing
  return slot;
}

template <typename T>
void Tokenizer::set_slot(std::shared_ptr<Slot<T>> slot) {
  Core::Components components = core()->components();
  components.*Part<T>::component = slot ? slot->get() : nullptr;
  if constexpr (!std::is_same_v<T, Model>) components.*Part<T>::spec = slot ? slot->spec() : "null";
  core_ = core_->with(std::move(components));
  seen_ = component_changes;
  slots_.*Part<T>::slot = std::move(slot);
}

template <typename T>
void Tokenizer::hold(std::shared_ptr<Slot<T>> slot) {
  slots_.*Part<T>::slot = std::move(slot);
}

int Tokenizer::traverse(visitproc visit, void* arg) const {
  int stopped = 0;
  const auto all = [&](auto&&... visits) { (void)((stopped = visits()) || ...); };
  const auto& parts = core_->components();
  if (core_.use_count() == 1) {
    all([&] { return visit_code(parts.normalizer, visit, arg); },
        [&] { return visit_code(parts.pre_tokenizer, visit, arg); },
        [&] { return visit_code(parts.decoder, visit, arg); });
    if (stopped) return stopped;
  }
  all([&] { return visit_slot(slots_.normalizer, visit, arg); },
      [&] { return visit_slot(slots_.pre_tokenizer, visit, arg); },
      [&] { return visit_slot(slots_.decoder, visit, arg); });
  return stopped;
}

template std::shared_ptr<Slot<Model>> Tokenizer::slot();
template std::shared_ptr<Slot<Normalizer>> Tokenizer::slot();
template std::shared_ptr<Slot<PreTokenizer>> Tokenizer::slot();
template std::shared_ptr<Slot<PostProcessor>> Tokenizer::slot();
template std::shared_ptr<Slot<Decoder>> Tokenizer::slot();
template void Tokenizer::set_slot(std::shared_ptr<Slot<Model>>);
template void Tokenizer::hold(std::shared_ptr<Slot<Model>>);
template void Tokenizer::set_slot(std::shared_ptr<Slot<Normalizer>>);
template void Tokenizer::hold(std::shared_ptr<Slot<Normalizer>>);
template void Tokenizer::set_slot(std::shared_ptr<Slot<PreTokenizer>>);
template void Tokenizer::hold(std::shared_ptr<Slot<PreTokenizer>>);
template void Tokenizer::set_slot(std::shared_ptr<Slot<PostProcessor>>);
template void Tokenizer::hold(std::shared_ptr<Slot<PostProcessor>>);
template void Tokenizer::set_slot(std::shared_ptr<Slot<Decoder>>);
template void Tokenizer::hold(std::shared_ptr<Slot<Decoder>>);

std::string Tokenizer::dump() const {
  const auto by = core();
  const nb::gil_scoped_release released;
  return by->dump(options);
}

std::shared_ptr<const Rows> Tokenizer::rows(const Inputs& inputs, const Wanted& wanted,
                                            const std::shared_ptr<const Core>& by) const {
  const Core::Options now = options;
  const nb::gil_scoped_release released;
  Rows made = inputs.encode(*by, wanted, now.truncation ? &*now.truncation : nullptr);
  if (now.padding) {
    made = pad(made, padded_length(made, *now.padding), *now.padding,
               by->plain_token(now.padding->id) == now.padding->token);
  }
  return std::make_shared<const Rows>(std::move(made));
}

EncodingView Tokenizer::encode(nb::handle sequence, nb::handle pair, bool is_pretokenized,
                               bool add_special_tokens) const {
  Inputs inputs;
  if (pair.is_none()) inputs.add_single(sequence, is_pretokenized);
  else inputs.add(sequence, pair, is_pretokenized);
  const auto by = core();
  auto made = rows(inputs, {true, true, add_special_tokens}, by);
  const std::size_t n = made->size();
  return {std::move(made), by, 0, n};
}

nb::object Tokenizer::encode_batch(nb::handle batch, bool is_pretokenized, bool add_special_tokens) const {
  Inputs inputs;
  inputs.add_all(batch, is_pretokenized);
  const auto by = core();
  const auto made = rows(inputs, {true, true, add_special_tokens}, by);
  nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(inputs.size())));
  if (!list.is_valid()) throw nb::python_error();
  Py_ssize_t at = 0;
  for (std::size_t row = 0; row < made->size();) {
    std::size_t end = row + 1;
    while (end < made->size() && made->samples[end] == made->samples[row]) ++end;
    PyList_SET_ITEM(list.ptr(), at++, nb::cast(EncodingView{made, by, row, end}).release().ptr());
    row = end;
  }
  return list;
}

EncodedBatch Tokenizer::encode_arrays(nb::handle batch, bool add_special_tokens, bool is_pretokenized,
                                      const std::optional<nb::dict>& truncation, nb::handle offsets, bool words,
                                      bool overflow) const {
  const bool bytes = PyUnicode_Check(offsets.ptr()) && nb::cast<std::string>(offsets) == "bytes";
  bool characters = false;
  if (!bytes && !nb::try_cast(offsets, characters, false)) {
    throw nb::value_error("offsets should be True, False or 'bytes'");
  }
  std::optional<Truncation> cut;
  if (truncation) cut = truncation_of(*truncation);
  Inputs inputs;
  inputs.add_all(batch, is_pretokenized);
  EncodedBatch made{nullptr, core()};
  const nb::gil_scoped_release released;
  made.rows = std::make_shared<const Rows>(inputs.encode(
      *made.core, {bytes || characters, words || (bytes && is_pretokenized), add_special_tokens, overflow, bytes},
      cut ? &*cut : nullptr));
  return made;
}

template <typename Use>
nb::object Tokenizer::encode_one(nb::handle text, bool add_special_tokens, Use&& use) const {
  if (!PyUnicode_Check(text.ptr())) throw nb::type_error("a text should be a str");
  const TextRef source = TextRef::of(text.ptr());
  const auto by = core();
  Core::Lease scratch(*by);
  Rows& rows = (*scratch).rows;
  const auto encode = [&] {
    (*scratch).utf8[0].clear();
    rows.clear();
    const SequenceInput input{source.utf8((*scratch).utf8[0]), nullptr};
    by->encode(input, nullptr, 0, {false, false, add_special_tokens}, nullptr, *scratch, rows);
  };
  if (source.bytes() < kShortText) {
    encode();
  } else {
    const nb::gil_scoped_release released;
    encode();
  }
  return use(*by, rows);
}

nb::object Tokenizer::encode_ids(nb::handle text, bool add_special_tokens) const {
  return encode_one(text, add_special_tokens,
                    [](const Core&, const Rows& rows) { return int_list(rows.ids.data(), rows.ids.size()); });
}

nb::object Tokenizer::encode_tokens(nb::handle text, bool add_special_tokens) const {
  return encode_one(text, add_special_tokens, [](const Core& by, const Rows& rows) {
    nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(rows.ids.size())));
    if (!list.is_valid()) throw nb::python_error();
    for (std::size_t i = 0; i < rows.ids.size(); ++i) {
      nb::object token = token_text(&by, rows, i);
      if (!token.is_valid()) throw nb::python_error();
      PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), token.release().ptr());
    }
    return list;
  });
}

std::string Tokenizer::decode(const std::vector<Id>& ids, bool skip_special_tokens) const {
  const auto by = core();
  // Python code may decode; a short row is decoded faster than the lock changes hands.
  if (ids.size() < kShortRow) return by->decode(ids.data(), ids.size(), skip_special_tokens);
  const nb::gil_scoped_release released;
  return by->decode(ids.data(), ids.size(), skip_special_tokens);
}

nb::object Tokenizer::truncation() const {
  if (!options.truncation) return nb::none();
  nb::dict out;
  out["max_length"] = options.truncation->max_length;
  out["stride"] = options.truncation->stride;
  out["strategy"] = name_of(options.truncation->strategy);
  out["direction"] = name_of(options.truncation->direction);
  return out;
}

nb::object Tokenizer::padding() const {
  if (!options.padding) return nb::none();
  const Padding& p = *options.padding;
  nb::dict out;
  out["length"] = p.fixed ? nb::cast(p.length) : nb::none();
  out["pad_to_multiple_of"] = p.multiple ? nb::cast(p.multiple) : nb::none();
  out["pad_id"] = p.id;
  out["pad_token"] = p.token;
  out["pad_type_id"] = p.type_id;
  out["direction"] = name_of(p.direction);
  return out;
}

std::size_t Tokenizer::add(nb::handle tokens, bool special) {
  if (PyUnicode_Check(tokens.ptr())) throw nb::type_error("tokens to add should come in a list, got a str");
  std::vector<AddedToken> list;
  for (const nb::handle token : nb::iter(tokens)) {
    PyAddedToken made = added_token_of(token);
    made.token.special |= special;
    list.push_back(made.resolved());
  }
  std::size_t added = 0;
  core_ = core()->with_added(list, added);
  return added;
}

}  // namespace enfold::tok
