"""Components: made alone, printed, pickled, put into a tokenizer and changed there, as in the reference library."""

import copy
import json
import pickle

import pytest

import enfold.tokenizers
import tokenizers
from enfold.tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tests.tokenizers.api.both import same

PACKAGES = [enfold.tokenizers, tokenizers]
SPECIAL = [("[CLS]", 1), ("[SEP]", 2)]
COMPONENTS = {
    "normalizers": [
        lambda k: k.normalizers.BertNormalizer(),
        lambda k: k.normalizers.BertNormalizer(False, False, True, False),
        lambda k: k.normalizers.Lowercase(),
        lambda k: k.normalizers.NFC(),
        lambda k: k.normalizers.NFD(),
        lambda k: k.normalizers.NFKC(),
        lambda k: k.normalizers.NFKD(),
        lambda k: k.normalizers.StripAccents(),
        lambda k: k.normalizers.Prepend("x"),
        lambda k: k.normalizers.Strip(left=False),
        lambda k: k.normalizers.Replace("a", "b"),
        lambda k: k.normalizers.Replace(k.Regex("a+"), "b"),
        lambda k: k.normalizers.Sequence([k.normalizers.NFC(), k.normalizers.Strip()]),
        lambda k: k.normalizers.Sequence([k.normalizers.Sequence([k.normalizers.NFC()]), k.normalizers.Lowercase()]),
    ],
    "pre_tokenizers": [
        lambda k: k.pre_tokenizers.BertPreTokenizer(),
        lambda k: k.pre_tokenizers.ByteLevel(),
        lambda k: k.pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        lambda k: k.pre_tokenizers.CharDelimiterSplit("e"),
        lambda k: k.pre_tokenizers.Digits(),
        lambda k: k.pre_tokenizers.Digits(True),
        lambda k: k.pre_tokenizers.Metaspace(),
        lambda k: k.pre_tokenizers.Metaspace("_", "first", False),
        lambda k: k.pre_tokenizers.Punctuation(),
        lambda k: k.pre_tokenizers.Punctuation("merged_with_previous"),
        lambda k: k.pre_tokenizers.Split("e", "removed"),
        lambda k: k.pre_tokenizers.Split(k.Regex("[a-e]+"), "merged_with_next", invert=True),
        lambda k: k.pre_tokenizers.Whitespace(),
        lambda k: k.pre_tokenizers.WhitespaceSplit(),
        lambda k: k.pre_tokenizers.Sequence([k.pre_tokenizers.Digits(), k.pre_tokenizers.Whitespace()]),
    ],
    "processors": [
        lambda k: k.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
        lambda k: k.processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1), trim_offsets=False),
        lambda k: k.processors.ByteLevel(),
        lambda k: k.processors.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
        lambda k: k.processors.TemplateProcessing(),
        lambda k: k.processors.TemplateProcessing("[CLS] $0 [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", SPECIAL),
        lambda k: k.processors.TemplateProcessing(
            ["x:3", "$2"], "$A $B", [{"id": "x", "ids": [4, 5], "tokens": ["p", "q"]}]
        ),
        lambda k: k.processors.Sequence([k.processors.ByteLevel(), k.processors.TemplateProcessing("$A")]),
    ],
    "decoders": [
        lambda k: k.decoders.BPEDecoder(),
        lambda k: k.decoders.ByteFallback(),
        lambda k: k.decoders.ByteLevel(),
        lambda k: k.decoders.Fuse(),
        lambda k: k.decoders.Metaspace(),
        lambda k: k.decoders.Metaspace("_", "never", True),
        lambda k: k.decoders.Replace("a", "b"),
        lambda k: k.decoders.Strip(" ", 1, 2),
        lambda k: k.decoders.WordPiece(),
        lambda k: k.decoders.Sequence([k.decoders.Fuse(), k.decoders.Strip()]),
    ],
    "models": [
        lambda k: k.models.BPE(),
        lambda k: k.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.5, unk_token="a"),
        lambda k: k.models.WordPiece({"a": 0, "##b": 1}, unk_token="a", max_input_chars_per_word=7),
        lambda k: k.models.WordPiece({f"t{i}": i for i in range(150)}),
    ],
}
CASES = [(kind, make) for kind, makes in COMPONENTS.items() for make in makes]


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_a_component_prints_and_pickles_like_theirs(kind, make):
    ours, theirs = (make(package) for package in PACKAGES)
    assert type(ours).__name__ == type(theirs).__name__
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)
    assert json.loads(ours.__getstate__()) == json.loads(theirs.__getstate__())
    for twin in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours), copy.copy(ours)):
        assert type(twin) is type(ours)
        assert repr(twin) == repr(ours)


def words(package) -> object:
    tokenizer = package.Tokenizer(package.models.WordPiece({"hello": 0, "world": 1, "[UNK]": 2, "w": 3}))
    tokenizer.pre_tokenizer = package.pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize("package", PACKAGES)
def test_a_change_reaches_every_holder(package):
    tokenizer = words(package)
    normalizer = package.normalizers.BertNormalizer(lowercase=False)
    tokenizer.normalizer = normalizer
    assert tokenizer.encode("Hello world").tokens == ["[UNK]", "world"]
    normalizer.lowercase = True
    assert tokenizer.encode("Hello world").tokens == ["hello", "world"]
    tokenizer.normalizer.lowercase = False
    assert normalizer.lowercase is False
    sequence = package.normalizers.Sequence([normalizer, package.normalizers.Strip()])
    tokenizer.normalizer = sequence
    sequence[0].lowercase = True
    assert normalizer.lowercase is True
    assert tokenizer.encode("Hello").tokens == ["hello"]
    sequence[1] = package.normalizers.Replace("hello", "w")
    assert tokenizer.encode("Hello").tokens == ["w"]
    model = tokenizer.model
    model.unk_token = "w"
    assert tokenizer.encode("zzz").tokens == ["w"]
    tokenizer.normalizer = None
    assert tokenizer.normalizer is None
    assert tokenizer.encode("hello").tokens == ["hello"]


def test_a_copy_is_apart():
    tokenizer = words(enfold.tokenizers)
    tokenizer.normalizer = normalizers.BertNormalizer()
    twin = copy.deepcopy(tokenizer)
    twin.normalizer.lowercase = False
    assert tokenizer.normalizer.lowercase is True
    assert tokenizer.encode("Hello").tokens == ["hello"]
    assert twin.encode("Hello").tokens == ["[UNK]"]


def test_what_is_no_component_is_refused():
    tokenizer = words(enfold.tokenizers)
    with pytest.raises(TypeError, match="should be a Normalizer or None, got Whitespace"):
        tokenizer.normalizer = pre_tokenizers.Whitespace()
    with pytest.raises(TypeError, match="should be a Model, got NoneType"):
        tokenizer.model = None
    with pytest.raises(TypeError, match="takes a model"):
        Tokenizer(normalizers.NFC())
    for base in (normalizers.Normalizer, models.Model):
        with pytest.raises(TypeError, match="can't be made by itself"):
            base()


OLD_COMPONENTS = {
    "normalizer": {"strip_left": True, "strip_right": False},
    "decoder": {"prefix": "##", "cleanup": True},
    "post_processor": {"sep": ["b", 1], "cls": ["a", 0]},
}


@pytest.mark.parametrize("name", sorted(OLD_COMPONENTS))
def test_components_of_old_files_without_a_type(name):
    def script(k):
        tokenizer = k.Tokenizer(k.models.WordLevel({"a": 0, "b": 1, "##c": 2}, "a"))
        tokenizer = k.Tokenizer.from_str(json.dumps({**json.loads(tokenizer.to_str()), name: OLD_COMPONENTS[name]}))
        component = getattr(tokenizer, name)
        made = [type(component).__name__, tokenizer.encode(" b").ids, tokenizer.decode([0, 2])]
        option = {"normalizer": "strip_right", "decoder": "prefix", "post_processor": "sep"}[name]
        value = {"normalizer": True, "decoder": "c", "post_processor": ("a", 0)}[name]
        setattr(component, option, value)
        setattr(tokenizer, name, component)
        return [*made, getattr(component, option), tokenizer.encode(" b").ids, tokenizer.decode([0, 2])]

    same(script)
