"""Every family of encoder–decoders with its own tokenizer, beside the reference's tokenizer, `generate` and `decode`.

The reference library's own pipelines of these tasks are gone since its version 5.
"""

import logging
import random
from pathlib import Path

import pytest
import torch
import transformers

from enfold import Conversation, TapexTokenizer, pipeline
from enfold.base.errors import ArgumentError, LengthError
from tests.tokenizers.families.rows import ROWS
from tests.tokenizers.families.test_plain import blenderbot_folder, m2m_folder, marian_folder
from tests.tokenizers.families.vocabularies import vocabulary

TEXTS = [
    "Hello world, and two spaces.",
    "The parser returns the first argument that was given, or None if there is none.",
    "add",
    "It's naïve to know the text; don't return it first.",
    "usage: prog [options] file " * 3,
]
SIZES = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 128,
    "init_std": 0.5,
    "scale_embedding": True,
}
LONG = {"attention_window": 8, "max_encoder_position_embeddings": 128, "max_decoder_position_embeddings": 64}
# What the published checkpoints of a family say to generation.
HABITS = {
    "bart": {"forced_bos_token_id": 0, "no_repeat_ngram_size": 3, "length_penalty": 2.0, "num_beams": 4},
    "led": {"num_beams": 2, "no_repeat_ngram_size": 3},
    "pegasus": {"num_beams": 8, "length_penalty": 0.8},
    "marian": {"num_beams": 6},
    "blenderbot": {"min_length": 5, "num_beams": 10, "length_penalty": 0.65, "no_repeat_ngram_size": 3},
}


# Tokenizers that are made of files; the others are made of a vocabulary.
FOLDERS = {"marian": marian_folder, "m2m_100": m2m_folder, "blenderbot-small": blenderbot_folder}


class Reference:
    """A random checkpoint with its tokenizer, as the reference library writes them."""

    def __init__(self, folder: Path, family: str):
        self.folder = str(folder)
        tokenizer, model = KINDS[family]
        if family in FOLDERS:
            FOLDERS[family](folder)
            self.tokenizer = getattr(transformers, tokenizer).from_pretrained(folder)
        else:
            (row,) = [row for row in ROWS if row.name == tokenizer]
            self.tokenizer = getattr(transformers, tokenizer)(**vocabulary(row))
            self.tokenizer.save_pretrained(folder)
        t = self.tokenizer
        starts = {"marian": t.pad_token_id, "pegasus": t.pad_token_id, "blenderbot": t.bos_token_id}
        config = getattr(transformers, f"{model}Config")(
            **SIZES,
            **(LONG if family == "led" else {}),
            vocab_size=1 + max(len(t) - 1, *getattr(t, "lang_code_to_id", {}).values(), 0),
            pad_token_id=t.pad_token_id,
            eos_token_id=t.eos_token_id,
            bos_token_id=t.bos_token_id,
            decoder_start_token_id=starts.get(family, t.eos_token_id),
            forced_eos_token_id=t.eos_token_id,
        )
        torch.manual_seed(len(family))
        kind = "MarianMTModel" if family == "marian" else f"{model}ForConditionalGeneration"
        self.model = getattr(transformers, kind)(config).eval()
        with torch.no_grad():  # otherwise a token follows itself, whatever is read
            self.model.get_input_embeddings().weight.mul_(0.3)
        self.model.generation_config.update(**HABITS.get(family, {}))
        if family == "marian":
            self.model.generation_config.bad_words_ids = [[t.pad_token_id]]
        self.model.save_pretrained(folder)

    def writes(self, texts: list[str], *, marked: bool = False, **options) -> list[str]:
        """What each text becomes; `marked`: its first token sees all of it."""
        written = []
        for text in texts:
            given = self.tokenizer(text, return_tensors="pt")
            inputs = {name: given[name] for name in ("input_ids", "attention_mask")}
            if marked:
                first = torch.arange(inputs["input_ids"].shape[1]) == 0
                inputs["global_attention_mask"] = first[None].long()
            with torch.no_grad():
                ids = self.model.generate(**inputs, **options)
            written.append(self.tokenizer.decode(ids[0], skip_special_tokens=True))
        return written


# The class of its tokenizer, and the beginning of its model's.
KINDS = {
    "bart": ("BartTokenizer", "Bart"),
    "led": ("LEDTokenizer", "LED"),
    "pegasus": ("PegasusTokenizer", "Pegasus"),
    "marian": ("MarianTokenizer", "Marian"),
    "mbart": ("MBartTokenizer", "MBart"),
    "mbart50": ("MBart50Tokenizer", "MBart"),
    "nllb": ("NllbTokenizer", "M2M100"),
    "m2m_100": ("M2M100Tokenizer", "M2M100"),
    "blenderbot": ("BlenderbotTokenizer", "Blenderbot"),
    "blenderbot-small": ("BlenderbotSmallTokenizer", "BlenderbotSmall"),
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    made: dict[str, Reference] = {}

    def get(family: str) -> Reference:
        if family not in made:
            made[family] = Reference(tmp_path_factory.mktemp("writers"), family)
        return made[family]

    return get


@pytest.mark.parametrize("task", ["summarization", "text2text-generation"])
@pytest.mark.parametrize("family", ["bart", "pegasus", "led"])
def test_texts(reference, family, task):
    peer = reference(family)
    ours, name = pipeline(task, peer.folder), "summary_text" if task == "summarization" else "generated_text"
    marked = family == "led" and task == "summarization"
    for options in ({"max_new_tokens": 10}, {"max_new_tokens": 8, "num_beams": 1}, {"max_length": 9, "min_length": 4}):
        wanted = peer.writes(TEXTS, marked=marked, **options)
        assert [record[name] for record in ours(TEXTS, **options)] == wanted
        assert len(set(wanted)) > 1
        assert not marked or wanted != peer.writes(TEXTS, **options)


@pytest.mark.parametrize("options", [{"max_new_tokens": 10}, {"max_new_tokens": 7, "num_beams": 1}], ids=str)
def test_one_pair_of_languages(reference, options):
    peer = reference("marian")
    wanted = peer.writes(TEXTS, **options)
    for task in ("translation", "text2text-generation"):
        found = pipeline(task, peer.folder)(TEXTS, **options)
        assert [next(iter(record.values())) for record in found] == wanted


def test_a_target_in_front_of_the_text(reference, caplog):
    peer, options = reference("marian"), {"max_new_tokens": 8, "num_beams": 2}
    wanted = {code: peer.writes([f">>{code}<< {text}" for text in TEXTS], **options) for code in ("fra", "deu")}
    assert wanted["fra"] != wanted["deu"]
    ours = pipeline("translation", peer.folder)
    for code, other in (("fra", "fr"), ("deu", "de")):
        for found in (
            ours(TEXTS, tgt_lang=code, **options),
            ours(TEXTS, tgt_lang=other, **options),
            pipeline(f"translation_en_to_{other}", peer.folder)(TEXTS, **options),
            ours([f">>{code}<< {text}" for text in TEXTS], tgt_lang="deu", **options),
        ):
            assert [record["translation_text"] for record in found] == wanted[code]
    with pytest.raises(ArgumentError, match="tgt_lang is 'spa', and this model translates into 'deu', 'fra'"):
        ours(TEXTS, tgt_lang="spa")
    with pytest.raises(ArgumentError, match="leave out src_lang='en' and pass tgt_lang="):
        ours(TEXTS, src_lang="en", tgt_lang="fra")
    logging.getLogger("enfold").addHandler(caplog.handler)
    named = pipeline("translation_en_to_es", peer.folder)
    logging.getLogger("enfold").removeHandler(caplog.handler)
    assert "knows no 'es': texts are read as they are" in caplog.text
    assert named(TEXTS, **options) == ours(TEXTS, **options)


LANGUAGES = {
    "mbart": ("en_XX", "ro_RO", "de_DE"),
    "mbart50": ("fr_XX", "af_ZA", "en_XX"),
    "nllb": ("eng_Latn", "deu_Latn", "fra_Latn"),
    "m2m_100": ("en", "de", "zh"),
}


@pytest.mark.parametrize("family", LANGUAGES)
def test_several_languages(reference, family):
    peer = reference(family)
    ours, options = pipeline("translation", peer.folder), {"max_new_tokens": 8, "num_beams": 3}
    several = set()
    for source, target in random.Random(0).sample([(a, b) for a in LANGUAGES[family] for b in LANGUAGES[family]], 4):
        if source == target:
            continue
        peer.tokenizer.src_lang = source
        code = f"__{target}__" if family == "m2m_100" else target
        begin = peer.tokenizer.convert_tokens_to_ids(code)
        wanted = peer.writes(TEXTS, forced_bos_token_id=begin, **options)
        found = ours(TEXTS, src_lang=source, tgt_lang=target, **options)
        assert [record["translation_text"] for record in found] == wanted
        named = pipeline(f"translation_{source}_to_{target}", peer.folder, batch_size=2)
        assert named(TEXTS, **options) == found
        several.add(tuple(wanted))
    assert len(several) > 1


@pytest.mark.parametrize("family", ["blenderbot", "blenderbot-small"])
def test_conversations(reference, family):
    peer = reference(family)
    ours, options = pipeline("conversational", peer.folder), {"max_new_tokens": 9}
    talk = Conversation("Hello world")
    for said in ("and two spaces?", "don't add text"):
        messages = [message["content"] for message in talk.messages]
        (wanted,) = peer.writes([" " + "  ".join(messages)], **options)
        talk = ours(talk, **options)
        assert talk.generated_responses[-1] == wanted
        talk.add_user_input(said)
    several = [Conversation(text) for text in TEXTS]
    wanted = peer.writes([" " + text for text in TEXTS], **options)
    assert [talk.generated_responses[-1] for talk in ours(several, **options)] == wanted


def test_answers_about_tables(reference, tmp_path):
    """TAPEX is BART with another tokenizer, which the reference library lacks since its version 5."""
    peer = reference("bart")
    tokenizer = TapexTokenizer(**vocabulary(next(row for row in ROWS if row.name == "BartTokenizer")))
    tokenizer.save_pretrained(tmp_path)
    peer.model.save_pretrained(tmp_path)
    ours, options = pipeline("table-question-answering", tmp_path), {"max_new_tokens": 8}
    table = {"Parser": ["add text", "first"], "Count": ["12", "3"]}
    written = "{} col : parser | count row 1 : add text | 12 row 2 : first | 3"
    queries = ["which parser?", "count", "is it naïve"]
    wanted = [{"answer": text} for text in peer.writes([written.format(query) for query in queries], **options)]
    assert ours(table=table, query=queries, **options) == wanted
    assert ours({"table": table, "query": queries[0]}, **options) == wanted[0]
    assert ours([{"table": table, "query": query} for query in queries], batch_size=2, **options) == wanted
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    assert list(ours(iter([{"table": rows, "query": query} for query in queries]), **options)) == wanted
    long = {"name": [f"word {n}" for n in range(90)]}
    with pytest.raises(LengthError, match='truncation="drop_rows_to_fit" to leave out rows'):
        ours(table=long, query="which?")
    assert ours(table=long, query="which?", truncation="drop_rows_to_fit", **options)["answer"] is not None
    with pytest.raises(ArgumentError, match="answers questions about tables with TapexTokenizer"):
        pipeline("table-question-answering", peer.folder)
