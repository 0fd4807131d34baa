"""What a model says of texts: perplexity, BERTScore, MAUVE. Models load when they are needed."""

from __future__ import annotations

import contextlib
import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from enfold.base.errors import ArgumentError, LengthError
from enfold.base.logging import get_logger
from enfold.base.progress import progress
from enfold.evaluate.metrics import divergence
from enfold.evaluate.metrics.checks import check_lengths, check_texts, reference_lists

if TYPE_CHECKING:
    from torch import Tensor

logger = get_logger(__name__)
# Tokens, padding included, that go through a model at once.
TOKENS = 4096
# Which model BERTScore takes for a language, and the layer that agreed best with people on WMT16 (its authors' table).
MODELS = {
    "en": "roberta-large",
    "zh": "bert-base-chinese",
    "tr": "dbmdz/bert-base-turkish-cased",
    "en-sci": "allenai/scibert_scivocab_uncased",
}
OTHER_LANGUAGES = "bert-base-multilingual-cased"
LAYERS = {
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "bert-base-cased-finetuned-mrpc": 9,
    "bert-base-multilingual-cased": 9,
    "bert-base-chinese": 8,
    "roberta-base": 10,
    "roberta-large": 17,
    "roberta-large-mnli": 19,
    "distilbert-base-uncased": 5,
    "distilbert-base-uncased-distilled-squad": 4,
    "distilbert-base-multilingual-cased": 5,
    "distilroberta-base": 5,
    "albert-base-v2": 9,
    "albert-large-v2": 14,
    "albert-xlarge-v2": 5,
    "allenai/scibert_scivocab_uncased": 8,
    "allenai/scibert_scivocab_cased": 9,
    "dbmdz/bert-base-turkish-cased": 10,
    "microsoft/deberta-base": 9,
    "microsoft/deberta-large": 16,
    "microsoft/deberta-xlarge": 18,
    "microsoft/deberta-base-mnli": 9,
    "microsoft/deberta-large-mnli": 18,
    "microsoft/deberta-xlarge-mnli": 40,
    "microsoft/deberta-v3-base": 9,
    "microsoft/deberta-v3-large": 19,
}
# Tokenizers for which a text's first word is as any other, with a space before it.
_SPACED = ("RobertaTokenizer", "GPT2Tokenizer")


def perplexity(
    predictions: Sequence[str],
    model_id: Any,
    *,
    batch_size: int = 16,
    add_start_token: bool = True,
    device: Any = None,
    max_length: int | None = None,
    tokenizer: Any = None,
) -> dict[str, Any]:
    """How surprised a language model is by texts: e to the mean loss of a token, `{"perplexities", "mean_perplexity"}`.

    Args:
        model_id: a causal language model: a repository id, a folder, or a model (with its `tokenizer`).
        batch_size: texts that go through it together, at most.
        add_start_token: put the beginning-of-sequence token before each text, so that its first token counts too.
        device: where the model runs.
        max_length: cut longer texts to so many tokens, the start token included. By default none is cut.

    Raises:
        ArgumentError: a text of too few tokens, a tokenizer without a start token.
        LengthError: a text longer than the model's positions.
    """
    import torch

    check_lengths(predictions=predictions)
    check_texts(predictions=predictions)
    model, tokenizer = _load("AutoModelForCausalLM", model_id, tokenizer, device)
    start = []
    if add_start_token:
        if tokenizer.bos_token_id is None:
            raise ArgumentError("the tokenizer has no beginning-of-sequence token: pass add_start_token=False")
        start = [tokenizer.bos_token_id]
    most = None if max_length is None else max_length - len(start)
    if most is not None and most < 1:
        raise ArgumentError(f"max_length is {max_length}; expected 2 or more")
    rows = [start + ids[:most] for ids in tokenizer(list(predictions), add_special_tokens=False)["input_ids"]]
    for place, row in enumerate(rows):
        if len(row) < 2:
            needed = "one token" if add_start_token else "two tokens (add_start_token=False)"
            raise ArgumentError(f"text {place} has too few tokens: a perplexity needs {needed} or more")
        _check_room(row, place, model, "pass max_length=… to cut it")
    found = [0.0] * len(rows)
    for batch in _batches(rows, batch_size, "perplexity"):
        ids, mask = _padded([rows[place] for place in batch], 0)
        with torch.no_grad():
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
        for place, row, scores in zip(batch, ids, logits, strict=True):
            length = len(rows[place])
            loss = torch.nn.functional.cross_entropy(scores[: length - 1].float(), row[1:length].to(scores.device))
            found[place] = math.exp(loss.item())
    return {"perplexities": found, "mean_perplexity": float(np.mean(found))}


def data_perplexity(
    data: Sequence[str],
    model_id: Any,
    *,
    batch_size: int = 16,
    add_start_token: bool = True,
    device: Any = None,
    max_length: int | None = None,
    tokenizer: Any = None,
) -> dict[str, Any]:
    """How surprised a language model is by texts: `{"perplexities", "mean_perplexity"}`.

    Arguments as of `perplexity`, but for the name of the texts.
    """
    return perplexity(
        data,
        model_id,
        batch_size=batch_size,
        add_start_token=add_start_token,
        device=device,
        max_length=max_length,
        tokenizer=tokenizer,
    )


def bertscore(
    predictions: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    lang: str | None = None,
    model_type: Any = None,
    num_layers: int | None = None,
    verbose: bool = False,
    idf: bool | Mapping[int, float] = False,
    device: Any = None,
    batch_size: int = 64,
    nthreads: int = 4,
    all_layers: bool = False,
    rescale_with_baseline: bool = False,
    baseline_path: str | Path | None = None,
    use_fast_tokenizer: bool = False,
    tokenizer: Any = None,
) -> dict[str, Any]:
    """How well the tokens of two texts match by the cosines of their states in an encoder (Zhang et al. 2020).

    Args:
        references: a text for each prediction, or a list of them, of which the best counts for each number.
        lang: the texts' language, which chooses the model.
        model_type: instead: a repository id, a folder, or a model (with its `tokenizer`).
        num_layers: whose states are compared; by default those that the authors found best, else the last.
        verbose: accepted; a bar appears where the work lasts.
        idf: weigh tokens by how few references hold them; a dictionary gives the weights of ids.
        device: where the model runs.
        batch_size: texts that go through it together, at most.
        nthreads, use_fast_tokenizer: accepted and without effect: the tokenizer is the engine, with its own threads.
        all_layers: the numbers of every layer, a list each.
        rescale_with_baseline: subtract what unrelated texts score, as `baseline_path` says: a table with the columns
            LAYER, P, R and F, as the authors publish them.

    Returns:
        `{"precision", "recall", "f1"}`, lists with a number for each prediction, and `"hashcode"`: how they came about.

    Raises:
        ArgumentError: neither `lang` nor `model_type`, a layer that isn't there, a baseline without its file.
    """
    texts = reference_lists(predictions, references)
    if model_type is None:
        if lang is None:
            raise ArgumentError("bertscore needs lang, such as 'en', or model_type, such as 'roberta-large'")
        model_type = MODELS.get(lang.lower(), OTHER_LANGUAGES)
    if rescale_with_baseline and (baseline_path is None or all_layers):
        raise ArgumentError(
            "rescale_with_baseline needs baseline_path, the authors' table for the model, and one layer"
        )
    model, tokenizer = _load("AutoModel", model_type, tokenizer, device)
    name = str(model_type) if isinstance(model_type, (str, Path)) else model.config.model_type
    layer = _layer(name, num_layers)
    rows = [text.strip() for text in (*predictions, *(text for answers in texts for text in answers))]
    encoded = _encode(list(dict.fromkeys(rows)), tokenizer, model)
    states = _states(encoded, model, tokenizer, batch_size, layer, all_layers)
    weights = _weights(idf, [encoded[text.strip()] for answers in texts for text in answers], tokenizer)
    layers = len(next(iter(states.values())))
    scored = []
    for text, answers in zip(predictions, texts, strict=True):
        pairs = [(text.strip(), answer.strip()) for answer in answers]
        scored.append([_best(_match(pairs, states, encoded, weights, place)) for place in range(layers)])
    found = np.array(scored).transpose(2, 1, 0)  # [3, layers, N]
    if rescale_with_baseline:
        base = np.array(_baseline(Path(str(baseline_path)), layer)).reshape(3, 1, 1)
        found = (found - base) / (1 - base)
    kept = found if all_layers else found[:, 0]
    parts = (f"L{layer}", "idf" if idf else "no-idf", f"enfold{'-rescaled' if rescale_with_baseline else ''}")
    named = dict(zip(("precision", "recall", "f1"), kept.tolist(), strict=True))
    return named | {"hashcode": "_".join((name, *parts))}


def _layer(name: str, asked: int | None) -> int:
    """Which layer's states are compared; -1 is the last."""
    if asked is not None:
        return asked
    known = LAYERS.get(name, LAYERS.get(name.rpartition("/")[2]))
    if known is None:
        logger.warning("bertscore: no layer of %s was found best yet, so the last is taken; pass num_layers=…", name)
    return -1 if known is None else known


def _encode(texts: list[str], tokenizer: Any, model: Any) -> dict[str, list[int]]:
    limits = [limit for limit in (tokenizer.model_max_length, model.max_positions()) if limit is not None]
    most = min(int(min(limits)), 1 << 30) if limits else None
    spaced = type(tokenizer).__name__.removesuffix("Fast") in _SPACED
    given = [f" {text}" if spaced and text else text for text in texts]
    cut = {} if most is None else {"truncation": True, "max_length": most}
    return dict(zip(texts, tokenizer(given, **cut)["input_ids"], strict=True))


def _states(
    encoded: Mapping[str, list[int]], model: Any, tokenizer: Any, batch_size: int, layer: int, every: bool
) -> dict[str, list[Tensor]]:
    """Each text's states of length 1, [T, D] of one layer or of each."""
    import torch

    texts, rows = list(encoded), list(encoded.values())
    found: dict[str, list[Tensor]] = {}
    for batch in _batches(rows, batch_size, "bertscore"):
        ids, mask = _padded([rows[place] for place in batch], tokenizer.pad_token_id or 0)
        inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
        with torch.no_grad(), contextlib.nullcontext() if every else _no_further_than(layer, model):
            hidden = model(**inputs, output_hidden_states=True).hidden_states
        if not every and not -len(hidden) <= layer < len(hidden):
            raise ArgumentError(f"num_layers is {layer}; the model has {len(hidden) - 1}")
        for k, place in enumerate(batch):
            kept = hidden if every else [hidden[layer]]
            vectors = [states[k, : len(rows[place])].float().cpu() for states in kept]
            found[texts[place]] = [torch.nn.functional.normalize(vector, dim=-1) for vector in vectors]
    return found


@contextlib.contextmanager
def _no_further_than(layer: int, model: Any) -> Iterator[None]:
    """Let a model's stack end where the states of a layer are known."""
    from enfold.nn.modules import Stack

    stack = getattr(model, "stack", None)
    if (
        not isinstance(stack, Stack)
        or type(stack).forward is not Stack.forward
        or type(stack).finish is not Stack.finish
        or not 0 <= layer < len(stack.spec.depths)
    ):
        yield
        return
    whole = stack.spec
    # What comes last goes through the norm; the states of a layer before the last don't.
    stack.spec = replace(whole, schedule=whole.depths[: layer if stack.norm is None else layer + 1])
    try:
        yield
    finally:
        stack.spec = whole


def _weights(idf: bool | Mapping[int, float], references: list[list[int]], tokenizer: Any) -> Any:
    """The weight of a token's id: none for those that mark beginning and end, which match all the same."""
    if isinstance(idf, Mapping):
        return lambda token: idf.get(token, 0.0)
    if not idf:
        marks = {tokenizer.cls_token_id, tokenizer.sep_token_id}
        return lambda token: float(token not in marks)
    counts = Counter(token for row in references for token in set(row))
    return lambda token: math.log((len(references) + 1) / (counts[token] + 1))


def _match(
    pairs: list[tuple[str, str]], states: Mapping, encoded: Mapping, weights: Any, place: int
) -> Iterator[tuple[float, float, float]]:
    """Precision, recall and F1 of a text against each answer."""
    import torch

    for text, answer in pairs:
        if len(encoded[text]) <= 2 or len(encoded[answer]) <= 2:  # nothing but the marks
            yield 0.0, 0.0, 0.0
            continue
        cosines = states[text][place] @ states[answer][place].T
        sides = []
        for side, best in ((text, cosines.max(dim=1).values), (answer, cosines.max(dim=0).values)):
            weight = torch.tensor([weights(token) for token in encoded[side]])
            total = weight.sum()
            sides.append(float(best @ weight / total) if total else 0.0)
        precision, recall = sides
        yield precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _best(scores: Iterator[tuple[float, float, float]]) -> tuple[float, ...]:
    """The best precision, recall and F1, each by itself."""
    return tuple(map(max, zip(*scores, strict=True)))


def _baseline(path: Path, layer: int) -> list[float]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row and row[0].strip().lstrip("-").isdigit()]
    found = {int(row[0]): [float(value) for value in row[1:4]] for row in rows}
    if layer not in found:
        raise ArgumentError(f"{path} has no row for layer {layer}; it has {', '.join(map(str, sorted(found)))}")
    return found[layer]


def mauve(
    predictions: Sequence[str] | None = None,
    references: Sequence[str] | None = None,
    *,
    p_features: Any = None,
    q_features: Any = None,
    num_buckets: int | str = "auto",
    pca_max_data: int = -1,
    kmeans_explained_var: float = 0.9,
    kmeans_num_redo: int = 5,
    kmeans_max_iter: int = 500,
    featurize_model_name: Any = "gpt2-large",
    device: Any = None,
    max_text_length: int = 1024,
    divergence_curve_discretization_size: int = 25,
    mauve_scaling_factor: float = 5,
    batch_size: int = 8,
    seed: int = 25,
    tokenizer: Any = None,
) -> dict[str, Any]:
    """How near the distribution of written texts is to that of people's, from 0 to 1 (Pillutla et al. 2021).

    Args:
        predictions, references: texts; thousands of each, or the number says little.
        p_features, q_features: instead of them: vectors [N, D] of predictions and references.
        num_buckets: clusters; "auto" takes a tenth of the fewer texts.
        pca_max_data: rows that the principal components are found from; -1 is all.
        kmeans_explained_var: the variance that the kept components explain.
        kmeans_num_redo, kmeans_max_iter: how often k-means begins anew, and its steps.
        featurize_model_name: whose last state is a text's vector: an id, a folder, or a model (with `tokenizer`).
        device: where the model runs.
        max_text_length: tokens of a text, at most; the rest is cut.
        divergence_curve_discretization_size: mixtures on the curve.
        mauve_scaling_factor: how steeply the score falls.
        batch_size: texts that go through the model together, at most.
        seed: of components and clusters.

    Returns:
        `{"mauve", "frontier_integral", "divergence_curve", "p_hist", "q_hist", "num_buckets"}`.
    """
    sides = {"predictions": (predictions, p_features), "references": (references, q_features)}
    for name, (texts, features) in sides.items():
        if (texts is None) == (features is None):
            raise ArgumentError(f"mauve takes {name} as texts or as features, one of both")
        if texts is not None:
            check_lengths(**{name: texts})
            check_texts(**{name: texts})
    model: Any = None
    if predictions is not None or references is not None:
        model, tokenizer = _load("AutoModel", featurize_model_name, tokenizer, device)
    vectors = [
        np.asarray(
            features if texts is None else _last_states(list(texts), model, tokenizer, batch_size, max_text_length),
            dtype=np.float32,
        )
        for texts, features in sides.values()
    ]
    return divergence.mauve_of_vectors(
        *vectors,
        num_buckets=num_buckets,
        pca_max_data=pca_max_data,
        explained=kmeans_explained_var,
        redo=kmeans_num_redo,
        steps=kmeans_max_iter,
        points=divergence_curve_discretization_size,
        scale=mauve_scaling_factor,
        seed=seed,
    )


def _last_states(texts: list[str], model: Any, tokenizer: Any, batch_size: int, most: int) -> np.ndarray:
    """The state of each text's last token, [N, D]."""
    import torch

    rows = tokenizer(texts, truncation=True, max_length=most)["input_ids"]
    for place, row in enumerate(rows):
        if not row:
            raise ArgumentError(f"text {place} has no tokens: leave it out")
        _check_room(row, place, model, "lower max_text_length")
    found = np.zeros((0, 0))
    for batch in _batches(rows, batch_size, "mauve"):
        ids, mask = _padded([rows[place] for place in batch], 0)
        with torch.no_grad():
            states = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).last_hidden_state
        if not found.size:
            found = np.zeros((len(rows), states.shape[-1]), dtype=np.float32)
        for k, place in enumerate(batch):
            found[place] = states[k, len(rows[place]) - 1].float().cpu().numpy()
    return found


# What all of them do with models


def _load(kind: str, model: Any, tokenizer: Any, device: Any) -> tuple[Any, Any]:
    """A model and its tokenizer, by name or as they are."""
    from enfold.models import auto
    from enfold.tokenizers.auto import AutoTokenizer

    if isinstance(model, (str, Path)):
        tokenizer = AutoTokenizer.from_pretrained(model) if tokenizer is None else tokenizer
        place = {} if device is None else {"device": device}
        model = getattr(auto, kind).from_pretrained(model, **place)
    elif tokenizer is None:
        raise ArgumentError(f"a {type(model).__name__} was handed over without its tokenizer: pass tokenizer=")
    return model.eval(), tokenizer


def _check_room(row: list[int], place: int, model: Any, instead: str) -> None:
    limit = model.max_positions()
    if limit is not None and len(row) > limit:
        raise LengthError(f"text {place} has {len(row)} tokens, and the model knows {limit} positions: {instead}")


def _batches(rows: Sequence[Sequence[int]], most: int, label: str) -> Iterator[list[int]]:
    """Places of rows of about one length, the longest first."""
    if most < 1:
        raise ArgumentError(f"batch_size is {most}; expected 1 or more")
    order, batches = sorted(range(len(rows)), key=lambda place: -len(rows[place])), []
    while order:
        count = max(1, min(most, TOKENS // max(len(rows[order[0]]), 1)))
        batches.append(order[:count])
        order = order[count:]
    yield from progress(batches, label=label)


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and their mask, both [B, T]."""
    import torch

    ids = torch.full((len(rows), max(map(len, rows))), pad)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return ids, mask
