#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "added_tokens.hpp"
#include "decode_table.hpp"
#include "decoders.hpp"
#include "late.hpp"
#include "models.hpp"
#include "normalizers.hpp"
#include "plan.hpp"
#include "post_processor.hpp"
#include "pre_tokenizers.hpp"
#include "rows.hpp"

namespace enfold::tok {

// One input sequence: a text, or words that are cut already. The views must outlive the call.
struct SequenceInput {
  std::string_view text;
  const std::vector<std::string_view>* words = nullptr;
};

// What a call wants besides ids.
struct Wanted {
  bool offsets = true, words = true, special_tokens = true;
  bool overflow = true;  // what truncation cut, as further rows
  bool bytes = false;  // offsets count bytes
};

// Everything that a tokenizer.json says, immutable: an encode in one thread never sees a change made in another.
class Core {
 public:
  struct Options {
    std::optional<Truncation> truncation;
    std::optional<Padding> padding;
  };
  static std::shared_ptr<const Core> read(std::string_view source, Options& options);
  std::shared_ptr<const Core> with_added(const std::vector<AddedToken>& tokens, std::size_t& added) const;
  // `to_print`: name what is Python code, instead of refusing it.
  std::string dump(const Options& options, bool to_print = false) const;

  // What a tokenizer consists of besides its added tokens. A specification is JSON; it is empty for a component that is
  // Python code.
  struct Components {
    std::shared_ptr<const Model> model;
    std::shared_ptr<const Normalizer> normalizer;
    std::shared_ptr<const PreTokenizer> pre_tokenizer;
    std::shared_ptr<const PostProcessor> post;
    std::shared_ptr<const Decoder> decoder;
    std::string normalizer_spec = "null", pre_tokenizer_spec = "null", post_spec = "null", decoder_spec = "null";
  };
  static std::shared_ptr<const Core> of(std::shared_ptr<const Model> model);
  const Components& components() const { return components_; }
  // The same tokenizer with other components.
  std::shared_ptr<const Core> with(Components components) const;

  const Model& model() const { return *components_.model; }
  const AddedTokens& added() const { return *added_; }
  Id find(std::string_view token) const { return added_->find(token, model()); }
  // Null-data view for an id that no token has.
  std::string_view token(Id id) const;
  // The text of a token in an encoding, unless the row has one of its own for it: the model's, if the model has the id.
  std::string_view plain_token(Id id) const;
  std::size_t size(bool with_added) const;
  std::size_t id_limit() const;  // one more than the largest id
  std::size_t added_by_template(bool pair) const { return components_.post ? components_.post->added(pair) : 0; }
  bool plan_runs() const { return plan_ != nullptr; }
  // The same tokenizer on the literal path alone (the differential tests hold the two against each other).
  std::shared_ptr<const Core> without_plan() const;
  // The same tokenizer that takes special tokens in a text for plain text, or no longer does.
  std::shared_ptr<const Core> splitting_special(bool split) const;
  bool splits_special() const { return split_special_; }

  // Encodes one input into rows: truncation, template, overflow.
  void encode(const SequenceInput& first, const SequenceInput* second, std::int32_t sample, const Wanted& wanted,
              const Truncation* truncation, Scratch& scratch, Rows& out) const;
  void process(const Tokens& first, const Tokens* second, std::int32_t sample, const Wanted& wanted,
               const Truncation* truncation, Rows& out) const;
  std::string decode(const Id* ids, std::size_t n, bool skip_special_tokens) const;

  // Working memory (word caches, buffers) for one thread at a time.
  class Lease {
   public:
    explicit Lease(const Core& core);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Scratch& operator*() { return *scratch_; }

   private:
    const Core& core_;
    std::unique_ptr<Scratch> scratch_;
  };

 private:
  class RowWriter;
  void encode_sequence(const SequenceInput& input, Tokens& out, Scratch& scratch) const;
  void encode_text(std::string_view text, Tokens& out, Scratch& scratch) const;
  void encode_literally(std::string_view text, std::size_t begin, std::size_t end, std::uint32_t& word, Tokens& out,
                        Scratch& scratch) const;
  // Keeps the text of the token that comes next, if its id reads otherwise.
  void push_text(Id id, std::string_view text, Tokens& out) const;
  void encode_through_splits(std::string_view text, Tokens& out, Scratch& scratch) const;
  void push_added(Id id, std::string_view text, Span offset, std::uint32_t word, Tokens& out) const;
  void prepare();
  const BlankTable& blank_table() const;

  Components components_;
  std::shared_ptr<const AddedTokens> added_;
  std::shared_ptr<const Plan> plan_;
  // White space at both ends of each token, for processors that trim it from offsets.
  std::shared_ptr<const Late<BlankTable>> blanks_;
  bool split_special_ = false;

  struct Pool {
    std::mutex mutex;
    std::vector<std::unique_ptr<Scratch>> idle;
  };
  std::shared_ptr<Pool> pool_ = std::make_shared<Pool>();

  // A table for decoding is made when enough has been decoded to be worth it.
  struct Decoding {
    std::atomic<std::size_t> tokens{0};
    std::once_flag once;
    std::unique_ptr<const DecodeTable> table;
  };
  const DecodeTable* decode_table(std::size_t tokens) const;
  std::shared_ptr<Decoding> decoding_ = std::make_shared<Decoding>();
};

}  // namespace enfold::tok
