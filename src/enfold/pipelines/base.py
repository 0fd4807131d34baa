"""What every pipeline does: options, windows, batches, order, progress."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch

from enfold.base.errors import ArgumentError
from enfold.base.progress import progress
from enfold.pipelines import checks
from enfold.pipelines.encoding import (
    TOKENIZER_OPTIONS,
    Row,
    batches,
    check_length,
    encode,
    preview,
    stack_rows,
    tokenizer_options,
)
from enfold.pipelines.inputs import Answers, form, items_of, length_of, windows

# Tokens in one forward pass. On a CPU more than fits its caches is slower; a GPU wants to be filled.
TOKENS_PER_BATCH = {"cpu": 2048}
TOKENS_PER_BATCH_ELSEWHERE = 32768


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that every task takes.

    Attributes:
        tokenizer_kwargs: passed to the tokenizer (`truncation=True, max_length=128, …`), which are also options
            of their own.
    """

    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)


Settings = TypeVar("Settings", bound=Options)


@dataclass(slots=True)
class Item:
    """One input on its way: the rows that the model reads for it, and what its answer needs besides."""

    rows: list[Row]
    kept: Any = None


class Pipeline(Generic[Settings]):
    """A model, its tokenizer, and the steps from text to answer: `preprocess`, `forward`, `postprocess`.

    Batches are made inside: a window of inputs is tokenised at once, sorted by length, cut into batches without
    padding, and put back into order. The pipeline holds no state of a call, so threads may share one.

    Args:
        model: a model with the head that the task needs.
        tokenizer: its tokenizer.
        task: the name that the pipeline goes by.
        device: where to move the model; None leaves it where it is.
        batch_size: sequences in one forward pass, at most; None lets the number of tokens decide.
        options: the task's options, as defaults of every call.

    Raises:
        ArgumentError: a model without the task's head, a tokenizer of another model, unknown options.
    """

    task: str
    heads: ClassVar[tuple[str, ...]]
    options_class: ClassVar[type[Options]] = Options
    # Weights that this task never reads: their absence from a checkpoint doesn't matter.
    unread: ClassVar[str] = r"$^"
    # Items that a window holds at most: they are tokenised together, and a stream is read that far ahead.
    window: ClassVar[int] = 2048
    # Whether an input is a dictionary of several texts: on the command line it is a JSON object.
    structured: ClassVar[bool] = False
    # What a message about a text that is too long also suggests.
    instead_of_cutting: ClassVar[str] = ""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        task: str | None = None,
        device: Any = None,
        batch_size: int | None = None,
        **options: Any,
    ):
        self.task = task or type(self).task
        checks.check_head(model, self.task, self.heads)
        checks.check_vocabulary(model, tokenizer)
        if device is not None:
            from enfold.models.load import target_device

            model = model.to(target_device(device, None))
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.batch_size = self._cap(batch_size)
        self.options: Settings = self.options_class()  # type: ignore[assignment]
        self.options = self.settings(options)

    @classmethod
    def extras(cls, source: str | Path, hub: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        """Further arguments of the constructor, from the model's repository.

        Args:
            hub: `revision`, `token` and so on, for `enfold.hub.files.resolve_file`.
            options: what the user passed.
        """
        return {}

    @classmethod
    def serving(cls, model: Any) -> "type[Pipeline]":
        """The class that serves this model, where a task is done in more than one way."""
        return cls

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @cached_property
    def limit(self) -> int | None:
        """The most tokens a sequence may have, or None where positions have no table."""
        return self.model.max_positions()

    # Options

    def settings(self, options: dict[str, Any]) -> Settings:
        """The pipeline's options, overridden by those of a call.

        Raises:
            ArgumentError: an unknown option (the nearest is named), or values that make no sense.
        """
        if "tokenize_kwargs" in options:  # what feature-extraction calls it in the reference library
            options = {"tokenizer_kwargs": options["tokenize_kwargs"]} | options
            options.pop("tokenize_kwargs")
        known = {f.name for f in fields(self.options_class)}
        own = {name: value for name, value in options.items() if name in known}
        if "tokenizer_kwargs" in own:
            own["tokenizer_kwargs"] = self._tokenizer_kwargs(own["tokenizer_kwargs"])
        others = {name: value for name, value in options.items() if name not in known}
        chosen = replace(self.options, **own)
        return self.absorb(chosen, others) if others else chosen

    def absorb(self, chosen: Settings, others: dict[str, Any]) -> Settings:
        """Take options that are no fields of the task's settings: here, the tokenizer's."""
        passed = {name: value for name, value in others.items() if name in TOKENIZER_OPTIONS}
        if strange := [name for name in others if name not in passed]:
            self._refuse(strange)
        if twice := sorted(passed.keys() & chosen.tokenizer_kwargs.keys() - self.options.tokenizer_kwargs.keys()):
            raise ArgumentError(f"{self.task} got {', '.join(twice)} both as an option and in tokenizer_kwargs")
        return replace(chosen, tokenizer_kwargs={**chosen.tokenizer_kwargs, **passed})

    def option_names(self) -> set[str]:
        """Every option of the task."""
        return {f.name for f in fields(self.options_class)} | TOKENIZER_OPTIONS

    def _refuse(self, strange: Sequence[str]) -> None:
        hints = []
        for name in strange:
            near = difflib.get_close_matches(name, self.option_names(), n=1)
            hints.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
        raise ArgumentError(
            f"{self.task} has no option {', '.join(hints)}; it has {', '.join(sorted(self.option_names()))}"
        )

    def _tokenizer_kwargs(self, given: Any) -> dict[str, Any]:
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise ArgumentError(f"tokenizer_kwargs is a {type(given).__name__}; expected a dictionary of options")
        if strange := [name for name in given if name not in TOKENIZER_OPTIONS]:
            self._refuse(strange)
        return dict(given)

    @staticmethod
    def _cap(batch_size: int | None) -> int | None:
        if batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
        ):
            raise ArgumentError(f"batch_size is {batch_size!r}; expected a number of sequences, 1 or more")
        return batch_size

    # Calls

    def __call__(
        self, inputs: Any, *, batch_size: int | None = None, num_workers: int | None = None, **options: Any
    ) -> Any:
        """Answer one input, a list of them, or a stream.

        Args:
            inputs: an item gives its answer, a list gives a list, an iterator or dataset gives an iterator.
            batch_size: sequences in one forward pass, at most.
            num_workers: accepted; tokenising a window is one call of the engine, which uses its own threads.
            options: the task's options, for this call.

        Raises:
            ArgumentError: nothing to work on, an item of another kind, unknown options.
            LengthError: a text longer than the model's positions, before any computation.
        """
        chosen = self.settings(options)
        cap = self.batch_size if batch_size is None else self._cap(batch_size)
        inputs = self.arrange(inputs, chosen)
        kind = form(inputs)
        if kind == "one":
            return self.present(inputs, self._list([inputs], chosen, cap)[0], chosen, options)
        if kind == "list":
            return self.present(inputs, self._list(list(inputs), chosen, cap), chosen, options)
        return Answers(self._stream(inputs, chosen, cap), lambda: length_of(inputs))

    def predict(self, inputs: Any) -> Any:
        """The same as a call, under the name that scikit-learn uses."""
        return self(inputs)

    transform = predict

    def arrange(self, inputs: Any, options: Settings) -> Any:
        """The inputs of a call, before it is decided whether they are one item or several."""
        return inputs

    def present(self, inputs: Any, answers: Any, options: Settings, given: dict[str, Any]) -> Any:
        """The answer to one item, or the list of answers, in the form that users know."""
        return answers

    def _list(self, items: list[Any], options: Settings, cap: int | None) -> list[Any]:
        answers: list[Any] = [None] * len(items)

        def work() -> Iterator[None]:
            first = 0
            for window in windows(items, self.window, eager=True):
                for index, item, outputs in self._window(window, first, options, cap):
                    answers[first + index] = self.postprocess(item, outputs, options)
                    yield
                first += len(window)

        for _ in work() if len(items) == 1 else progress(work(), total=len(items), label=self.task):
            pass
        return answers

    def _stream(self, source: Any, options: Settings, cap: int | None) -> Iterator[Any]:
        first = 0
        for window in windows(items_of(source), self.window, eager=False):
            done = {index: (item, outputs) for index, item, outputs in self._window(window, first, options, cap)}
            for index in range(len(window)):
                yield self.postprocess(*done.pop(index), options)
            first += len(window)

    def _window(
        self, window: list[Any], first: int, options: Settings, cap: int | None
    ) -> Iterator[tuple[int, Item, list[Any]]]:
        """Run a window; each item's index comes with its outputs as soon as all its rows are through the model."""
        items = self.preprocess(window, options, first)
        places = [(i, j) for i, item in enumerate(items) for j in range(len(item.rows))]
        rows = [items[i].rows[j] for i, j in places]
        outputs: list[list[Any]] = [[None] * len(item.rows) for item in items]
        left = [len(item.rows) for item in items]
        for batch in self.batches(rows, options, cap):
            with torch.no_grad():
                answers = self.forward([rows[k] for k in batch], options)
            for k, answer in zip(batch, answers, strict=True):
                i, j = places[k]
                outputs[i][j] = answer
                left[i] -= 1
                if not left[i]:
                    yield i, items[i], outputs[i]

    def batches(self, rows: list[Row], options: Settings, cap: int | None) -> Iterator[list[int]]:
        """Indices of rows that go through the model together."""
        tokens = TOKENS_PER_BATCH.get(self.device.type, TOKENS_PER_BATCH_ELSEWHERE)
        return batches([len(row.ids) for row in rows], tokens, cap)

    # Steps

    def preprocess(self, inputs: list[Any], options: Settings, first: int = 0) -> list[Item]:
        """Items → rows of ids, tokenised in one call.

        Args:
            first: number of the window's first item, for messages.
        """
        for index, text in enumerate(inputs):
            if not isinstance(text, str):
                raise ArgumentError(
                    f"{self.task} takes texts, and input {first + index} is a {type(text).__name__}"
                    + (": pass the column that holds the text" if isinstance(text, dict) else "")
                )
        rows = self.encode(inputs, None, options)
        for index, (text, row) in enumerate(zip(inputs, rows, strict=True)):
            self.check_length(row, text, first + index, self.length(options))
        return [Item([row]) for row in rows]

    def encode(self, texts: list[str], pairs: list[str] | None, options: Settings) -> list[Row]:
        """Tokenise as the options say."""
        return encode(
            self.tokenizer,
            texts,
            pairs,
            tokenizer_options(options.tokenizer_kwargs, self.tokenizer, self.length(options)),
        )

    def length(self, options: Settings) -> int | None:
        """The most tokens that this task reads, or None where nothing limits them."""
        return self.limit

    def check_length(self, row: Row, text: Any, number: int, limit: int | None = None) -> None:
        """Refuse a row that the model can't read.

        Args:
            limit: the most tokens, if it isn't the model's positions.
        """
        limit = self.limit if limit is None else limit
        if not row.ids or (limit is not None and len(row.ids) > limit):
            check_length(row.ids, limit, f"input {number} ({preview(text)})", instead=self.instead_of_cutting)

    def forward(self, rows: list[Row], options: Settings) -> list[Any]:
        """Rows → one output of the model each."""
        raise NotImplementedError

    def postprocess(self, item: Item, outputs: list[Any], options: Settings) -> Any:
        """An item's outputs → its answer."""
        raise NotImplementedError

    def tensors(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The model's arguments for rows."""
        embed = getattr(self.model.base_model, "stack", None)
        types = embed is not None and bool(embed.spec.embed.types)
        pad = self.model.config.get("pad_token_id")
        if pad is None:
            pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        made = stack_rows(rows, pad=pad, device=self.device, types=types)
        return made | ({"use_cache": False} if getattr(self.model.base_model, "caches", False) else {})

    # Saving

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write model and tokenizer into a folder, from which `pipeline` loads them; options as of the model's.

        Raises:
            ArgumentError: the path is a file.
        """
        if Path(save_directory).is_file():
            raise ArgumentError(f"{save_directory} is a file; save_pretrained writes into a folder")
        self.model.save_pretrained(save_directory, **kwargs)
        self.tokenizer.save_pretrained(save_directory)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Save into a temporary folder and upload it; see `enfold.hub.files.push_folder` for the options."""
        from enfold.models.publish import push

        return push(self.save_pretrained, repo_id, **kwargs)

    def __repr__(self) -> str:
        known = {
            "task": self.task,
            "model": type(self.model).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
        }
        return f"{type(self).__name__}: {known}"
