"""The words that training counts: those that the reference's normalizer and pre-tokenizer make of the text."""

import json

import pytest

import enfold.tokenizers as ours
from enfold.base.errors import TokenizerError
from enfold.tokenizers import _engine

from .texts import lines, reference, tokenizer

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
PRE_TOKENIZERS = {
    "none": None,
    "bytes": lambda p: p.ByteLevel(),
    "bytes-bare": lambda p: p.ByteLevel(add_prefix_space=False),
    "bytes-whole": lambda p: p.ByteLevel(use_regex=False),
    "digits-bytes": lambda p: p.Sequence([p.Digits(True), p.ByteLevel(add_prefix_space=False)]),
    "bert": lambda p: p.BertPreTokenizer(),
    "whitespace": lambda p: p.Whitespace(),
    "metaspace": lambda p: p.Metaspace(),
    "metaspace-never": lambda p: p.Metaspace(prepend_scheme="never"),
    "metaspace-whole": lambda p: p.Metaspace(split=False),
    "split-sequence": lambda p: p.Sequence([p.WhitespaceSplit(), p.Punctuation(), p.Digits(True)]),
    "space-metaspace": lambda p: p.Sequence([p.WhitespaceSplit(), p.Metaspace(prepend_scheme="first")]),
    "bert-bytes": lambda p: p.Sequence([p.BertPreTokenizer(), p.ByteLevel()]),
    "punctuation": lambda p: p.Punctuation(),
}
NORMALIZERS = {
    "none": None,
    "nfc": lambda n: n.NFC(),
    "lower-nfkc": lambda n: n.Sequence([n.Lowercase(), n.NFKC()]),
    "bert": lambda n: n.BertNormalizer(),
    "strip": lambda n: n.Sequence([n.Strip(), n.NFD(), n.StripAccents()]),
    "replace": lambda n: n.Sequence([n.Replace("a", " b "), n.Replace(" e", "x"), n.Prepend("_")]),
}


def counted(made, texts):
    counter = _engine.WordCounter(made)
    iterator = iter(texts)
    while counter.pull(iterator):
        pass
    return dict(counter.finish().items())


def expected(made, texts):
    trainer = reference.trainers.WordLevelTrainer(vocab_size=0, show_progress=False)
    made.train_from_iterator(texts, trainer)
    return json.loads(trainer.__getstate__())["WordLevelTrainer"]["words"]


@pytest.mark.parametrize("pre_tokenizer", PRE_TOKENIZERS)
def test_words_of_the_reference(pre_tokenizer):
    texts = [*lines(), "\n".join(lines()[:200]), " a  b\tc\n d", "a ̈b ̈ ́c", "x\u00a0y\u2003z \u0600 ൎ a"]
    for name, normalizer in NORMALIZERS.items():
        parts = {"pre_tokenizer": PRE_TOKENIZERS[pre_tokenizer], "normalizer": normalizer}
        theirs = expected(tokenizer(reference, "WordLevel", **parts), texts)
        assert counted(tokenizer(ours, "BPE", **parts), texts) == theirs, name


def test_a_pattern_that_is_known():
    def split(library):
        made = tokenizer(library, "WordLevel" if library is reference else "BPE")
        p = library.pre_tokenizers
        made.pre_tokenizer = p.Sequence(
            [p.Split(library.Regex(CL100K), "isolated"), p.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        return made

    assert counted(split(ours), lines()) == expected(split(reference), lines())


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("pre_tokenizer", ["none", "bytes", "bert", "metaspace", "space-metaspace"])
def test_added_tokens_are_words(pre_tokenizer, special):
    texts = ["ABC x  <m> y abc", "<m>abc abd<m>", " <m> 12", "x<m>y z <m><m> é"]
    for normalizer in (None, lambda n: n.Lowercase()):
        made = []
        for library, model in ((ours, "BPE"), (reference, "WordLevel")):
            parts = {"pre_tokenizer": PRE_TOKENIZERS[pre_tokenizer], "normalizer": normalizer}
            made.append(tokenizer(library, model, **parts))
            tokens = [library.AddedToken("<m>", lstrip=True, rstrip=True), "abc"]
            made[-1].add_special_tokens(tokens) if special else made[-1].add_tokens(tokens)
        assert counted(made[0], texts) == expected(made[1], texts)


@pytest.mark.parametrize(
    "texts",
    [
        ["ab", "cd"],
        ("ab", "cd"),
        [["ab", "cd"], ("ab",), "x", iter(["y", "z"])],
        (text for text in ["ab", "cd"]),
        {"ab": 1},
        "abc",
    ],
    ids=["list", "tuple", "batches", "generator", "keys", "characters"],
)
def test_what_iterators_may_give(texts):
    held = [list(item) if not isinstance(item, str) else item for item in texts]
    assert counted(tokenizer(ours, "BPE"), held) == expected(tokenizer(reference, "WordLevel"), held)


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        (5, TypeError),
        ([5], TypeError),
        ([None], TypeError),
        ([b"abc"], TypeError),
        ([["a", 5]], TypeError),
        ([[["a"]]], TypeError),
        (["a", "b\ud800"], TypeError),
    ],
)
def test_what_they_may_not_give(texts, error):
    made = tokenizer(ours, "BPE")
    with pytest.raises(error):
        made.train_from_iterator(texts, ours.trainers.BpeTrainer(show_progress=False))
    assert made.get_vocab() == {}


def test_an_error_of_the_iterator_passes_through():
    def texts():
        yield "a" * 2_000_000
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        tokenizer(ours, "BPE").train_from_iterator(texts())


def test_files(tmp_path, monkeypatch):
    """Every line is a text, with its end; lines go over the blocks that a file is read in."""
    monkeypatch.setattr(ours.trainers, "BLOCK_BYTES", 7)
    (tmp_path / "a.txt").write_bytes("один two\r\nthree\n\n  four".encode())
    (tmp_path / "b.txt").write_bytes(b"five\n")
    paths = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    made = []
    for library in (ours, reference):
        made.append(tokenizer(library, "BPE"))
        made[-1].train(paths, library.trainers.BpeTrainer(show_progress=False))
    assert made[0].to_str() == made[1].to_str()
    made[0].train([tmp_path / "b.txt"], ours.trainers.BpeTrainer(show_progress=False))
    assert "five\n" in made[0].get_vocab()


def test_files_that_cannot_be_read(tmp_path):
    made = tokenizer(ours, "BPE")
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        made.train([str(tmp_path / "none.txt")])
    with pytest.raises(OSError, match="directory"):
        made.train([str(tmp_path)])
    with pytest.raises(TypeError, match="list of paths"):
        made.train(str(tmp_path / "none.txt"))
    (tmp_path / "bad.txt").write_bytes(b"abc\xff\n")
    with pytest.raises(TokenizerError, match=r"bad\.txt.*UTF-8"):
        made.train([str(tmp_path / "bad.txt")])


def test_many_texts_at_once():
    """More than one batch, with and without threads."""
    texts = [f"word{n % 1000} and {n % 7}" for n in range(150_000)]
    made = tokenizer(ours, "BPE", pre_tokenizer=lambda p: p.Whitespace())
    words = counted(made, texts)
    assert words["and"] == 150_000
    assert words["word999"] == 150
    assert len(words) == 1008
