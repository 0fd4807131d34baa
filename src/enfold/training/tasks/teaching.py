"""A task whose model also learns what a larger one says."""

from dataclasses import dataclass, field
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.models import auto
from enfold.training.distillation import DistillationTrainer, Seq2SeqDistillationTrainer
from enfold.training.seq2seq import Seq2SeqTrainer
from enfold.training.tasks.base import Task
from enfold.training.tasks.labels import known_names


@dataclass(frozen=True)
class Teaching:
    """A teacher, and how much it counts: see `DistillationTrainer`.

    Args:
        teacher: repository id or folder of a model of the same task.
        hidden_layers: {layer of the model: layer of the teacher}.
    """

    teacher: str
    temperature: float = 2.0
    logits_weight: float = 0.5
    hidden_layers: dict[int, int] = field(default_factory=dict)
    hidden_weight: float = 1.0

    def config(self) -> Any:
        """The teacher's configuration, whose classes the model takes over."""
        return auto.AutoConfig.from_pretrained(self.teacher)

    def trainer(self, task: Task, model: Any, tokenizer: Any) -> tuple[Any, dict[str, Any]]:
        """The trainer's class, and what it takes beyond the task's own.

        Raises:
            ArgumentError: the teacher reads other tokens, or knows other classes.
        """
        teacher: Any = getattr(auto, task.auto).from_pretrained(self.teacher)
        if teacher.config.vocab_size < len(tokenizer):
            raise ArgumentError(
                f"the teacher {self.teacher} knows {teacher.config.vocab_size} tokens and the tokenizer has "
                f"{len(tokenizer)}: both models must read the same tokens"
            )
        names = known_names(teacher.config)
        if "Classification" in task.auto and names and names != known_names(model.config):
            raise ArgumentError(
                f"the teacher {self.teacher} knows the classes {', '.join(names)}, and the data and the model have "
                f"{', '.join(known_names(model.config))}: no other classes can be learnt from it"
            )
        kind = Seq2SeqDistillationTrainer if issubclass(task.trainer, Seq2SeqTrainer) else DistillationTrainer
        weights = ("temperature", "logits_weight", "hidden_layers", "hidden_weight")
        return kind, {"teacher": teacher, **{name: getattr(self, name) for name in weights}}
