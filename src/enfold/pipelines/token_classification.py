"""token-classification: labels of tokens, or of the words and names that they make."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row, tokenizer_options, usual_length
from enfold.pipelines.entities import STRATEGIES, Piece, entities, without_overlaps
from enfold.pipelines.overlaps import Window, read_in_windows
from enfold.pipelines.text_classification import softmax

logger = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class TokenClassificationOptions(Options):
    """Options of token-classification.

    Attributes:
        aggregation_strategy: "none" labels tokens; "simple" groups neighbours of one kind; "first", "average" and "max"
            do so after giving each word one label.
        ignore_labels: labels that are left out.
        stride: read long texts in windows of the model's length that overlap by so many tokens; needs a strategy other
            than "none".
        is_split_into_words: the inputs are lists of words.
        delimiter: what stood between the words; offsets count in the text that it joins. A space by default.
    """

    aggregation_strategy: str = "none"
    ignore_labels: Sequence[str] = ("O",)
    stride: int | None = None
    is_split_into_words: bool = False
    delimiter: str | None = None


@dataclass(slots=True)
class Text:
    """A text and the windows over it, one for each row."""

    text: str
    windows: list[Window]


class TokenClassificationPipeline(Pipeline[TokenClassificationOptions]):
    """Texts → a list of `{"entity", "score", "index", "word", "start", "end"}` each, or of
    `{"entity_group", "score", "word", "start", "end"}` with an aggregation strategy. Offsets count characters.
    """

    task = "token-classification"
    heads = ("token-classification",)
    options_class = TokenClassificationOptions
    instead_of_cutting = "stride=… with an aggregation_strategy to read it in windows, "

    def settings(self, options: dict[str, Any]) -> TokenClassificationOptions:
        nothing = {n for n in ("aggregation_strategy", "ignore_labels") if options.get(n, "") is None}
        chosen = super().settings({name: value for name, value in options.items() if name not in nothing})
        given = chosen.aggregation_strategy
        strategy = str(getattr(given, "value", given)).lower()
        if strategy not in STRATEGIES:
            raise ArgumentError(f"aggregation_strategy is {given!r}; expected one of {', '.join(STRATEGIES)}")
        if isinstance(chosen.ignore_labels, str):
            raise ArgumentError(f"ignore_labels is {chosen.ignore_labels!r}; expected a list of labels")
        if chosen.stride is not None:
            self._check_stride(chosen.stride, strategy)
        return replace(chosen, aggregation_strategy=strategy)

    def _check_stride(self, stride: Any, strategy: str) -> None:
        length = usual_length(self.tokenizer, self.limit)
        if isinstance(stride, bool) or not isinstance(stride, int) or stride < 0:
            raise ArgumentError(f"stride is {stride!r}; expected a number of tokens, 0 or more")
        if strategy == "none":
            raise ArgumentError(
                f"stride={stride} reads long texts in windows that overlap, and tokens that several windows label "
                "can't be merged: choose an aggregation_strategy, 'simple' for example"
            )
        if length is not None and stride >= length - self.tokenizer.num_special_tokens_to_add():
            raise ArgumentError(f"stride={stride} leaves no step forward in windows of {length} tokens: lower it")

    def arrange(self, inputs: Any, options: TokenClassificationOptions) -> Any:
        single = options.is_split_into_words and isinstance(inputs, (list, tuple)) and inputs
        return [list(inputs)] if single and not all(isinstance(item, list) for item in inputs) else inputs

    def preprocess(self, inputs: list[Any], options: TokenClassificationOptions, first: int = 0) -> list[Item]:
        for index, item in enumerate(inputs):
            self._check(item, first + index, options)
        split = options.is_split_into_words
        delimiter = " " if options.delimiter is None else options.delimiter
        texts = [delimiter.join(item) if split else item for item in inputs]
        call = tokenizer_options(options.tokenizer_kwargs, self.tokenizer, self.limit) | {"is_split_into_words": split}
        length = None
        if options.stride is not None and (usual := usual_length(self.tokenizer, self.limit)) is not None:
            length = call.pop("max_length", None) or usual
        items = [Item([], Text(text, [])) for text in texts]
        windows = read_in_windows(self.tokenizer, inputs, length=length, stride=options.stride or 0, options=call)
        for window in windows:
            self.check_length(window.row, inputs[window.owner], first + window.owner)
            if split:
                window.offsets = _in_text(window.offsets, window.words(), inputs[window.owner], len(delimiter))
            items[window.owner].rows.append(window.row)
            items[window.owner].kept.windows.append(window)
        return items

    def _check(self, item: Any, number: int, options: TokenClassificationOptions) -> None:
        if options.is_split_into_words:
            if not isinstance(item, list) or not all(isinstance(word, str) for word in item):
                raise ArgumentError(
                    f"{self.task} with is_split_into_words=True takes lists of words; input {number} is none"
                )
        elif not isinstance(item, str):
            raise ArgumentError(
                f"{self.task} takes texts, and input {number} is a {type(item).__name__}"
                + (": for words, pass is_split_into_words=True" if isinstance(item, (list, tuple)) else "")
            )

    def forward(self, rows: list[Row], options: TokenClassificationOptions) -> list[np.ndarray]:
        """Scores [T, C] each."""
        logits = self.model(**self.tensors(rows)).logits.float().cpu().numpy()
        return [softmax(answer[: len(row.ids)]) for answer, row in zip(logits, rows, strict=True)]

    def postprocess(
        self, item: Item, outputs: list[np.ndarray], options: TokenClassificationOptions
    ) -> list[dict[str, Any]]:
        labels = self.model.config.id2label
        found: list[dict[str, Any]] = []
        for window, scores in zip(item.kept.windows, outputs, strict=True):
            pieces = self._pieces(item.kept.text, window, scores, options.aggregation_strategy)
            for entity in entities(
                pieces, options.aggregation_strategy, labels, self.tokenizer.convert_tokens_to_string
            ):
                if entity.get("entity", entity.get("entity_group")) not in options.ignore_labels:
                    found.append(entity)
        return without_overlaps(found) if len(outputs) > 1 else found

    def _pieces(self, text: str, window: Window, scores: np.ndarray, strategy: str) -> list[Piece]:
        """The tokens that aren't special, with what grouping them needs."""
        words, ids = self.tokenizer.convert_ids_to_tokens(window.row.ids), window.row.ids
        marked = strategy not in ("none", "simple") and self._marks_inner_tokens
        unknown = self.tokenizer.unk_token_id
        pieces = []
        for index, (word, special) in enumerate(zip(words, window.special, strict=True)):
            if special:
                continue
            start, end = window.offsets[index]
            if ids[index] == unknown:
                word, inner = text[start:end], False
            elif marked:
                inner = len(word) != end - start
            else:
                # Without marks a token continues a word if no space stands before it, punctuation included.
                inner = start > 0 and " " not in text[start - 1 : start + 1]
            pieces.append(Piece(word, scores[index], start, end, index, inner))
        return pieces

    @cached_property
    def _marks_inner_tokens(self) -> bool:
        """Whether the vocabulary marks tokens that continue a word, as WordPiece does."""
        model = json.loads(self.tokenizer.backend_tokenizer.to_str())["model"]
        if model.get("continuing_subword_prefix"):
            return True
        logger.warning(
            "%s: this tokenizer doesn't mark where words begin, so words are taken to be what stands between spaces.",
            self.task,
        )
        return False


def _in_text(
    offsets: Sequence[tuple[int, int]], words: Sequence[int | None], given: Sequence[str], gap: int
) -> list[tuple[int, int]]:
    """Offsets within words → offsets in the words joined by `gap` characters."""
    starts, at = [], 0
    for word in given:
        starts.append(at)
        at += len(word) + gap
    return [
        (start, end) if word is None else (start + starts[word], end + starts[word])
        for (start, end), word in zip(offsets, words, strict=True)
    ]


NerPipeline = TokenClassificationPipeline
