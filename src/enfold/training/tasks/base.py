"""What every task says of itself."""

from collections.abc import Callable
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.tokenizers.auto import AutoTokenizer
from enfold.training.arguments import TrainingArguments
from enfold.training.tasks.fresh import fresh_config
from enfold.training.trainer import Trainer

logger = get_logger(__name__)
# Tokens of a row where neither the model nor its tokenizer has a limit.
LONGEST = 512


class Task:
    """How the rows of a task become a model's inputs.

    Class attributes of a task:
        auto: the Auto class of its models.
        columns: options that name columns → the columns they name by default; None where there need be none.
        arguments, trainer: which classes train it; `defaults` of the arguments.
        fresh: how a tokenizer of its own is made, for tasks that can begin from scratch (`fresh.py`).
        cuts: whether a row that is too long loses its end.
        learns_from_teachers: whether a larger model may teach it.

    Args:
        columns: option → column, for those that were named.
        max_length: tokens of a row; the model's limit where None.
        options: what else the task takes.
    """

    auto: ClassVar[str]
    columns: ClassVar[dict[str, str | None]] = {"text_column": "text", "label_column": "label"}
    options: ClassVar[tuple[str, ...]] = ()
    arguments: ClassVar[type[TrainingArguments]] = TrainingArguments
    trainer: ClassVar[type[Trainer]] = Trainer
    defaults: ClassVar[dict[str, Any]] = {}
    fresh: ClassVar[Callable[..., Any] | None] = None
    cuts: ClassVar[bool] = True
    learns_from_teachers: ClassVar[bool] = True
    shrink: Callable[[Any, Any], Any] | None = None  # (logits, labels) → what the metric needs of them

    def __init__(self, name: str, columns: dict[str, str], max_length: int | None, options: dict[str, Any]):
        for kind, given, known in (("column", columns, self.columns), ("option", options, self.options)):
            for option in given.keys() - set(known):
                raise ArgumentError(f"{name} has no {kind} {option!r}; it has {', '.join(known) or 'none'}")
        self.name, self.max_length, self.chosen = name, max_length, options
        self.named = {**self.columns, **columns}
        self.tokenizer: Any = None

    def check(self, rows: Any, which: str) -> None:
        """Refuse rows without the task's columns.

        Raises:
            ArgumentError: a column isn't there, or there are no rows.
        """
        if not len(rows):
            raise ArgumentError(f"the {which} data have no rows")
        for option, column in self.named.items():
            if column is not None and column not in rows.column_names:
                raise ArgumentError(
                    f"the {which} data have no column {column!r} ({option}); they have {', '.join(rows.column_names)}. "
                    f"Name the right one: --{option.replace('_', '-')}"
                )

    def learn(self, rows: Any, eval_rows: Any, config: Any) -> dict[str, Any]:
        """Look at all rows once; entries of the configuration that follow, such as the classes' names."""
        return {}

    def processing(
        self, rows: Any, *, model: str | None, given: Any, size: int | None, config: Any, revision: Any
    ) -> Any:
        """What makes inputs of rows, and is saved with the model: a tokenizer.

        Args:
            model, config: what the model comes from.
            given: one that somebody chose instead.
            size: tokens of one that is to be trained on the rows.
        """
        if size is not None:
            if given is not None or model is not None:
                raise ArgumentError(
                    "tokenizer_vocab_size trains a tokenizer: leave out tokenizer and model (config instead)"
                )
            if type(self).fresh is None:
                raise self.needs_model()
            return type(self).fresh(rows[self.named["text_column"]], size)  # type: ignore[misc]
        source = given if given is not None else model
        if source is None:
            raise ArgumentError("from scratch, tokenizer_vocab_size (to train one) or tokenizer says how to cut texts")
        return AutoTokenizer.from_pretrained(source, revision=revision) if isinstance(source, str) else source

    def needs_model(self) -> ArgumentError:
        """The error of a task that can't begin from scratch."""
        return ArgumentError(
            f"{self.name} needs a pretrained model: only language models, images and speech begin from scratch"
        )

    def new_config(self, config: Any, rows: Any, eval_rows: Any) -> Any:
        """The configuration of a new model."""
        if type(self).fresh is None:
            raise self.needs_model()
        return fresh_config(config, self.tokenizer)

    def settle(self, model: Any) -> None:
        """Let the tokenizer and the model agree on padding and length."""
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if model.config.get("pad_token_id") is None:
            model.config.pad_token_id = self.tokenizer.pad_token_id
        self.max_length = self.limit(model)

    def limit(self, model: Any) -> int:
        """Tokens of a row at most."""
        known = (self.tokenizer.model_max_length, model.max_positions())
        sizes = [size for size in known if isinstance(size, int) and 0 < size < 1_000_000]
        longest = min(sizes, default=LONGEST)
        if self.max_length is not None and self.max_length > longest and sizes:
            raise ArgumentError(f"max_length={self.max_length}, and the model has room for {longest} tokens")
        return self.max_length or longest

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """A batch of rows, by column, as the model's inputs."""
        raise NotImplementedError

    def encoded(self, rows: Any, which: str) -> Any:
        """All rows encoded; a warning tells how many were cut."""
        made = rows.map(self.encode, batched=True, remove_columns=rows.column_names)
        if not len(made):
            raise ArgumentError(f"the {which} data hold too little text to learn from")
        if self.cuts:
            full = sum(len(ids) >= (self.max_length or 0) for ids in made["input_ids"])
            if full:
                logger.warning(
                    "%d of %d rows of the %s data fill the %d tokens of a row: what is longer was cut (max_length)",
                    full,
                    len(made),
                    which,
                    self.max_length,
                )
        return made

    def ready(self, model: Any) -> None:
        """Set what the model needs to know of the task beyond its weights."""

    def collator(self, model: Any) -> Any:
        """Rows → batch; the trainer's own where None."""
        return None

    @property
    def metric(self) -> Callable[[Any], dict[str, float]] | None:
        """Scores of a prediction; None where the loss says all."""
        return None

    def report(self, metrics: dict[str, float]) -> dict[str, float]:
        """What follows from the metrics, added to them."""
        return metrics
