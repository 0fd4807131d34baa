"""text2text-generation, summarization and translation beside the reference's model, which `generate` runs text by text.

The reference library's own pipelines are gone since its version 5.
"""

import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError
from enfold.models.t5 import T5Config, T5ForConditionalGeneration
from enfold.pipelines import pipeline

from .conftest import SENTENCES

TEXTS = [*SENTENCES, "Paris", "the dog " * 12]


@pytest.fixture(scope="module")
def reference(zoo):
    """`reference(name, texts, …)` → the texts that the reference's model writes for each text."""
    made = {}

    def generate(name, texts, skip_special_tokens=True, ids=False, **options):
        if name not in made:
            tokenizer = transformers.AutoTokenizer.from_pretrained(zoo(name))
            made[name] = tokenizer, transformers.T5ForConditionalGeneration.from_pretrained(zoo(name)).eval()
        tokenizer, model = made[name]
        written = []
        for text in texts:
            inputs = tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                found = model.generate(
                    inputs["input_ids"], attention_mask=inputs["attention_mask"], **{"num_beams": 4, **options}
                )
            written.append(
                list(found) if ids else [tokenizer.decode(x, skip_special_tokens=skip_special_tokens) for x in found]
            )
        return written

    return generate


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 9},
        {"max_new_tokens": 9, "num_beams": 1},
        {"max_new_tokens": 7, "num_return_sequences": 3},
        {"max_length": 8, "no_repeat_ngram_size": 2},
        {"min_new_tokens": 6, "max_new_tokens": 8, "length_penalty": 2.0},
    ],
    ids=str,
)
def test_the_same_as_the_reference(zoo, reference, options):
    ours, wanted = pipeline("text2text-generation", zoo("t5")), reference("t5", TEXTS, **options)
    records = [[{"generated_text": text} for text in written] for written in wanted]
    several = "num_return_sequences" in options
    assert ours(TEXTS, **options) == (records if several else [one for (one,) in records])
    assert ours(TEXTS[0], **options) == records[0]
    assert list(ours(iter(TEXTS), batch_size=2, **options)) == records


def test_what_is_returned(zoo, reference):
    given = {"max_new_tokens": 6, "num_beams": 1}
    for task, name in (
        ("summarization", "summary"),
        ("text2text-generation", "generated"),
        ("translation", "translation"),
    ):
        ours = pipeline(task, zoo("t5"))
        wanted = reference("t5", TEXTS[:3], **given)
        assert ours(TEXTS[:3], **given) == [{f"{name}_text": text} for (text,) in wanted]
        ids = reference("t5", TEXTS[:3], ids=True, **given)
        for asked in ({"return_tensors": True}, {"return_type": 0}, {"return_text": False}):
            for found, (theirs,) in zip(ours(TEXTS[:3], **given, **asked), ids, strict=True):
                assert torch.equal(found[f"{name}_token_ids"], theirs)
    with pytest.raises(ArgumentError, match="say different things"):
        ours(TEXTS, return_tensors=True, return_text=True)
    shown = ours(TEXTS[0], skip_special_tokens=False, **given)[0]["translation_text"]
    assert shown == reference("t5", TEXTS[:1], skip_special_tokens=False, **given)[0][0].removeprefix("<pad>").lstrip()


def test_the_repository_says_what_a_task_needs(zoo, reference):
    given = {"max_new_tokens": 8}
    summaries = reference(
        "t5-tasks",
        ["the fox: " + text for text in TEXTS],
        num_beams=3,
        length_penalty=2.0,
        early_stopping=True,
        **given,
    )
    ours = pipeline("summarization", zoo("t5-tasks"))
    assert [one["summary_text"] for one in ours(TEXTS, **given)] == [text for (text,) in summaries]
    plain = reference("t5-tasks", TEXTS[:2], num_beams=3, length_penalty=2.0, early_stopping=True, **given)
    assert [one["summary_text"] for one in ours(TEXTS[:2], prefix="", **given)] == [text for (text,) in plain]
    greedy = reference("t5-tasks", ["the fox: " + text for text in TEXTS[:2]], num_beams=1, **given)
    assert [one["summary_text"] for one in ours(TEXTS[:2], num_beams=1, **given)] == [text for (text,) in greedy]
    german = reference("t5-tasks", ["What is " + text for text in TEXTS], num_beams=2, max_length=9)
    named = pipeline("translation_en_to_de", zoo("t5-tasks"))
    assert named.task == "translation_en_to_de"
    assert [one["translation_text"] for one in named(TEXTS)] == [text for (text,) in german]
    asked = pipeline("translation", zoo("t5-tasks"))(TEXTS, src_lang="en", tgt_lang="de")
    assert asked == named(TEXTS)


def test_defaults_write_up_to_256_tokens_with_four_beams(zoo):
    ours = pipeline("text2text-generation", zoo("t5"))
    settings = ours.generation(ours.options)
    assert (settings["max_new_tokens"], settings["num_beams"]) == (256, 4)
    assert "max_new_tokens" not in ours.generation(ours.settings({"max_length": 9}))
    assert "num_beams" not in ours.generation(ours.settings({"penalty_alpha": 0.6, "top_k": 4}))
    tasks = pipeline("summarization", zoo("t5-tasks"))
    assert tasks.generation(tasks.options)["num_beams"] == 3


def test_no_default_for_other_languages(zoo):
    with pytest.raises(ArgumentError, match="translation_en_to_es has no default model; translation_en_to_de, "):
        pipeline("translation_en_to_es")
    with pytest.raises(ArgumentError, match="translation has no default model"):
        pipeline("translation")
    named = pipeline("translation_en_to_es", zoo("t5"), max_new_tokens=4)
    assert named("Paris") == pipeline("translation", zoo("t5"))("Paris", max_new_tokens=4)
    with pytest.raises(ArgumentError, match="translates one pair of languages: leave out src_lang='en'"):
        pipeline("translation", zoo("t5"))("Paris", src_lang="en", tgt_lang="fr")


LANGUAGES = {"MBartTokenizer": ("en_XX", "de_DE"), "NllbTokenizer": ("eng_Latn", "deu_Latn")}


@pytest.mark.parametrize("name", LANGUAGES)
def test_languages(tmp_path, name):
    """Codes beside the source, and the token that the translation begins with, by the tokenizer; the model is any."""
    import enfold

    pieces = sorted({piece for text in SENTENCES for word in text.split() for piece in (f"▁{word}", *word)} | {"▁"})
    if name == "NllbTokenizer":
        vocabulary: dict = {
            "vocab": {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces])},
            "merges": [],
        }
    else:
        scores = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
        vocabulary = {"vocab": [*scores, *((piece, -len(pieces) / len(piece)) for piece in pieces)]}
    theirs = getattr(transformers, name)(**vocabulary)
    ours = getattr(enfold, name)(**vocabulary)
    config = T5Config(
        vocab_size=len(theirs),
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=2,
        eos_token_id=2,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    peer = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    pipe = pipeline("translation", T5ForConditionalGeneration.from_pretrained(tmp_path), tokenizer=ours)
    source, target = LANGUAGES[name]
    given = {"max_new_tokens": 5, "num_beams": 2}
    for a, b in ((source, target), (target, source)):
        theirs.src_lang = a
        wanted = []
        for text in SENTENCES:
            inputs = theirs(text, return_tensors="pt")
            with torch.no_grad():
                start = theirs.convert_tokens_to_ids(b)
                wanted.append(peer.generate(inputs["input_ids"], forced_bos_token_id=start, **given)[0])
        found = pipe(SENTENCES, src_lang=a, tgt_lang=b, return_tensors=True, **given)
        for one, ids in zip(found, wanted, strict=True):
            assert torch.equal(one["translation_token_ids"], ids)
    assert ours.src_lang == source  # the tokenizer is as it was
    named = pipeline(f"translation_{source}_to_{target}", pipe.model, tokenizer=ours)
    assert named("Paris", **given) == pipe("Paris", src_lang=source, tgt_lang=target, **given)
    with pytest.raises(ArgumentError, match="knows several languages: pass src_lang= and tgt_lang="):
        pipe("Paris")
    with pytest.raises(ArgumentError, match=r"tgt_lang is 'german', and .* knows no such language"):
        pipe("Paris", src_lang=source, tgt_lang="german")
