"""Torn and hostile files, and inputs made to hang: an error or an answer, never a crash."""

import copy
import json
import random
import time

import pytest

from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.builders import BUILDERS, build

REFUSED = (TokenizerError, NotBuiltError)


def small(name: str) -> dict:
    """The configuration with its vocabulary cut down, for tests that load it a thousand times."""
    tree = json.loads(build(name))
    model = tree["model"]
    keep = dict(list(model["vocab"].items())[:40])
    model["vocab"] = {token: i for i, token in enumerate([*keep, "[UNK]", "<unk>", "<|endoftext|>"])}
    if "merges" in model:
        model["merges"] = []
    return tree


@pytest.mark.parametrize("name", ["bert", "llama3", "llama2"])
def test_a_torn_file_is_an_error(name):
    text = json.dumps(small(name), ensure_ascii=False)
    for end in range(0, len(text) - 1, 7):
        with pytest.raises(TokenizerError):
            Tokenizer.from_str(text[:end])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        '"x"',
        "{",
        "[" * 100_000,
        '{"a":' * 100_000,
        "{}",
        '{"model": {}}',
        '{"model": null}',
        "\x00",
        '{"model": {"type": "BPE", "vocab": {"a": 1e5}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": [], "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": 4294967295}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": 99999999999999999999}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [3]}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 7}}',
        '{"x": "\ud800"}'.encode("utf-8", "surrogatepass").decode("latin-1"),
        '{"x": "\\ud800"}',
        '{"x": 01}',
        '{"x": 1e999}',
        '{"x": tru}',
        '{"x": "a\nb"}',
        '{"x": 1} 2',
    ],
)
def test_nonsense_is_an_error(text):
    with pytest.raises(TokenizerError):
        Tokenizer.from_str(text)


def test_bytes_that_are_no_utf8_are_an_error():
    with pytest.raises(TokenizerError, match="UTF-8"):
        Tokenizer.from_buffer(b'{"model": "\xff\xfe"}')


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(TokenizerError, match="can't open"):
        Tokenizer.from_file(tmp_path / "nothing.json")
    with pytest.raises(TokenizerError):
        Tokenizer.from_file(tmp_path)


def mutate(tree, rng: random.Random):
    """One random change somewhere: another type, another number, a missing or a doubled member."""
    tree = copy.deepcopy(tree)
    node, path = tree, []
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return tree
        key = rng.choice(keys)
        child = node[key]
        if isinstance(child, dict | list) and child and rng.random() < 0.8:
            path.append(key)
            node = child
            continue
        if isinstance(node, dict) and rng.random() < 0.2:
            del node[key]
        else:
            node[key] = rng.choice(
                [None, True, -1, 2**31, 2**40, 1.5, "", "x", "\u0000", "é" * 50, [], {}, [1], {"type": "Sequence"}]
            )
        return tree


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_mutated_files_load_or_are_refused(name):
    tree = small(name)
    rng = random.Random(name)
    loaded = 0
    for _ in range(250):
        text = json.dumps(mutate(tree, rng))
        try:
            tokenizer = Tokenizer.from_str(text)
            loaded += 1
            for sample in ("hello <s> w\u00f6rld 12", "", "中"):
                ids = tokenizer.encode(sample, sample).ids
                tokenizer.decode(ids)
            Tokenizer.from_str(tokenizer.to_str())
        except REFUSED:
            pass
    assert loaded


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_long_words_take_linear_time(name):
    tokenizer = Tokenizer.from_str(build(name))
    n = 100_000
    samples = [
        "a" * n,
        "中" * n,
        " " * n,
        "\n" * n,
        "é" * n,
        "e\u0301" * (n // 2),
        "\u0301" * n,
        "a1" * (n // 2),
        "!" * n,
        "'s" * (n // 2),
        "[" * n,
    ]
    samples += [
        "\u200b" * n,
        "ab " * (n // 3),
        "\x00" * n,
        "İ" * n,
        "<s>" * (n // 3),
        "가" * n,
        "\r\n " * (n // 3),
        "x" * (n - 1) + "\u0338",
        "<|" * (n // 2),
    ]
    start = time.process_time()
    for text in samples:
        encoding = tokenizer.encode(text)
        assert len(encoding.ids) == len(encoding.offsets)
    # 20 texts of 100,000 characters: the quadratic way would take minutes for one.
    assert time.process_time() - start < 20


def test_added_tokens_that_nearly_match_everywhere_take_linear_time():
    from enfold.tokenizers import AddedToken

    tokenizer = Tokenizer.from_str(build("gpt2"))
    # Each place of the text begins one of them, and 30,000 bytes later it turns out that it doesn't.
    tokenizer.add_tokens([AddedToken("a" * 30_000 + end, normalized=False) for end in "bcd"])
    start = time.process_time()
    assert "a" * 30_000 + "c" in tokenizer.encode("a" * 150_000 + "c" + "a" * 150_000).tokens
    assert time.process_time() - start < 10  # the quadratic way takes 9 billion steps


def test_thousands_of_added_tokens():
    tokenizer = Tokenizer.from_str(build("gpt2"))
    names = [f"<|{'x' * (i % 50)}{i}|>" for i in range(5000)]
    assert tokenizer.add_tokens(names) == 5000
    assert tokenizer.encode("".join(names)).tokens == names
    start = time.process_time()
    tokenizer.encode("<|" + "x" * 49 + "<|" * 50_000)
    assert time.process_time() - start < 10


def test_overflow_of_a_pair_that_would_fill_the_memory_is_an_error():
    tokenizer = Tokenizer.from_str(build("gpt2"))
    tokenizer.enable_truncation(4)
    with pytest.raises(TokenizerError, match="rows"):
        tokenizer.encode("! " * 40_000, "? " * 40_000)
    assert len(tokenizer.encode("! " * 10, "? " * 10).overflowing) == 99


def test_space_taken_twice_stays_bounded():
    from enfold.tokenizers import AddedToken

    tokenizer = Tokenizer.from_str(build("gpt2"))
    tokenizer.add_tokens([AddedToken("\t", rstrip=True, lstrip=True), AddedToken(" ", rstrip=True)])
    assert tokenizer.encode("\t" * 100_000).ids


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\U0001f600\udc00"])
def test_lone_surrogates_are_a_type_error(text):
    tokenizer = Tokenizer.from_str(build("bert"))
    for call in (
        tokenizer.encode,
        tokenizer.encode_ids,
        lambda t: tokenizer.encode_batch([t]),
        lambda t: tokenizer.encode_arrays(["x", t]),
    ):
        with pytest.raises(TypeError):
            call(text)


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", ["a", "b", "c"], {"a": 1}])
def test_wrong_types_are_type_errors(wrong):
    tokenizer = Tokenizer.from_str(build("bert"))
    with pytest.raises(TypeError):
        tokenizer.encode(wrong)
    with pytest.raises(TypeError):
        tokenizer.encode_batch([wrong])
    with pytest.raises(TypeError):
        tokenizer.encode_batch("a str is no batch")
    with pytest.raises(TypeError):
        tokenizer.encode("words", is_pretokenized=True)
    with pytest.raises(TypeError):
        tokenizer.add_tokens([3])


def test_nul_bytes_are_text():
    tokenizer = Tokenizer.from_str(build("gpt2"))
    assert tokenizer.decode(tokenizer.encode("a\x00b").ids) == "a\x00b"
    assert tokenizer.add_tokens(["x\x00y"]) == 1
    assert Tokenizer.from_str(tokenizer.to_str()).encode("x\x00y").tokens == ["x\x00y"]
