"""sentencepiece's files, beside what transformers and sentencepiece itself read in them."""

import base64

import pytest
from google.protobuf.message import DecodeError
from tokenizers.models import BPE, Unigram
from transformers.convert_slow_tokenizer import SentencePieceExtractor

from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers.formats.sentencepiece import PieceType, parse_sentencepiece, read_sentencepiece

from . import spm


@pytest.mark.parametrize("kind", spm.KINDS)
def test_parts_are_those_that_transformers_extracts(spm_models, tmp_path, kind):
    path = spm.write(tmp_path, "m.model", spm_models[kind])
    model = read_sentencepiece(path)
    for name, cls in (("BPE", BPE), ("Unigram", Unigram), (None, None)):
        theirs = SentencePieceExtractor(str(path)).extract(cls)
        parts = model.parts(name)
        assert parts.vocab == theirs["vocab"]
        assert parts.merges == theirs.get("merges")
        assert parts.unk_id == theirs.get("unk_id", parts.unk_id)
        assert list(map(repr, parts.added)) == list(map(repr, theirs["additional_special_tokens"]))
        charsmap = None if parts.charsmap is None else base64.b64decode(parts.charsmap)
        assert charsmap == theirs["_spm_precompiled_charsmap"]


@pytest.mark.parametrize("kind", spm.KINDS)
def test_every_field_is_the_reference_messages(spm_models, kind):
    model, theirs = parse_sentencepiece(spm_models[kind], kind), spm.proto(spm_models[kind])
    assert model.pieces == [piece.piece for piece in theirs.pieces]
    assert model.scores == [piece.score for piece in theirs.pieces]
    assert model.types == [piece.type for piece in theirs.pieces]
    for ours, spec in ((model.trainer, theirs.trainer_spec), (model.normalizer, theirs.normalizer_spec)):
        for name in type(ours).__slots__:
            assert getattr(ours, name) == getattr(spec, "precompiled_charsmap" if name == "charsmap" else name)


def test_fields_in_any_order_and_twice(spm_models):
    """A message may come in parts; later values win, unknown fields are passed over."""
    whole = spm.proto(spm_models["llama"])
    spec = whole.trainer_spec.SerializeToString()
    whole.ClearField("trainer_spec")
    head = b"\x12" + bytes([len(b"\xc0\x02\x05")]) + b"\xc0\x02\x05"  # unk_id = 5
    length = len(spec)
    encoded = b"\x12" + bytes([length & 0x7F | 0x80, length >> 7]) + spec
    unknown = b"\xa0\x7d\x01" + b"\xa5\x7d1234" + b"\xa1\x7d12345678" + b"\xaa\x7d\x02ab"
    content = head + unknown + whole.SerializeToString() + encoded
    model, theirs = parse_sentencepiece(content, "x"), spm.proto(content)
    assert model.trainer.unk_id == theirs.trainer_spec.unk_id
    assert model.trainer.pad_id == theirs.trainer_spec.pad_id == -1
    assert model.pieces == [piece.piece for piece in theirs.pieces]


def _changed(content, change):
    whole = spm.proto(content)
    change(whole)
    return whole.SerializePartialToString()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.ClearField("pieces"), "no pieces"),
        (lambda m: setattr(m.pieces[7], "piece", m.pieces[6].piece), "comes twice"),
        (lambda m: setattr(m.pieces[7], "piece", ""), "is empty"),
        (lambda m: setattr(m.pieces[7], "score", float("nan")), "not a number"),
        (lambda m: setattr(m.pieces[7], "type", PieceType.UNKNOWN), "2 pieces are marked"),
        (lambda m: setattr(m.pieces[m.trainer_spec.unk_id], "type", PieceType.NORMAL), "0 pieces are marked"),
    ],
)
def test_contradictory_models_are_refused(spm_models, change, reason):
    with pytest.raises(TokenizerError, match=reason):
        parse_sentencepiece(_changed(spm_models["unigram"], change), "m.model")


def test_words_and_characters_are_not_built(spm_models):
    content = _changed(spm_models["unigram"], lambda m: setattr(m.trainer_spec, "model_type", 3))
    with pytest.raises(NotBuiltError, match="type word"):
        parse_sentencepiece(content, "m.model").parts()


def test_damaged_files_are_refused(spm_models, tmp_path):
    whole = spm_models["t5"]
    for cut in [*range(60), *range(60, len(whole), 9973), len(whole) - 1]:
        try:
            theirs = spm.proto(whole[:cut])
        except DecodeError:
            theirs = None
        if theirs is None or len(theirs.pieces) < 3:
            with pytest.raises(TokenizerError, match="cut: "):
                parse_sentencepiece(whole[:cut], "cut")
        else:  # a cut between two fields leaves a message
            assert parse_sentencepiece(whole[:cut], "cut").pieces == [piece.piece for piece in theirs.pieces]
    hostile = {
        "length": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        "endless": b"\x0a" + b"\xff" * 20,
        "group": b"\x0b" * 10000,
        "number zero": b"\x02\x00",
        "scalar piece": b"\x08\x01",
        "text": b"IQ== 0\nIg== 1\n",
        "bytes": b"\x0a\x04\x0a\x02\xff\xfe",
        "json": b'{"a": 1}',
        "empty": b"",
    }
    for name, content in hostile.items():
        with pytest.raises(TokenizerError, match=name):
            parse_sentencepiece(content, name)
    with pytest.raises(TokenizerError, match="can't be read"):
        read_sentencepiece(tmp_path / "missing.model")
