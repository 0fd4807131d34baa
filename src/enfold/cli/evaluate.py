"""`enfold evaluate TASK`: a model scored on data, as a table, as JSON, as a plot."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.cli.arguments import add_loading, add_verb, key_value, positive_int
from enfold.cli.show import as_json, printable

_EXAMPLES = """\
  enfold evaluate text-classification --model my-model --data reviews.csv --label-column stars
  enfold evaluate text-classification --model my-model --data test.jsonl --metric accuracy --metric f1 \\
      --metric-option average=macro --confidence 0.95 --plot confusion.png
  enfold evaluate token-classification --model enfold-starter/gector-distilbert-cased --data tags.jsonl \\
      --input-column words --label-column tags --metric poseval --json
  enfold evaluate summarization --model my-model --data articles.parquet --input-column article \\
      --label-column highlights --metric rouge --limit 100 --option generation_kwargs='{"num_beams": 1}'
  enfold evaluate question-answering --model my-model --data squad.jsonl --metric squad --save results/
"""
PLOTS = ("confusion", "reliability", "bars")


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(
        verbs,
        common,
        "evaluate",
        help="score a model on data",
        description="Score a model of a task on data, by one metric or several: their numbers, with confidence "
        "intervals if asked for, and how long an answer takes.",
        examples=_EXAMPLES,
    )
    parser.add_argument("task", metavar="TASK", help="text-classification, token-classification, summarization, …")
    parser.add_argument(
        "--data", metavar="D", required=True, help="a file (csv, jsonl, parquet, …) or a dataset's name"
    )
    parser.add_argument("--model", metavar="ID", help="repository id or folder (default: the task's own)")
    add_loading(parser)
    parser.add_argument("--batch-size", type=positive_int, metavar="N", help="rows that go through the model together")
    parser.add_argument("--subset", help="the dataset's configuration")
    parser.add_argument("--split", help="the dataset's split (default: test, else validation, else train)")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only the first N rows")
    parser.add_argument("--input-column", metavar="C", help="the column that the model reads")
    parser.add_argument("--label-column", metavar="C", help="the column that says what is right")
    parser.add_argument("--metric", metavar="M", action="append", help="a metric's name; several times for several")
    pairs = {"metavar": "KEY=VALUE", "action": "append", "default": [], "type": key_value}
    parser.add_argument("--metric-option", **pairs, help="an option of the metrics, such as average=macro")
    parser.add_argument("--option", **pairs, help="an option of the evaluation, such as label_mapping='{\"POS\": 1}'")
    parser.add_argument(
        "--confidence", type=float, metavar="P", help="confidence intervals of this level, such as 0.95"
    )
    parser.add_argument("--resamples", type=positive_int, metavar="N", default=1000, help="samples for them (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of these samples (0)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--plot", metavar="FILE", help="draw into this file (png, pdf, svg)")
    parser.add_argument("--plot-kind", choices=PLOTS, help="what to draw (default: confusion of classes, else bars)")
    parser.add_argument("--save", metavar="PATH", help="write the results as JSON into this file or folder")
    parser.set_defaults(run=run, error=parser.error)


def run(asked: argparse.Namespace) -> None:
    from enfold.evaluate import evaluator, save
    from enfold.evaluate.evaluators.data import load_data

    judge = evaluator(asked.task)
    kind = asked.plot_kind or ("confusion" if judge.task == "text-classification" else "bars")
    if asked.plot and kind != "bars" and judge.task != "text-classification":
        asked.error(f"--plot-kind {kind} is for text-classification")
    metric = judge.prepare_metric(asked.metric if asked.metric is None or len(asked.metric) > 1 else asked.metric[0])
    options = dict(asked.option)
    columns = {"input_column": asked.input_column, "label_column": asked.label_column}
    options |= {name: value for name, value in columns.items() if value is not None}
    rows = load_data(asked.data, asked.subset, asked.split)
    if asked.limit:
        rows = load_data({name: rows[name][: asked.limit] for name in rows.column_names})
    outcome = judge.run(_pipeline(asked, judge.task), rows, **options)
    given = dict(asked.metric_option)
    if asked.confidence is None:
        results = judge.score(metric, outcome, given)
    else:
        spread = {"confidence_level": asked.confidence, "n_resamples": asked.resamples, "random_state": asked.seed}
        results = judge.intervals(metric, outcome, given, **spread)
    print(as_json(results | outcome.times) if asked.json else printable(table(results | outcome.times)))
    if asked.save:
        path = save(asked.save, task=judge.task, model=asked.model, data=asked.data, **results, **outcome.times)
        print(f"saved {path}", file=sys.stderr)
    if asked.plot:
        _draw(kind, results, outcome, Path(asked.plot))


def _pipeline(asked: argparse.Namespace, task: str) -> Any:
    import enfold

    loading = {"revision": asked.revision, "device": asked.device, "dtype": asked.dtype, "batch_size": asked.batch_size}
    pipeline: Any = enfold.pipeline
    return pipeline(task, model=asked.model, **{name: value for name, value in loading.items() if value is not None})


def table(results: dict[str, Any]) -> str:
    """Names and numbers, one below the other; nested ones with their names joined."""
    rows = list(_rows(results))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rows(results: dict[str, Any], above: str = ""):
    for name, value in results.items():
        name = f"{above}{name}"
        if isinstance(value, dict) and "confidence_interval" in value:
            low, high = value["confidence_interval"]
            yield name, f"{_number(value['score'])}  [{_number(low)}, {_number(high)}]"
        elif isinstance(value, dict):
            yield from _rows(value, f"{name}.")
        elif hasattr(value, "ndim") and value.ndim > 1:
            yield from ((f"{name}[{row}]", " ".join(map(_number, line))) for row, line in enumerate(value.tolist()))
        else:
            values = value.tolist() if hasattr(value, "tolist") else value
            yield name, " ".join(map(_number, values)) if isinstance(values, list) else _number(values)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _draw(kind: str, results: dict[str, Any], outcome: Any, path: Path) -> None:
    from enfold.evaluate import metrics, visualization

    if path.suffix not in (".png", ".pdf", ".svg", ".jpg"):
        raise ArgumentError(f"--plot {path}: expected a name that ends in .png, .pdf, .svg or .jpg")
    if kind == "bars":
        figure = visualization.bar_plot(results)
    else:
        ours, truth = outcome.columns["predictions"], outcome.columns["references"]
        if kind == "confusion":
            classes = sorted({*ours, *truth}, key=str)
            matrix = metrics.confusion_matrix(ours, truth, labels=classes)["confusion_matrix"]
            figure = visualization.confusion_plot(matrix, classes)
        else:
            right = [a == b for a, b in zip(ours, truth, strict=True)]
            figure = visualization.reliability_plot(outcome.confidence, right)
    figure.savefig(path)
    print(f"drew {path}", file=sys.stderr)
