"""Components that are Python code, in a tokenizer and alone; changes made while other threads encode."""

import threading

import pytest

from enfold.base.errors import TokenizerError
from enfold.tokenizers import decoders, normalizers, pre_tokenizers
from tests.tokenizers.api.both import PACKAGES, fields, same, small


class Lower:
    def normalize(self, normalized):
        normalized.nfd()
        normalized.filter(lambda c: c < "\u0300")
        normalized.lowercase()


class Words:
    """Cuts at spaces, and keeps what it saw."""

    def __init__(self):
        self.seen = []

    def pre_tokenize(self, pretok):
        self.seen.append([(text, offsets, tokens is not None) for text, offsets, tokens in pretok.get_splits()])
        pretok.split(self.cut)

    def cut(self, index, piece):
        self.seen.append((index, piece.normalized))
        return piece.split(" ", "removed")


class Dots:
    def decode_chain(self, tokens):
        return [f"{token}." for token in tokens]


def test_custom_components_in_a_tokenizer():
    def script(k):
        tokenizer = small(k)
        words = Words()
        tokenizer.normalizer = k.normalizers.Normalizer.custom(Lower())
        tokenizer.pre_tokenizer = k.pre_tokenizers.PreTokenizer.custom(words)
        tokenizer.decoder = k.decoders.Decoder.custom(Dots())
        tokenizer.add_special_tokens(["[CLS]"])
        tokenizer.add_tokens([k.AddedToken("Wörld", normalized=True)])
        texts = ["Hello é WÖRLD a[CLS] b ", "日 本", "", "[CLS]"]
        made = [fields(e) for e in tokenizer.encode_batch(texts)]
        made.append(fields(tokenizer.encode(["Hello B", "c"], is_pretokenized=True)))
        return made, words.seen if k is not None else None, tokenizer.decode([3, 4, 0]), tokenizer.get_vocab()

    ours, theirs = (script(package) for package in PACKAGES)
    assert ours[0] == theirs[0]
    assert sorted(map(str, ours[1])) == sorted(map(str, theirs[1]))  # the reference's threads have no order
    assert ours[2:] == theirs[2:]


def test_custom_components_alone():
    same(lambda k: k.normalizers.Normalizer.custom(Lower()).normalize_str("HÉ"))
    same(lambda k: k.pre_tokenizers.PreTokenizer.custom(Words()).pre_tokenize_str("a é b"))
    same(lambda k: k.decoders.Decoder.custom(Dots()).decode(["a", "b"]))
    sequence = normalizers.Sequence([normalizers.Normalizer.custom(Lower()), normalizers.Prepend("x")])
    assert sequence.normalize_str("HÉ") == "xhe"
    assert repr(sequence).startswith("Sequence(normalizers=[Normalizer.custom(<")


def test_custom_components_are_not_saved():
    tokenizer = small(PACKAGES[0])
    for name, component in {
        "normalizer": normalizers.Normalizer.custom(Lower()),
        "pre_tokenizer": pre_tokenizers.PreTokenizer.custom(Words()),
        "decoder": decoders.Decoder.custom(Dots()),
    }.items():
        before = getattr(tokenizer, name)
        setattr(tokenizer, name, component)
        with pytest.raises(TokenizerError, match=f"the {name} is Python code"):
            tokenizer.to_str()
        with pytest.raises(TokenizerError, match="is Python code"):
            component.__getstate__()
        assert "<Python code>" in repr(tokenizer)
        setattr(tokenizer, name, before)
    assert tokenizer.to_str()


def test_an_error_of_the_code_arrives():
    class Broken:
        def normalize(self, normalized):
            raise KeyError("broken")

        pre_tokenize = normalize
        decode_chain = normalize

    tokenizer = small(PACKAGES[0])
    tokenizer.normalizer = normalizers.Normalizer.custom(Broken())
    with pytest.raises(KeyError, match="broken"):
        tokenizer.encode("a")
    with pytest.raises(KeyError, match="broken"):
        tokenizer.encode_batch(["a b c " * 20_000] * 8)  # large enough for several threads
    tokenizer.normalizer = normalizers.Normalizer.custom(object())
    with pytest.raises(AttributeError, match="normalize"):
        tokenizer.encode("a")
    tokenizer.decoder = decoders.Decoder.custom(Broken())
    with pytest.raises(KeyError, match="broken"):
        tokenizer.decode([3])


def test_changes_while_others_encode():
    tokenizer = small(PACKAGES[0])
    normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.normalizer = normalizer
    text = "Hello " * 200
    known = {tuple(tokenizer.encode(text).tokens)}
    normalizer.lowercase = True
    known.add(tuple(tokenizer.encode(text).tokens))
    assert len(known) == 2
    strange, over = [], threading.Event()

    def encode():
        while not over.is_set():
            strange.extend(e.tokens for e in tokenizer.encode_batch([text] * 4) if tuple(e.tokens) not in known)

    threads = [threading.Thread(target=encode) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(200):
        tokenizer.normalizer.lowercase = bool(i % 2)
        tokenizer.add_tokens([f"<{i}>"])
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    over.set()
    for thread in threads:
        thread.join()
    assert not strange
