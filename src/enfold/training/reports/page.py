"""`report.html` in the output folder: one file with the curves, results and arguments of a run, and nothing from
elsewhere."""

import dataclasses
import json
import platform
import time
from html import escape
from pathlib import Path
from typing import Any

import enfold
from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback, TrainerControl, TrainerState
from enfold.training.reports.common import run_name
from enfold.training.reports.curves import Curve, chart, short

NAME = "report.html"
_SPEED = ("_runtime", "_per_second")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9dce1; --back: #ffffff; --card: #f7f8fa;
  --c0: #2563c9; --c1: #c2410c; --c2: #15803d; --c3: #7e22ce; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceef0; --soft: #a4a9b2; --line: #363a42; --back: #121418; --card: #1b1e24;
    --c0: #74a9ff; --c1: #fb9a63; --c2: #62d48a; --c3: #c58bff; } }
body { margin: 0 auto; max-width: 1100px; padding: 24px 20px 60px; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 19px; margin: 36px 0 12px; }
.about { color: var(--soft); margin: 4px 0 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 16px; }
figure { margin: 0; padding: 12px; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
figcaption { font-weight: 600; margin-bottom: 6px; } .key { font-weight: 400; color: var(--soft); margin-left: 10px; }
svg { width: 100%; height: auto; display: block; } .grid { stroke: var(--line); }
.tick { fill: var(--soft); font-size: 11px; }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .hidden { opacity: 0; }
polyline.c0 { stroke: var(--c0); } polyline.c1 { stroke: var(--c1); } polyline.c2 { stroke: var(--c2); }
polyline.c3 { stroke: var(--c3); } circle.c0 { fill: var(--c0); } circle.c1 { fill: var(--c1); }
circle.c2 { fill: var(--c2); } circle.c3 { fill: var(--c3); } .k0 { color: var(--c0); } .k1 { color: var(--c1); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 18px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; } .set td, .set th { font-weight: 600; } .unset { color: var(--soft); }
summary { cursor: pointer; color: var(--soft); margin: 12px 0; }
"""


class HTMLCallback(TrainerCallback):
    """Writes the page when training ends, and again with each evaluation that follows."""

    def __init__(self) -> None:
        self._ended = False
        self._started = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._ended, self._started = False, time.time()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        self._ended = True
        self._write(args, state, model)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if self._ended:
            self._write(args, state, model)

    def _write(self, args: TrainingArguments, state: TrainerState, model: Any) -> None:
        if not state.is_world_process_zero:
            return
        path = Path(args.output_dir) / NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{NAME}.unfinished")
        aside.write_text(page(args, state, model, self._started), encoding="utf-8")
        aside.replace(path)


def page(args: TrainingArguments, state: TrainerState, model: Any, started: float) -> str:
    """The whole page."""
    title = run_name(args, state) or Path(args.output_dir).absolute().name
    kind = type(model).__name__
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(started))
    about = f"{kind}, {state.global_step} of {state.max_steps} steps, {state.epoch:.4g} epochs, started {when}"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"/><title>{escape(title)}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            f"<style>{_STYLE}</style></head>",
            f'<body><h1>{escape(title)}</h1><p class="about">{escape(about)}</p>',
            "<h2>Curves</h2>",
            '<div class="charts">',
            *_charts(state.log_history),
            "</div>",
            "<h2>Results</h2>",
            _results(state),
            "<h2>Evaluations</h2>" + found if (found := _evaluations(state.log_history)) else "",
            "<h2>Arguments</h2>",
            _arguments(args),
            _surroundings(args, state, model),
            "</body></html>\n",
        ]
    )


def _charts(history: list[dict[str, Any]]) -> list[str]:
    """Loss of training and evaluation together, the rate, the norm, and each metric."""
    columns: dict[str, list[tuple[float, float]]] = {}
    for entry in history:
        if "train_runtime" in entry:
            continue
        for name, value in entry.items():
            shown = name not in ("step", "epoch") and not name.endswith(_SPEED)
            if shown and isinstance(value, int | float) and not isinstance(value, bool):
                columns.setdefault(name, []).append((float(entry["step"]), float(value)))
    together = [("loss", ["loss", "eval_loss"])]
    together += [(name, [name]) for name in ("learning_rate", "grad_norm")]
    together += [(name, [name]) for name in columns if name not in ("loss", "eval_loss", "learning_rate", "grad_norm")]
    made = []
    for title, names in together:
        curves = [Curve(name, columns[name]) for name in names if name in columns]
        if not curves:
            continue
        keys = "".join(f'<span class="key k{i}">{escape(c.name)}</span>' for i, c in enumerate(curves))
        caption = escape(title) + (keys if len(curves) > 1 or curves[0].name != title else "")
        made.append(f"<figure><figcaption>{caption}</figcaption>{chart(curves, title)}</figure>")
    return made or ["<p>Nothing was logged.</p>"]


def _results(state: TrainerState) -> str:
    last: dict[str, Any] = {}
    for entry in state.log_history:
        last |= {name: v for name, v in entry.items() if name.startswith(("train_", "eval_", "test_"))}
    if state.best_metric is not None:
        last |= {"best metric": state.best_metric, "best step": state.best_global_step}
    if state.best_model_checkpoint is not None:
        last["best checkpoint"] = Path(state.best_model_checkpoint).name
    return _table((escape(name), _value(value)) for name, value in last.items())


def _evaluations(history: list[dict[str, Any]]) -> str:
    rows = [entry for entry in history if any(name.startswith("eval_") for name in entry)]
    if not rows:
        return ""
    names = list(dict.fromkeys(n for row in rows for n in row if n.startswith("eval_") and not n.endswith(_SPEED)))
    head = "".join(f"<th>{escape(name)}</th>" for name in ["step", "epoch", *names])
    body = "".join(
        "<tr>" + "".join(f"<td>{_value(row.get(name, ''))}</td>" for name in ["step", "epoch", *names]) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _arguments(args: TrainingArguments) -> str:
    """Those that differ from their defaults first and in full; the others folded."""
    defaults = dataclasses.asdict(type(args)())  # type: ignore[call-overload]
    held = {name: value for name, value in args.to_dict().items() if name != "hub_token"}
    changed = {name: value for name, value in held.items() if value != defaults[name]}
    others = {name: value for name, value in held.items() if name not in changed}
    return (
        _table(((escape(n), _value(v)) for n, v in changed.items()), "set")
        + "<details><summary>Defaults</summary>"
        + _table(((escape(n), _value(v)) for n, v in others.items()), "unset")
        + "</details>"
    )


def _surroundings(args: TrainingArguments, state: TrainerState, model: Any) -> str:
    import torch

    parameters = list(model.parameters()) if hasattr(model, "parameters") else []
    learning = sum(p.numel() for p in parameters if p.requires_grad)
    facts = {
        "model": type(model).__name__,
        "numbers that learn": f"{learning:,} of {sum(p.numel() for p in parameters):,}",
        "device": str(parameters[0].device) if parameters else "",
        "enfold": enfold.__version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
    }
    return "<h2>Model and surroundings</h2>" + _table((escape(n), _value(v)) for n, v in facts.items())


def _table(rows: Any, style: str = "") -> str:
    body = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    kind = f' class="{style}"' if style else ""
    return f'<div class="scroll"><table{kind}>{body}</table></div>' if body else "<p>None.</p>"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return escape(short(value) if value == value and abs(value) < 1e6 and value == int(value) else f"{value:.6g}")
    if isinstance(value, dict | list):
        return escape(json.dumps(value, default=str))
    return escape(str(value))
