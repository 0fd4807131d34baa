"""`enfold train TASK`: a model trained on data."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
import types
import typing
from typing import Any

from enfold.cli.arguments import add_verb, key_value, positive_int
from enfold.cli.evaluate import table
from enfold.cli.show import as_json, printable

_EXAMPLES = """\
  enfold train text-classification --model google-bert/bert-base-uncased --data reviews.csv --label-column stars \\
      --eval-data held-out.csv --learning-rate 3e-5 --num-train-epochs 2 --output-dir reviewer
  enfold train token-classification --model distilbert/distilbert-base-cased --data tags.jsonl --text-column words
  enfold train question-answering --model google-bert/bert-base-uncased --data squad.jsonl --max-length 384
  enfold train translation --model google-t5/t5-small --data pairs.jsonl --text-column en --label-column de \\
      --option prefix="translate English to German: " --generation-num-beams 4
  enfold train summarization --model google-t5/t5-small --data articles.parquet --text-column article \\
      --label-column highlights --option max_target_length=100
  enfold train causal-lm --data corpus.txt --tokenizer-vocab-size 8000 --max-length 256 \\
      --config '{"model_type": "gpt2", "n_layer": 4, "n_embd": 256, "n_head": 4}'
  enfold train masked-lm --data corpus.txt --tokenizer-vocab-size 8000 --config google-bert/bert-base-uncased
  enfold train image-classification --model google/vit-base-patch16-224-in21k --data photos/ --output-dir sorter
  enfold train automatic-speech-recognition --model facebook/wav2vec2-base --data clips/ --label-column transcription
  enfold train causal-lm --model openai-community/gpt2 --data corpus.txt --resume-from-checkpoint
  enfold train text-classification --model distilbert/distilbert-base-uncased --teacher my-large-reviewer \\
      --data reviews.csv --logits-weight 0.7 --hidden-layers 3:6 6:12
"""
_TASKS = (
    "text-classification",
    "token-classification",
    "question-answering",
    "translation",
    "summarization",
    "causal-lm",
    "masked-lm",
    "image-classification",
    "automatic-speech-recognition",
)
_TEACHING = ("temperature", "logits_weight", "hidden_layers", "hidden_weight")
# Arguments that a script may read and that mean nothing here.
_UNUSED = {"do_train", "do_eval", "do_predict"}


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(
        verbs,
        common,
        "train",
        help="train a model on data",
        description="Train a model of a task on data, score it if there are data for that, and save it with its "
        "tokenizer in --output-dir. Every option of TrainingArguments is one here.",
        examples=_EXAMPLES,
    )
    parser.add_argument("task", metavar="TASK", choices=_TASKS, help=", ".join(_TASKS))
    parser.add_argument(
        "--data",
        metavar="D",
        required=True,
        help="a file (csv, jsonl, parquet, txt, …), a folder of images or sounds, or a dataset's name",
    )
    parser.add_argument("--eval-data", metavar="D", help="rows to score (default: the dataset's validation split)")
    parser.add_argument("--model", metavar="ID", help="repository id or folder to go on from")
    parser.add_argument("--config", metavar="C", help="a new model instead: a config.json, folder, id, or JSON")
    parser.add_argument(
        "--tokenizer-vocab-size", type=positive_int, metavar="N", help="train a tokenizer of N tokens on the data"
    )
    parser.add_argument(
        "--tokenizer", metavar="ID", help="a tokenizer (or processor) that is there already (default: the model's)"
    )
    parser.add_argument("--text-column", metavar="C", help="the column that the model reads")
    parser.add_argument("--text-pair-column", metavar="C", help="of text-classification: the second text of a pair")
    parser.add_argument("--question-column", metavar="C", help="of question-answering")
    parser.add_argument("--image-column", metavar="C", help="of image-classification")
    parser.add_argument("--audio-column", metavar="C", help="of automatic-speech-recognition")
    parser.add_argument("--label-column", metavar="C", help="the column that it learns")
    parser.add_argument("--max-length", type=positive_int, metavar="N", help="tokens of a row (default: the model's)")
    parser.add_argument(
        "--option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=key_value,
        help="an option of the task: prefix, max_target_length, source_lang, target_lang, mlm_probability, "
        "freeze_feature_encoder",
    )
    parser.add_argument("--subset", help="the dataset's configuration")
    parser.add_argument("--split", help="the split to learn from (default: train)")
    parser.add_argument("--eval-split", help="the split to score (default: validation)")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only the first N rows")
    parser.add_argument("--revision", help="branch, tag or commit of the model (default: main)")
    parser.add_argument("--dtype", help="of the weights (default: float32)")
    teaching = parser.add_argument_group("a teacher")
    teaching.add_argument("--teacher", metavar="ID", help="a larger model of the task, which the model learns from too")
    teaching.add_argument("--temperature", type=float, metavar="T", help="by which logits are divided (default: 2)")
    teaching.add_argument(
        "--logits-weight", type=float, metavar="X", help="the share of the teacher's probabilities (default: 0.5)"
    )
    teaching.add_argument(
        "--hidden-layers", nargs="+", type=_layers, metavar="OWN:ITS", help="layers that are to point the same way"
    )
    teaching.add_argument("--hidden-weight", type=float, metavar="X", help="of the layers (default: 1)")
    parser.add_argument("--json", action="store_true", help="the metrics as one JSON object")
    parser.usage = f"{parser.prog} TASK --data D (--model ID | --config C) [options]"  # there are a hundred
    parser.set_defaults(run=run, error=parser.error)
    # Options of TrainingArguments load torch, so they are added when the verb is used.
    parser.parse_known_args = functools.partial(_parse, parser, parser.parse_known_args)  # type: ignore[method-assign]


def run(asked: argparse.Namespace) -> None:
    from enfold.training.tasks import Teaching, prepare_task

    given = vars(asked)
    said = {name: given[name] for name in _TEACHING if given[name] is not None}
    if said and asked.teacher is None:
        asked.error(f"--{next(iter(said)).replace('_', '-')} is for a model that learns from a --teacher")
    if "hidden_layers" in said:
        said["hidden_layers"] = dict(said["hidden_layers"])
    if asked.model and asked.config:
        asked.error("give --model to go on from it, or --config for a new one")
    if not asked.model and not asked.config:
        asked.error("give --model, or --config for a new one")
    if asked.resume_from_checkpoint is True and "output_dir" not in asked.training:
        asked.error("--resume-from-checkpoint without a folder looks in --output-dir: name it")
    names = ("model", "eval_data", "subset", "split", "eval_split", "limit", "max_length", "tokenizer", "config")
    names += ("tokenizer_vocab_size", "revision", "dtype")
    prepared = prepare_task(
        asked.task,
        data=asked.data,
        columns={name: given[name] for name in given if name.endswith("_column") and given[name] is not None},
        options=dict(asked.option),
        teaching=None if asked.teacher is None else Teaching(asked.teacher, **said),
        **{name: given[name] for name in names if given[name] is not None},
        **asked.training,
    )
    trainer = prepared.trainer
    metrics = prepared.train(asked.resume_from_checkpoint)
    if not trainer.is_world_process_zero():
        return
    print(as_json(metrics) if asked.json else printable(table(metrics)))
    print(f"saved {trainer.args.output_dir}", file=sys.stderr)


def _parse(parser: argparse.ArgumentParser, parse: Any, *given: Any, **options: Any) -> Any:
    from enfold.training.seq2seq import Seq2SeqTrainingArguments

    group = parser.add_argument_group("options of TrainingArguments")
    hints = typing.get_type_hints(Seq2SeqTrainingArguments)
    fields = [f for f in dataclasses.fields(Seq2SeqTrainingArguments) if f.name not in _UNUSED]  # type: ignore[arg-type]
    for entry in fields:
        default = entry.default if entry.default is not dataclasses.MISSING else []
        shown = "" if default in (None, []) else f"default: {default}".replace("%", "%%")
        flag = f"--{entry.name.replace('_', '-')}"
        group.add_argument(
            flag, dest=entry.name, default=argparse.SUPPRESS, help=shown, **_reading(hints[entry.name], entry.name)
        )
    found, rest = parse(*given, **options)
    training = {entry.name: getattr(found, entry.name) for entry in fields if hasattr(found, entry.name)}
    for name in training:
        delattr(found, name)
    found.resume_from_checkpoint = training.pop("resume_from_checkpoint", None)
    found.training = training
    return found, rest


def _reading(hint: Any, name: str) -> dict[str, Any]:
    """How argparse reads a field of that type."""
    kinds = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    kinds.discard(type(None))
    if name == "resume_from_checkpoint":
        return {"nargs": "?", "const": True, "metavar": "FOLDER"}
    if kinds == {bool}:
        return {"action": argparse.BooleanOptionalAction}
    if any(typing.get_origin(kind) is list for kind in kinds):
        return {"nargs": "+", "metavar": "NAME"}
    if kinds == {int}:
        return {"type": int, "metavar": "N"}
    if kinds == {float}:
        return {"type": _number, "metavar": "X"}
    return {"metavar": "VALUE"}


def _layers(text: str) -> tuple[int, int]:
    """`3:6`: the model's third layer, the teacher's sixth."""
    own, _, its = text.partition(":")
    if not (own.isdecimal() and its.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected two numbers such as 3:6, got {text!r}")
    return int(own), int(its)


def _number(text: str) -> float:
    """A whole number stays one: `--save-steps 50` is so many steps, and below 1 a share of all."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None
    return int(value) if value.is_integer() else value
