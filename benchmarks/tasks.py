"""Every text pipeline over mixed lengths on random models, beside transformers on the same files.

The peer is its pipeline, or where version 5 has none its tokenizer, model and `generate`: one input at a time, and over
inputs sorted by length with the batch size that serves it best. `--quick` takes two layers and 48 inputs; `--layers`
and `--width` make other models, and `--processor` counts processor seconds, for a machine that has other work.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import alternate, table

# Inputs, batch size → answers
Peer = Callable[[Sequence[Any], int], Any]
NEW_TOKENS = 8
LABELS = ["sport", "politics", "science"]


@dataclass(frozen=True)
class Case:
    """A task to measure.

    Attributes:
        kind: which model.
        options: of the call, on both sides.
        make: text → input.
        peer: (folder, options) → how transformers does it; None is its pipeline.
        ours: input → what our pipeline is called with, where that differs.
        task: of the peer's pipeline, where it has another name.
    """

    kind: str
    options: dict[str, Any]
    make: Callable[[str], Any] = lambda text: text
    peer: Callable[[str, dict[str, Any]], Peer] | None = None
    ours: Callable[[Any], Any] = lambda made: made
    task: str | None = None


def _pairs(folder: str, options: dict[str, Any]) -> Peer:
    """Extractive answers: windows, and the best start and end of each."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()

    @torch.no_grad()
    def run(items: Sequence[dict[str, str]], size: int) -> list[Any]:
        found = []
        for first in range(0, len(items), size):
            part = items[first : first + size]
            encoded = tokenizer(
                [item["question"] for item in part],
                [item["context"] for item in part],
                truncation="only_second",
                max_length=384,
                stride=128,
                return_overflowing_tokens=True,
                padding=True,
                return_tensors="pt",
            )
            encoded.pop("overflow_to_sample_mapping")
            output = model(**encoded)
            found += zip(output.start_logits.argmax(-1).tolist(), output.end_logits.argmax(-1).tolist(), strict=True)
        return found

    return run


def _ranks(folder: str, options: dict[str, Any]) -> Peer:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()

    @torch.no_grad()
    def run(items: Sequence[dict[str, Any]], size: int) -> list[float]:
        found, texts = [], [(item["query"], text) for item in items for text in item["documents"]]
        for first in range(0, len(texts), size):
            part = texts[first : first + size]
            encoded = tokenizer([a for a, _ in part], [b for _, b in part], padding=True, return_tensors="pt")
            found += model(**encoded).logits[:, 0].tolist()
        return found

    return run


def _likens(folder: str, options: dict[str, Any]) -> Peer:
    """Cosines of mean states."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def run(items: Sequence[dict[str, Any]], size: int) -> list[float]:
        texts, means = [text for item in items for text in (item["source_sentence"], *item["sentences"])], []
        for first in range(0, len(texts), 2 * size):
            encoded = tokenizer(texts[first : first + 2 * size], padding=True, return_tensors="pt")
            mask = encoded["attention_mask"].unsqueeze(-1)
            means.append((model(**encoded).last_hidden_state * mask).sum(1) / mask.sum(1))
        pairs = torch.cat(means).unflatten(0, (-1, 2))
        return torch.cosine_similarity(pairs[:, 0], pairs[:, 1]).tolist()

    return run


def _says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _talk(messages: list[dict[str, str]]) -> Any:
    from enfold import Conversation

    return Conversation(messages[0]["content"])


def _writes(folder: str, options: dict[str, Any]) -> Peer:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()

    def run(texts: Sequence[str], size: int) -> list[str]:
        found = []
        for first in range(0, len(texts), size):
            encoded = tokenizer(list(texts[first : first + size]), padding=True, return_tensors="pt")
            ids = model.generate(encoded["input_ids"], attention_mask=encoded["attention_mask"], **options)
            found += tokenizer.batch_decode(ids, skip_special_tokens=True)
        return found

    return run


_WRITTEN = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "num_beams": 1}
CASES = {
    "text-classification": Case("BertForSequenceClassification", {}),
    "token-classification": Case("BertForTokenClassification", {"aggregation_strategy": "simple"}),
    "fill-mask": Case("BertForMaskedLM", {}, lambda text: f"[MASK] {text}"),
    "feature-extraction": Case("BertModel", {}),
    "zero-shot-classification": Case("BertForSequenceClassification", {"candidate_labels": LABELS}),
    "question-answering": Case(
        "BertForQuestionAnswering", {}, lambda text: {"question": "what is it about", "context": text}, _pairs
    ),
    "text-ranking": Case(
        "BertForSequenceClassification:1", {}, lambda text: {"query": "the river", "documents": [text]}, _ranks
    ),
    "text-generation": Case("GPT2LMHeadModel", {**_WRITTEN, "do_sample": False}),
    "conversational": Case(
        "GPT2LMHeadModel", {**_WRITTEN, "do_sample": False}, _says, ours=_talk, task="text-generation"
    ),
    "sentence-similarity": Case(
        "BertModel", {}, lambda text: {"source_sentence": "the river", "sentences": [text]}, _likens
    ),
    "text2text-generation": Case("T5ForConditionalGeneration", _WRITTEN, peer=_writes),
    "summarization": Case("T5ForConditionalGeneration", _WRITTEN, peer=_writes),
    "translation": Case("T5ForConditionalGeneration", {**_WRITTEN, "num_beams": 4}, peer=_writes),
}


def make_model(kind: str, folder: Path, tokenizer: Any, layers: int, width: int) -> None:
    """A random model with MiniLM's vocabulary and heads of 64."""
    import transformers

    name, _, labels = kind.partition(":")
    size = len(tokenizer)
    shape = {"vocab_size": size, "pad_token_id": tokenizer.pad_token_id}
    if name.startswith("Bert"):
        entailment = {"contradiction": 0, "neutral": 1, "entailment": 2}
        named = (
            {"num_labels": 1} if labels else {"label2id": entailment, "id2label": {i: n for n, i in entailment.items()}}
        )
        named = {} if name.endswith("QuestionAnswering") else named
        sizes = {"hidden_size": width, "num_attention_heads": width // 64, "intermediate_size": 4 * width}
        config = transformers.BertConfig(num_hidden_layers=layers, **sizes, **shape, **named)
    elif name.startswith("GPT2"):
        ends = {"bos_token_id": 101, "eos_token_id": 102}
        config = transformers.GPT2Config(n_layer=layers, n_embd=width, n_head=width // 64, **ends, **shape)
    else:
        config = transformers.T5Config(
            d_model=width,
            d_ff=4 * width,
            num_heads=width // 64,
            num_layers=layers,
            decoder_start_token_id=0,
            eos_token_id=102,
            **shape,
        )
    torch.manual_seed(0)
    getattr(transformers, name)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure_tasks(
    tasks: Sequence[str], texts: list[str], *, layers: int, width: int, repeats: int, processor: bool
) -> None:
    """Print a table of seconds and ratios."""
    import transformers

    import enfold

    transformers.logging.set_verbosity_error()
    rows: list[list[object]] = []
    clock = time.process_time if processor else time.perf_counter
    from benchmarks.pipelines import minilm_folder

    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_folder())
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    with tempfile.TemporaryDirectory(prefix="enfold-benchmark-") as root:
        for task in tasks:
            case, folder = CASES[task], Path(root) / task
            make_model(case.kind, folder, tokenizer, layers, width)
            options = {"pooling": "none"} if task == "feature-extraction" else case.options
            ours = enfold.pipeline(task, str(folder), device="cpu", **options)
            peer = case.peer(str(folder), case.options) if case.peer else None
            peer = peer or _pipeline(case.task or task, str(folder), case.options)
            ordered = [case.make(text) for text in sorted(texts, key=len)]
            given = [case.make(text) for text in texts]
            sample = ordered[:: max(1, len(ordered) // 32)]
            best = _best(peer, sample, clock)
            ours(list(map(case.ours, sample)))
            runs = (
                lambda ours=ours, given=given, case=case: ours(list(map(case.ours, given))),
                partial(peer, given, 1),
                partial(peer, ordered, best),
            )
            mine, default, batched = alternate(*runs, repeats=repeats, warmup=0, clock=clock)
            rows.append([task, mine, default, default / mine, f"{batched:.3g} ({best})", batched / mine])
            print(rows[-1], flush=True)
    peer = "transformers"
    kind = "processor seconds" if processor else "seconds"
    print(f"{len(texts)} inputs, {layers} layers of width {width}, fp32, {torch.get_num_threads()} threads, {kind}\n")
    table(["task", "enfold s", f"{peer} s", "times as fast", f"{peer} sorted s (batch size)", "times as fast"], rows)


def _pipeline(task: str, folder: str, options: dict[str, Any]) -> Peer:
    import transformers

    pipe = transformers.pipeline(task, model=folder, device="cpu")
    if pipe.tokenizer.pad_token_id is None:
        pipe.tokenizer.pad_token_id = pipe.model.config.eos_token_id
    return lambda items, size: pipe(list(items), batch_size=size, **options)


def _best(peer: Peer, items: Sequence[Any], clock: Callable[[], float]) -> int:
    """The batch size with which the peer is fastest over a sample."""
    seconds = {}
    for size in (4, 8, 16, 32):
        started = clock()
        peer(items, size)
        seconds[size] = clock() - started
    return min(seconds, key=lambda size: seconds[size])
