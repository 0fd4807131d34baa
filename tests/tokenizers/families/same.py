"""Two tokenizers, ours and transformers', asked for everything."""

TEXTS = [
    "",
    " ",
    "Hello, world! It's 2024 and I don't know.",
    "  two  spaces \n and\ttabs, naïve café — “quotes” ½ ﬁ",
    "def add(self, other):\n    return self.x[0] + 1",
    "今天天气很好。Привет мир! مرحبا 👩‍👩‍👧 🇫🇷",
    "``quoted'' ÀÉÎ ß İ　full　width １２３ ▁ mark",
]
PAIRS = [("first text", "second, longer text of the pair"), ("one", "two")]
OPTIONS = [
    {},
    {"add_special_tokens": False},
    {"padding": True, "return_special_tokens_mask": True},
    {"padding": "max_length", "truncation": True, "max_length": 11},
    {"truncation": "only_first", "max_length": 9, "padding": True, "padding_side": "left"},
    {"return_token_type_ids": True, "return_length": True},
]
ATTRIBUTES = (
    "model_input_names",
    "padding_side",
    "truncation_side",
    "pad_token_type_id",
    "vocab_size",
    "is_fast",
    "special_tokens_map",
    "all_special_tokens",
    "all_special_ids",
    "extra_special_tokens",
)


def same_attributes(ours, theirs):
    assert type(ours).__name__ == type(theirs).__name__.replace("TokenizersBackend", "PreTrainedTokenizerFast")
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("model_max_length", "clean_up_tokenization_spaces", "add_prefix_space", "split_special_tokens"):
        if hasattr(theirs, name) and hasattr(ours, name):
            assert getattr(ours, name) == getattr(theirs, name), name
    assert {i: repr(token) for i, token in ours.added_tokens_decoder.items()} == {
        i: repr(token) for i, token in theirs.added_tokens_decoder.items()
    }
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_added_vocab() == theirs.get_added_vocab()


def same_calls(ours, theirs):
    fast = theirs.is_fast
    special = " ".join(theirs.all_special_tokens[:4])
    texts = [*TEXTS, f"a{special}b {special} c"]
    for options in OPTIONS:
        if options.get("padding") and theirs.pad_token is None:
            continue
        asked = {**options, "return_offsets_mapping": True} if fast else options
        for batch in (texts, *([] if options.get("truncation") == "only_first" else [PAIRS])):
            expected, found = theirs(batch, **asked), ours(batch, **asked)
            assert dict(found) == dict(expected), options
            if fast:
                for row in range(len(batch)):
                    assert found.word_ids(row) == expected.word_ids(row), batch[row]
                    assert found.tokens(row) == expected.tokens(row), batch[row]
                    assert found.sequence_ids(row) == expected.sequence_ids(row), batch[row]
    for text in texts:
        ids = theirs(text)["input_ids"]
        assert ours(text)["input_ids"] == ours.encode(text) == ids, text
        assert ours.tokenize(text) == theirs.tokenize(text), text
        for skip in (False, True):
            for tidy in (None, True):
                asked = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": tidy}
                assert ours.decode(ids, **asked) == theirs.decode(ids, **asked), (text, asked)
        tokens = theirs.convert_ids_to_tokens(ids)
        assert ours.convert_ids_to_tokens(ids) == tokens
        assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
    for pair in (False, True):
        assert ours.num_special_tokens_to_add(pair) == theirs.num_special_tokens_to_add(pair)
