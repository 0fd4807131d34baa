"""What the trackers share: names in sections, and the parameters of a run."""

import math
from typing import Any

from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerState


def in_sections(logs: dict[str, Any]) -> dict[str, Any]:
    """`eval_loss` → `eval/loss`, `test_loss` → `test/loss`, everything else → `train/…`: how trackers group curves."""
    named: dict[str, Any] = {}
    for name, value in logs.items():
        section = next((part for part in ("eval", "test") if name.startswith(f"{part}_")), None)
        named[f"train/{name}" if section is None else f"{section}/{name[len(section) + 1 :]}"] = value
    return named


def numbers(logs: dict[str, Any]) -> dict[str, float]:
    """Those values that a curve can show."""
    return {
        name: float(value)
        for name, value in logs.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def parameters(args: TrainingArguments, state: TrainerState, model: Any) -> dict[str, Any]:
    """Arguments, the model's configuration as `model/…`, and the trial's parameters as `trial/…`."""
    found = {name: value for name, value in args.to_dict().items() if name != "hub_token"}
    config = getattr(model, "config", None)
    if hasattr(config, "to_dict"):
        found |= {f"model/{name}": value for name, value in config.to_dict().items()}  # type: ignore[union-attr]
    if hasattr(model, "parameters"):
        found["model/num_parameters"] = sum(p.numel() for p in model.parameters())
    found |= {f"trial/{name}": value for name, value in (state.trial_params or {}).items()}
    return found


def run_name(args: TrainingArguments, state: TrainerState) -> str | None:
    """The run's name, and the trial's where it is one of a search."""
    if state.trial_name is None:
        return args.run_name
    return state.trial_name if args.run_name is None else f"{args.run_name}-{state.trial_name}"
