"""The Tokenizer's and the Encoding's methods that no file of the engine's tests covers, against the reference."""

import asyncio
import copy
import json
import pickle
from pathlib import Path

import pytest

from enfold.base.errors import TokenizerError
from enfold.tokenizers import AddedToken, Tokenizer, decoders, models
from tests.tokenizers.api.both import PACKAGES, fields, same, small
from tests.tokenizers.engine.builders import build
from tests.tokenizers.engine.corpus import PROSE

SPECIAL = [("[CLS]", 0), ("[SEP]", 1)]
PROCESSORS = {
    "none": lambda k: None,
    "bert": lambda k: k.processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0)),
    "roberta": lambda k: k.processors.RobertaProcessing(("[SEP]", 1), ("[CLS]", 0)),
    "byte level": lambda k: k.processors.ByteLevel(trim_offsets=True),
    "template": lambda k: k.processors.TemplateProcessing("[CLS] $A:2 [SEP]", "[CLS] $B:3 [SEP]:1 $A", SPECIAL),
}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("special", [True, False])
def test_post_process(name, special):
    def script(k):
        tokenizer = small(k)
        first, second = tokenizer.encode("a b c hello"), tokenizer.encode("d world")
        out = []
        processor = PROCESSORS[name](k)
        if processor is not None:
            out += [fields(processor.process(first, None, special)), fields(processor.process(first, second, special))]
            out += [processor.num_special_tokens_to_add(pair) for pair in (True, False)]
            tokenizer.post_processor = processor
        out += [fields(tokenizer.post_process(first, second, special)), fields(tokenizer.post_process(first))]
        for direction in ("left", "right"):
            tokenizer.enable_truncation(8, stride=1, direction=direction)
            out += [fields(tokenizer.post_process(first, second, special)), fields(tokenizer.post_process(first))]
            tokenizer.enable_padding(length=9, direction=direction)
            out.append(fields(tokenizer.post_process(first, second, special)))
            tokenizer.no_padding()
        out.append(fields(first))
        return out

    same(script)


def test_encodings_pickle_and_merge():
    tokenizer = small(PACKAGES[0])
    tokenizer.enable_truncation(4, stride=1)
    tokenizer.enable_padding(length=5)
    encoding = tokenizer.encode("a b c hello world", "é zz")
    for twin in (pickle.loads(pickle.dumps(encoding)), copy.deepcopy(encoding)):
        assert fields(twin) == fields(encoding)
    other = Tokenizer(models.WordPiece({"q": 0, "[UNK]": 1}))
    merged = type(encoding).merge([encoding, other.encode("q")])
    assert merged.tokens == [*encoding.tokens, "q"]
    with pytest.raises(TokenizerError, match="don't fit together"):
        type(encoding).__new__(type(encoding)).__setstate__(
            (b"\0" * 8, b"\1\0\0\0", b"", b"", b"", b"", b"", b"", b"", [])
        )


def test_printed_like_theirs():
    def script(k):
        tokenizer = small(k)
        tokenizer.add_special_tokens(["[CLS]", k.AddedToken("[X]", lstrip=True)])
        tokenizer.post_processor = PROCESSORS["template"](k)
        tokenizer.normalizer = k.normalizers.Sequence([k.normalizers.Replace(k.Regex("a+"), "b")])
        plain = repr(tokenizer), str(tokenizer)
        tokenizer.enable_truncation(7)
        tokenizer.enable_padding(length=3, pad_token="x")
        fixed = repr(tokenizer)
        tokenizer.enable_padding()
        return plain, fixed, repr(tokenizer), repr(k.models.BPE({f"t{i}": i for i in range(200)}, []))

    same(script)


def test_async_calls():
    async def calls(tokenizer):
        one = await tokenizer.async_encode("a b", "c")
        batch = await tokenizer.async_encode_batch(["a", "hello b"])
        fast = await tokenizer.async_encode_batch_fast(["a"], add_special_tokens=False)
        return fields(one), [fields(e) for e in batch], fast[0].ids, await tokenizer.async_decode_batch([[3], [4, 5]])

    same(lambda k: asyncio.run(calls(small(k))))


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama2", "roberta"])
def test_decode_stream(name):
    def script(k):
        tokenizer = k.Tokenizer.from_str(build(name))
        out = []
        for text in [*PROSE[:8], "日本語 😀👩‍👩‍👧 é", "a  b\n\n c", ""]:
            ids = tokenizer.encode(text).ids
            for skip in (True, False):
                stream = k.decoders.DecodeStream(skip_special_tokens=skip)
                out.append([stream.step(tokenizer, id) for id in ids])
            half = len(ids) // 2
            stream = k.decoders.DecodeStream(ids[:half])
            # After twelve steps that end within a character, ours gives out what is complete; theirs goes on waiting.
            steps = [stream.step(tokenizer, ids[i : i + 3]) for i in range(half, len(ids), 3)]
            out.append("".join(step or "" for step in steps))
            twin = copy.copy(stream)
            out.append([twin.step(tokenizer, id) for id in ids[:5]])
        return out

    same(script)


def test_decode_stream_arguments():
    tokenizer = small(PACKAGES[0])
    assert tokenizer.decode_stream().step([3, 4]) == "a b"
    with pytest.raises(TypeError, match="takes a tokenizer and an id"):
        decoders.DecodeStream().step(3)
    with pytest.raises(TypeError, match="an id or a list of ids"):
        decoders.DecodeStream().step(tokenizer, "x")
    long = decoders.DecodeStream([3] * 5000)
    assert [long.step(tokenizer, 4) for _ in range(3)] == [" b"] * 3


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama2"])
def test_byte_offsets(name):
    tokenizer = Tokenizer.from_str(build(name))
    texts = ["", "naïve 日本 😀 x", "é", *PROSE[:6]]
    pairs = [(text, "日 " + text) for text in texts]
    batch = tokenizer.encode_arrays(pairs, offsets="bytes")
    for row, (first, second) in enumerate(pairs):
        characters = tokenizer.encode(first, second)
        expected = []
        for sequence, (begin, end) in zip(characters.sequence_ids, characters.offsets, strict=True):
            text = second if sequence else first
            span = (len(text[:begin].encode()), len(text[:end].encode()))
            expected.append((begin, end) if sequence is None else span)
        assert characters.byte_offsets(first, second) == expected
        begin, end = batch.row_splits[row], batch.row_splits[row + 1]
        assert [tuple(span) for span in batch.offsets[begin:end].tolist()] == expected
    words = ["naïve", "日本"]
    encoding = tokenizer.encode(words, is_pretokenized=True)
    rows = tokenizer.encode_arrays([words], is_pretokenized=True, offsets="bytes").offsets.tolist()
    assert [tuple(span) for span in rows] == encoding.byte_offsets(words)
    with pytest.raises(ValueError, match="True, False or 'bytes'"):
        tokenizer.encode_arrays(["a"], offsets="characters")


def test_pickled_tokenizers():
    for name in ("bert", "gpt2"):
        tokenizer = Tokenizer.from_str(build(name))
        tokenizer.enable_padding(length=8)
        twin = pickle.loads(pickle.dumps(tokenizer))
        assert json.loads(twin.to_str()) == json.loads(tokenizer.to_str())
        assert fields(twin.encode(PROSE[0])) == fields(tokenizer.encode(PROSE[0]))


def test_from_a_folder(tmp_path):
    small(PACKAGES[0]).save(tmp_path / "tokenizer.json")
    assert Tokenizer.from_pretrained(str(tmp_path)).encode("hello").tokens == ["hello"]


def test_tokens_to_add_come_in_a_list():
    with pytest.raises(TypeError, match="in a list"):
        small(PACKAGES[0]).add_tokens("abc")
    assert AddedToken("x", special=True) == AddedToken("x", special=True)


@pytest.mark.parametrize("kind", ["BPE", "WordPiece"])
def test_models_write_and_read_their_files(kind, tmp_path):
    def script(k):
        vocab = {"a": 0, "b": 1, "ab": 3, "##é": 2, "x y": 5}
        arguments = (vocab, [("a", "b")]) if kind == "BPE" else (vocab,)
        made = getattr(k.models, kind)(*arguments, unk_token="a")
        folder = tmp_path / k.__name__
        folder.mkdir()
        files = sorted([*made.save(str(folder)), *made.save(str(folder), "p")])
        names = [path[len(str(folder)) :] for path in files]
        texts = [Path(path).read_text(encoding="utf-8") for path in files]
        own = sorted(path for path in files if "/p-" not in path)
        again = getattr(k.models, kind).from_file(*own[::-1], unk_token="a")
        read = getattr(k.models, kind).read_file(*own[::-1])
        tokens = [token.as_tuple() for token in made.tokenize("abab")] + [t.as_tuple() for t in again.tokenize("ab")]
        return names, texts, tokens, read, made.token_to_id("ab"), made.id_to_token(2), made.id_to_token(4)

    same(script)
