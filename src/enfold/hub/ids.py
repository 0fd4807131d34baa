"""What the user named: a folder on this machine, or a repository on a hub."""

import os
import re
from pathlib import Path
from typing import Literal

from enfold.base.errors import RepositoryIdError

RepoType = Literal["model", "dataset"]

# One or two parts of letters, digits, '.', '_' and '-', 96 characters in all: the hub's own rule for ids.
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"(?:{_PART}/)?{_PART}")

# Models that are older than namespaces. The hub answers to both names, so a cache may hold either.
_LEGACY = {
    "albert": "albert-base-v1 albert-base-v2 albert-large-v1 albert-large-v2 albert-xlarge-v1 albert-xlarge-v2 "
    "albert-xxlarge-v1 albert-xxlarge-v2",
    "almanach": "camembert-base",
    "distilbert": "distilbert-base-cased distilbert-base-cased-distilled-squad distilbert-base-german-cased "
    "distilbert-base-multilingual-cased distilbert-base-uncased distilbert-base-uncased-distilled-squad "
    "distilbert-base-uncased-finetuned-sst-2-english distilgpt2 distilroberta-base",
    "FacebookAI": "roberta-base roberta-large roberta-large-mnli roberta-base-openai-detector "
    "roberta-large-openai-detector xlm-clm-ende-1024 xlm-clm-enfr-1024 xlm-mlm-100-1280 xlm-mlm-17-1280 "
    "xlm-mlm-en-2048 xlm-mlm-ende-1024 xlm-mlm-enfr-1024 xlm-mlm-enro-1024 xlm-mlm-tlm-xnli15-1024 "
    "xlm-mlm-xnli15-1024 xlm-roberta-base xlm-roberta-large xlm-roberta-large-finetuned-conll02-dutch "
    "xlm-roberta-large-finetuned-conll02-spanish xlm-roberta-large-finetuned-conll03-english "
    "xlm-roberta-large-finetuned-conll03-german",
    "google-bert": "bert-base-cased bert-base-cased-finetuned-mrpc bert-base-chinese bert-base-german-cased "
    "bert-base-german-dbmdz-cased bert-base-german-dbmdz-uncased bert-base-multilingual-cased "
    "bert-base-multilingual-uncased bert-base-uncased bert-large-cased bert-large-cased-whole-word-masking "
    "bert-large-cased-whole-word-masking-finetuned-squad bert-large-uncased bert-large-uncased-whole-word-masking "
    "bert-large-uncased-whole-word-masking-finetuned-squad",
    "google-t5": "t5-small t5-base t5-large t5-3b t5-11b",
    "openai-community": "gpt2 gpt2-medium gpt2-large gpt2-xl openai-gpt",
    "Salesforce": "ctrl",
    "transfo-xl": "transfo-xl-wt103",
    "xlnet": "xlnet-base-cased xlnet-large-cased",
}
_ALIASES: dict[str, str] = {}
for _owner, _names in _LEGACY.items():
    for _name in _names.split():
        _ALIASES[_name] = f"{_owner}/{_name}"
        _ALIASES[f"{_owner}/{_name}"] = _name


# Data sets that are older than namespaces.
_LEGACY_DATASETS = {
    "CogComp": "trec",
    "EdinburghNLP": "xsum",
    "Rowan": "hellaswag",
    "Salesforce": "wikitext",
    "Skylion007": "openwebtext",
    "Yelp": "yelp_review_full",
    "abisee": "cnn_dailymail",
    "allenai": "c4",
    "aps": "super_glue",
    "bookcorpus": "bookcorpus",
    "cardiffnlp": "tweet_eval",
    "cornell-movie-review-data": "rotten_tomatoes",
    "dair-ai": "emotion",
    "eriktks": "conll2003",
    "ethz": "food101",
    "facebook": "xnli",
    "fancyzhx": "ag_news amazon_polarity dbpedia_14 yelp_polarity",
    "google": "boolq",
    "google-research-datasets": "paws",
    "mandarjoshi": "trivia_qa",
    "nyu-mll": "glue multi_nli",
    "openai": "gsm8k",
    "rajpurkar": "squad squad_v2",
    "stanfordnlp": "imdb snli sst2",
    "uoft-cs": "cifar10 cifar100",
    "ylecun": "mnist",
    "zalando-datasets": "fashion_mnist",
}
_DATASET_ALIASES: dict[str, str] = {}
for _owner, _names in _LEGACY_DATASETS.items():
    for _name in _names.split():
        _DATASET_ALIASES[_name] = f"{_owner}/{_name}"
        _DATASET_ALIASES[f"{_owner}/{_name}"] = _name


def names_of(repo_id: str, repo_type: RepoType = "model") -> tuple[str, ...]:
    """Every id under which the same repository may be cached, the given one first.

    `names_of("gpt2")` is `("gpt2", "openai-community/gpt2")`.
    """
    aliases = _ALIASES if repo_type == "model" else _DATASET_ALIASES
    return (repo_id, aliases[repo_id]) if repo_id in aliases else (repo_id,)


def local_folder(repo_or_folder: str | os.PathLike) -> Path | None:
    """The folder that was named, if it exists; None for a well-formed repository id.

    A folder wins over a repository of the same name.

    Raises:
        RepositoryIdError: if it is neither.
    """
    if not isinstance(repo_or_folder, str | os.PathLike):
        raise RepositoryIdError(
            f"Expected a repository id such as 'org/name' or a folder, got {type(repo_or_folder).__name__}: "
            f"{repo_or_folder!r}."
        )
    text = os.fspath(repo_or_folder)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    folder = Path(text).expanduser() if text and "\0" not in text else None
    if folder is not None and folder.is_dir():
        return folder
    if folder is not None and folder.is_file():
        raise RepositoryIdError(f"{text!r} is a file. Expected the folder that holds it, or a repository id.")
    if not isinstance(repo_or_folder, str) or text.startswith((".", "/", "~")) or text.endswith("/") or "\\" in text:
        raise RepositoryIdError(
            f"There is no folder {text!r} (looked from {os.getcwd()}). Give a folder that exists, or a repository id "
            "such as 'org/name'."
        )
    if "://" in text:
        tail = "/".join(text.split("://", 1)[1].split("/")[-2:])
        raise RepositoryIdError(f"{text!r} is an address. Expected a repository id: {tail!r}?")
    if not _ID.fullmatch(text) or len(text) > 96 or "--" in text or ".." in text or text.endswith(".git"):
        raise RepositoryIdError(
            f"{text!r} is neither a folder that exists nor a repository id. An id is 'name' or 'org/name': letters, "
            "digits, '-', '_' and '.', at most 96 characters, without '--' or '..'."
        )
    return None
