"""What only some families can: languages, timestamps, infilling, cutting completions."""

import copy
import random

import numpy as np
import pytest
import transformers
from transformers.models.whisper import english_normalizer

import enfold
from enfold.base.errors import ArgumentError
from enfold.tokenizers.families.whisper_text import normalize_any, normalize_english
from tests.tokenizers.families.rows import ROWS
from tests.tokenizers.families.same import TEXTS, same_calls
from tests.tokenizers.families.vocabularies import vocabulary


def made(name, **options):
    row = next(row for row in ROWS if row.name == name)
    return tuple(getattr(library, name)(**vocabulary(row), **options) for library in (enfold, transformers))


LANGUAGES = [
    ("MBartTokenizer", "fr_XX", "de_DE"),
    ("MBart50Tokenizer", "uk_UA", "de_DE"),
    ("NllbTokenizer", "bel_Cyrl", "ces_Latn"),
    ("SeamlessM4TTokenizer", "deu", "fra"),
]


@pytest.mark.parametrize(("name", "source", "target"), LANGUAGES)
def test_languages(name, source, target):
    ours, theirs = made(name)
    for language in (None, source, "xx_none"):
        if language:
            for one in (ours, theirs):
                one.src_lang, one.tgt_lang = language, target
        assert ours.src_lang == theirs.src_lang
        assert ours.tgt_lang == theirs.tgt_lang
        assert dict(ours(TEXTS, text_target=TEXTS[::-1])) == dict(theirs(TEXTS, text_target=TEXTS[::-1]))
        assert dict(ours("a", "b")) == dict(theirs("a", "b"))
        assert (ours.prefix_tokens, ours.suffix_tokens) == (theirs.prefix_tokens, theirs.suffix_tokens)
    for set_language in ("set_src_lang_special_tokens", "set_tgt_lang_special_tokens"):
        for one in (ours, theirs):
            getattr(one, set_language)(f"__{target}__" if "Seam" in name else target)
        assert ours.encode("some text") == theirs.encode("some text")
    before = ours("a")["input_ids"]
    other = copy.copy(ours)
    other.src_lang = source
    assert ours("a")["input_ids"] == before
    asked = {"src_lang": source, "tgt_lang": target, "return_tensors": None}
    found = ours._build_translation_inputs("text", **asked)
    assert dict(found) == dict(theirs._build_translation_inputs("text", **asked))
    with pytest.raises(ArgumentError, match="src_lang and tgt_lang"):
        ours._build_translation_inputs("text")
    with pytest.raises((ArgumentError, TypeError)):
        ours.src_lang = 5


def test_languages_without_a_target():
    ours, theirs = made("NllbTokenizer", src_lang="fra_Latn")
    assert dict(ours("a", text_target="b")) == dict(theirs("a", text_target="b"))
    assert ours.tgt_lang == theirs.tgt_lang == "fra_Latn"


WHISPER = ["<|en|>", "<|zh|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startofprev|>", "<|notimestamps|>"]


@pytest.fixture(scope="module")
def whisper():
    special = ["<|endoftext|>", "<|startoftranscript|>", *WHISPER]
    pair = made("WhisperTokenizer", extra_special_tokens=special)
    for one in pair:
        one.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    return pair


def test_whisper_prefixes(whisper):
    ours, theirs = map(copy.deepcopy, whisper)
    for options in (
        {},
        {"language": "English", "task": "transcribe"},
        {"language": "de", "task": "translate", "predict_timestamps": True},
        {"language": "mandarin"},
        {"predict_timestamps": False},
    ):
        for one in (ours, theirs):
            one.set_prefix_tokens(**options)
        assert ours.prefix_tokens == theirs.prefix_tokens
        assert ours("Hello")["input_ids"] == theirs("Hello")["input_ids"]
        assert ours("Hello", "you")["input_ids"] == theirs("Hello", "you")["input_ids"]
    for options in ({"language": "zh", "task": "transcribe"}, {"no_timestamps": False}):
        assert ours.get_decoder_prompt_ids(**options) == theirs.get_decoder_prompt_ids(**options)
    assert ours.get_prompt_ids(" some words ").tolist() == theirs.get_prompt_ids(" some words ").tolist()
    with pytest.raises(ArgumentError, match="special token"):
        ours.get_prompt_ids("a <|en|> b")
    with pytest.raises(ArgumentError, match="no language 'klingon'"):
        ours.set_prefix_tokens(language="klingon")
    with pytest.raises(ArgumentError, match="task must be one of"):
        ours.set_prefix_tokens(task="sing")


def test_whisper_timestamps(whisper):
    ours, theirs = whisper
    chance = random.Random(4)
    first = theirs.convert_tokens_to_ids("<|0.00|>")
    words = theirs("Hello, world and more of it", add_special_tokens=False)["input_ids"]
    prompt = theirs.convert_tokens_to_ids(["<|startofprev|>", "<|startoftranscript|>"])
    assert ours.timestamp_ids() == theirs.timestamp_ids()
    for _ in range(120):
        ids, time = [], 0
        if chance.random() < 0.3:
            ids += [prompt[0], *words[:2], *chance.choice([prompt[1:], []])]
        for _ in range(chance.randint(0, 7)):
            time = chance.choice([time + chance.randint(0, 300), time, chance.randint(0, 200)])
            ids += [first + min(time, 1500)] * chance.choice([0, 1, 1, 2])
            ids += chance.sample(words, chance.randint(0, 4))
        for options in (
            {},
            {"skip_special_tokens": True},
            {"decode_with_timestamps": True},
            {"decode_with_timestamps": True, "skip_special_tokens": True, "time_precision": 0.04},
            {"output_offsets": True},
            {"basic_normalize": True, "remove_diacritics": True},
        ):
            if ids or not options.get("output_offsets"):
                assert ours.decode(ids, **options) == theirs.decode(ids, **options), (ids, options)
    rows = [[first, *words, first + 50], [first + 3, *words[:3], first + 9]]
    for options in ({}, {"decode_with_timestamps": True}, {"skip_special_tokens": True}):
        assert ours.batch_decode(np.array([row[:4] for row in rows]), **options) == theirs.batch_decode(
            [row[:4] for row in rows], **options
        )


def test_whisper_saves_its_spellings(whisper, tmp_path):
    ours, _ = whisper
    (tmp_path / "normalizer.json").write_text('{"colour": "color"}')
    ours = type(ours)(
        {"<|endoftext|>": 0, "a": 1}, [], normalizer_file=tmp_path / "normalizer.json", extra_special_tokens=WHISPER
    )
    assert ours.normalize("Twenty-one Colours, mr. Jones' colour!") == "21 colours mister jones color"
    assert [path.rpartition("/")[2] for path in ours.save_vocabulary(tmp_path)][-1] == "normalizer.json"


def test_transcripts_are_normalised_alike():
    chance = random.Random(5)
    numbers = english_normalizer.EnglishNumberNormalizer()
    words = [
        *sorted(numbers.words),
        *[
            "house",
            "colour",
            "3",
            "4.5",
            "$5",
            "-7",
            "1,000",
            "2.",
            "100",
            "£3.20",
            "¢5",
            "0",
            "1",
            "20th",
            "5s",
            "a1b2",
            "mr",
            "won't",
            "'s",
            "x'd",
            "uh",
            "[noise]",
            "(aside)",
            "((",
        ],
        *[
            ")",
            "[",
            "]]",
            "<",
            ">",
            "é",
            "œ",
            "ß",
            "½",
            "²",
            "%",
            "5%",
            "%x",
            "co-op",
            "i'ma",
            "１２",
            "٣",
            "wanna",
            "lt",
            "prof",
        ],
        *("per cent", "and a half", "x'd been", "   's", "", "\n"),
    ]
    spellings = {"colour": "color"}
    english = english_normalizer.EnglishTextNormalizer(spellings)
    plain, bare = (english_normalizer.BasicTextNormalizer(remove_diacritics=remove) for remove in (False, True))
    for _ in range(2500):
        text = " ".join(chance.choice(words) for _ in range(chance.randint(0, 9)))
        text = text.title() if chance.random() < 0.2 else text.replace(" ", chance.choice(["", " ", "-"]), 1)
        assert normalize_english(text, spellings) == english(text), text
        assert normalize_any(text) == plain(text), text
        assert normalize_any(text, remove_diacritics=True) == bare(text), text
    assert normalize_english("(" * 50_000, {}) == ""
    assert normalize_any("one " * 5 + "<" * 50_000) == "one one one one one "


@pytest.mark.parametrize("suffix_first", [False, True])
def test_infilling(suffix_first):
    options = {"add_eos_token": True} if suffix_first else {}
    ours, _ = made("CodeLlamaTokenizer", **options)
    for first, suffix in (("def f(x):", "return x"), ("a ", " b"), ("", "x"), ("a", "")):
        # Infilling changes transformers' own tokenizer for good, so each text gets a new one.
        _, theirs = made("CodeLlamaTokenizer", **options)
        asked = {"suffix_first": suffix_first}
        assert dict(ours(first, suffix=suffix, **asked)) == dict(theirs(first, suffix=suffix, **asked)), first
        _, theirs = made("CodeLlamaTokenizer", **options)
        text = f"{first}<FILL_ME>{suffix}"
        assert dict(ours(text, **asked)) == dict(theirs(text, **asked))
        _, theirs = made("CodeLlamaTokenizer", **options)
        assert ours.tokenize(text, **asked) == theirs.tokenize(text, **asked)
        assert dict(ours(text, add_special_tokens=False)) == dict(theirs(text, add_special_tokens=False))
    _, theirs = made("CodeLlamaTokenizer", **options)
    same_calls(ours, theirs)
    for name in ("prefix_id", "middle_id", "suffix_id", "eot_id", "prefix_token", "fill_token"):
        assert getattr(ours, name) == getattr(theirs, name)
    with pytest.raises(ArgumentError, match="has 2"):
        ours("a<FILL_ME>b<FILL_ME>c")
    with pytest.raises(ArgumentError, match="not all set"):
        made("CodeLlamaTokenizer", middle_token=None)[0]("a<FILL_ME>b")


def test_completions_are_cut():
    ours, theirs = made("CodeGenTokenizer")
    for text in ("x = 1\n\n\n# next\nprint(1)\nprint(2)", "def f():\n  pass\ndef g():\n  #", "print(1)\ndef a", "none"):
        ids = theirs(text)["input_ids"]
        for patterns in (None, ["^#", "\n\n\n"], ["nowhere"], [r"^\w+\("]):
            asked = {"truncate_before_pattern": patterns}
            assert ours.decode(ids, **asked) == theirs.decode(ids, **asked), (text, patterns)
    typed = made("CodeGenTokenizer", return_token_type_ids=True)[0]
    assert "token_type_ids" in typed("a")
    transformers.CodeGenTokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert "token_type_ids" not in made("CodeGenTokenizer")[0]("a")


def test_splinter_without_a_dot():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]", "a", "b"]
    given = {"vocab": {token: index for index, token in enumerate(special)}}
    ours, theirs = enfold.SplinterTokenizer(**given), transformers.SplinterTokenizer(**given)
    assert dict(ours("a", "b")) == dict(theirs("a", "b"))
    assert ours("a", "b").tokens() == theirs("a", "b").tokens()
