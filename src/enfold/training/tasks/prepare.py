"""A task, a model and data → a trainer that is ready to go."""

from dataclasses import dataclass
from typing import Any

from enfold.accelerate.randomness import set_seed
from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.models import auto
from enfold.training.tasks.base import Task
from enfold.training.tasks.causal_lm import CausalLM
from enfold.training.tasks.data import training_and_evaluation
from enfold.training.tasks.image_classification import ImageClassification
from enfold.training.tasks.masked_lm import MaskedLM
from enfold.training.tasks.question_answering import QuestionAnswering
from enfold.training.tasks.speech_recognition import SpeechRecognition
from enfold.training.tasks.summarization import Summarization
from enfold.training.tasks.teaching import Teaching
from enfold.training.tasks.text_classification import TextClassification
from enfold.training.tasks.token_classification import TokenClassification
from enfold.training.tasks.translation import Translation
from enfold.training.trainer import Trainer

TASKS: dict[str, type[Task]] = {
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "question-answering": QuestionAnswering,
    "translation": Translation,
    "summarization": Summarization,
    "causal-lm": CausalLM,
    "masked-lm": MaskedLM,
    "image-classification": ImageClassification,
    "automatic-speech-recognition": SpeechRecognition,
}


@dataclass
class TaskRun:
    """A trainer and the task that it trains."""

    trainer: Trainer
    task: Task

    def train(self, resume_from_checkpoint: str | bool | None = None) -> dict[str, float]:
        """Train, evaluate if there are data for it, save; all metrics."""
        metrics = dict(self.trainer.train(resume_from_checkpoint).metrics)
        if self.trainer.eval_dataset is not None:
            metrics |= self.task.report(self.trainer.evaluate())
        self.trainer.save_model()
        return metrics


def prepare_task(
    name: str,
    *,
    data: Any,
    model: str | None = None,
    eval_data: Any = None,
    subset: str | None = None,
    split: str | None = None,
    eval_split: str | None = None,
    limit: int | None = None,
    columns: dict[str, str] | None = None,
    options: dict[str, Any] | None = None,
    max_length: int | None = None,
    tokenizer: Any = None,
    config: str | dict[str, Any] | None = None,
    tokenizer_vocab_size: int | None = None,
    revision: str | None = None,
    dtype: str = "float32",
    teaching: Teaching | None = None,
    **arguments: Any,
) -> TaskRun:
    """Everything for training a model on a task.

    Args:
        name: one of `TASKS`.
        data: a file, a folder, a dataset's name, a dataset, a dictionary of columns, or a list of rows.
        model: repository id or folder; None with `config` for new weights (of language, images, speech).
        eval_data: rows to score; by default the validation split of `data`, if there is one.
        subset, split, eval_split: which part of the dataset.
        limit: only the first rows, of both.
        columns: `{"text_column": …, "label_column": …}` where they aren't called as the task expects.
        options: what else the task takes (`prefix`, `source_lang`, …).
        max_length: tokens of a row; the model's limit by default.
        tokenizer: another than the model's; of `config`, one that is there already. An image processor or a processor,
            where the task reads with one.
        config: of a new model: a file, folder, repository, JSON, or entries.
        tokenizer_vocab_size: train a tokenizer of so many tokens on the data.
        dtype: of the weights while they learn.
        teaching: a larger model that the model learns from too.
        arguments: of `TrainingArguments`.

    Raises:
        ArgumentError: an unknown task, column, option or argument; labels that the training data don't have; rows that
            aren't as the task needs them.
    """
    if name not in TASKS:
        raise ArgumentError(f"there is no task {name!r} to train; there are {', '.join(TASKS)}")
    task = TASKS[name](name, columns or {}, max_length, options or {})
    args = task.arguments(**{**task.defaults, **arguments})
    rows, eval_rows = training_and_evaluation(data, eval_data, subset=subset, split=split, eval_split=eval_split)
    for which, part in (("training", rows), ("evaluation", eval_rows)):
        if part is not None:
            task.check(part, which)
    if limit is not None:
        rows, eval_rows = (part and part.select(range(min(limit, len(part)))) for part in (rows, eval_rows))
    if teaching is not None and not task.learns_from_teachers:
        raise NotBuiltError(f"{name} with a teacher is not built: leave it out")
    if (model is None) == (config is None):
        raise ArgumentError("give a model to go on from, or the config of a new one")
    if teaching is not None and model is None and tokenizer is None and tokenizer_vocab_size is None:
        tokenizer = teaching.teacher
    task.tokenizer = task.processing(
        rows, model=model, given=tokenizer, size=tokenizer_vocab_size, config=config, revision=revision
    )
    set_seed(args.seed)  # new weights are drawn
    made = _model(task, model, config, rows, eval_rows, revision, dtype, teaching)
    task.settle(made)
    task.ready(made)
    kind, more = (task.trainer, {}) if teaching is None else teaching.trainer(task, made, task.tokenizer)
    trainer = kind(
        made,
        args,
        data_collator=task.collator(made),
        train_dataset=task.encoded(rows, "training"),
        eval_dataset=None if eval_rows is None else task.encoded(eval_rows, "evaluation"),
        processing_class=task.tokenizer,
        compute_metrics=task.metric,
        preprocess_logits_for_metrics=task.shrink,
        **more,
    )
    return TaskRun(trainer, task)


def _model(
    task: Task,
    model: str | None,
    config: Any,
    rows: Any,
    eval_rows: Any,
    revision: str | None,
    dtype: str,
    teaching: Teaching | None,
) -> Any:
    kind: Any = getattr(auto, task.auto)
    if model is None:
        return kind.from_config(task.new_config(config, rows, eval_rows), dtype=dtype)
    found = auto.AutoConfig.from_pretrained(model, revision=revision)
    before = _heads(found)
    entries = task.learn(rows, eval_rows, found if teaching is None else teaching.config())
    found.update(entries)
    # Another head, where there are other classes, or other letters.
    other = bool(entries) and _heads(found) != before
    return kind.from_pretrained(model, config=found, revision=revision, dtype=dtype, ignore_mismatched_sizes=other)


def _heads(config: Any) -> Any:
    """What a head has a row for."""
    return list(config.id2label.values()), config.get("vocab_size")
