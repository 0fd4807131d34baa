"""Components that are Python code and refer back to their tokenizer are freed with it."""

import copy
import gc
import weakref

import pytest

from enfold.tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers


class Code:
    """All three kinds in one."""

    def __init__(self):
        self.tokenizer = None
        self.calls = 0

    def normalize(self, normalized):
        self.calls += 1
        normalized.lowercase()

    def pre_tokenize(self, pretok):
        self.calls += 1
        pretok.split(lambda index, piece: piece.split(" ", "removed"))

    def decode_chain(self, tokens):
        self.calls += 1
        return [f"{token}." for token in tokens]


def tokenizer_of(code, kind, *, nested=False):
    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, "c"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if kind == "normalizer":
        part = normalizers.Normalizer.custom(code)
        made.normalizer = normalizers.Sequence([normalizers.NFC(), part]) if nested else part
    elif kind == "pre_tokenizer":
        part = pre_tokenizers.PreTokenizer.custom(code)
        made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), part]) if nested else part
    else:
        part = decoders.Decoder.custom(code)
        made.decoder = decoders.Sequence([part, decoders.Fuse()]) if nested else part
    code.tokenizer = made
    return made


def used(tokenizer):
    return tokenizer.encode("A b").ids, tokenizer.decode([0, 1])


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["normalizer", "pre_tokenizer", "decoder"])
def test_a_component_that_knows_its_tokenizer_is_freed(kind, nested):
    code = Code()
    tokenizer = tokenizer_of(code, kind, nested=nested)
    used(tokenizer)
    getattr(tokenizer, kind)  # an object of Python for it
    twin = copy.copy(tokenizer)
    used(twin)
    seen = weakref.ref(code)
    # As long as anybody holds the tokenizer, or its copy, the code lives and runs.
    del code, tokenizer
    gc.collect()
    assert seen() is not None
    calls = seen().calls
    used(twin)
    assert seen().calls > calls
    del twin
    gc.collect()
    assert seen() is None


def test_what_else_holds_the_code_keeps_it():
    code = Code()
    component = normalizers.Normalizer.custom(code)
    tokenizer_of(code, "decoder")
    code.component = component
    seen = weakref.ref(code)
    del code
    gc.collect()
    assert component.normalize_str("A") == "a"
    assert used(seen().tokenizer)[1] == "a.b."
    del component
    gc.collect()
    assert seen() is None


def test_an_encoding_outlives_its_tokenizer():
    code = Code()
    tokenizer = tokenizer_of(code, "pre_tokenizer")
    encoding = tokenizer.encode("b a")
    del code, tokenizer
    gc.collect()
    assert encoding.tokens == ["b", "a"]
