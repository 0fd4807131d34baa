"""What tasks over images and sounds share: columns of files, and processors in a tokenizer's place."""

from typing import Any

from enfold.base.errors import ArgumentError
from enfold.training.tasks.base import Task
from enfold.training.tasks.fresh import config_of


class Sensing(Task):
    """Rows hold images or sounds, which are read when their batch is made."""

    defaults = {"remove_unused_columns": False}  # the collator reads a column that the model doesn't know
    cuts = False
    learns_from_teachers = False

    def check(self, rows: Any, which: str) -> None:
        if self.max_length is not None:
            raise ArgumentError(f"max_length counts tokens, and the rows of {self.name} have none: leave it out")
        super().check(rows, which)

    def processing(
        self, rows: Any, *, model: str | None, given: Any, size: int | None, config: Any, revision: Any
    ) -> Any:
        if size is not None:
            raise ArgumentError(f"tokenizer_vocab_size is for language models: {self.name} makes what it needs itself")
        if given is not None:
            return self.reader(given, rows, revision) if isinstance(given, str) else given
        return self.new_reader(config_of(config), rows) if model is None else self.reader(model, rows, revision)

    def reader(self, source: str, rows: Any, revision: Any) -> Any:
        """The processor of a repository or folder."""
        raise NotImplementedError

    def new_reader(self, config: Any, rows: Any) -> Any:
        """A processor for a new model."""
        raise NotImplementedError

    def new_config(self, config: Any, rows: Any, eval_rows: Any) -> Any:
        made = config_of(config)
        made.update(self.learn(rows, eval_rows, made))
        return made

    def settle(self, model: Any) -> None:
        """Nothing: there is no text to be padded or cut."""

    def media(self, rows: Any, option: str, name: str, feature: Any, labels: list[Any]) -> Any:
        """Rows of nothing but a column of files, called `name`, and `labels`; nothing is decoded."""
        column = self.named[option]
        rows = rows.select_columns([column])
        rows = rows if column == name else rows.rename_column(column, name)
        return rows.cast_column(name, feature).add_column("labels", labels)
