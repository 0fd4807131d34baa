"""Where a run tells how it goes: callbacks by the names of `report_to`."""

import importlib
from importlib.util import find_spec

from enfold.base.errors import ArgumentError
from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback

# Name → module of this package, class, and the package that it needs.
REPORTERS: dict[str, tuple[str, str, str | None]] = {
    "terminal": ("terminal", "TerminalCallback", None),
    "csv": ("table", "CSVCallback", None),
    "html": ("page", "HTMLCallback", None),
    "tensorboard": ("tensorboard", "TensorBoardCallback", "tensorboard"),
    "wandb": ("wandb", "WandbCallback", "wandb"),
    "mlflow": ("mlflow", "MLflowCallback", "mlflow"),
}


def reporters(args: TrainingArguments) -> list[TrainerCallback]:
    """The callbacks that `report_to` names; "all" are those whose packages are installed.

    Raises:
        ArgumentError: an unknown name.
        MissingDependencyError: a name whose package isn't installed.
    """
    names = [args.report_to] if isinstance(args.report_to, str) else list(args.report_to)
    if names == ["none"]:
        return []
    if names == ["all"]:
        names = [name for name, (_, _, needed) in REPORTERS.items() if needed is None or find_spec(needed)]
    for name in names:
        if name not in REPORTERS:
            raise ArgumentError(f"report_to has {name!r}; there are {', '.join(sorted(REPORTERS))}, 'all' and 'none'")
    return [_made(*REPORTERS[name][:2]) for name in dict.fromkeys(names)]


def _made(module: str, kind: str) -> TrainerCallback:
    return getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
