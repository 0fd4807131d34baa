"""Where a run tells how it goes: callbacks by the names of `report_to`."""

from enfold.base.errors import ArgumentError
from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback
from enfold.training.reports.table import CSVCallback
from enfold.training.reports.terminal import TerminalCallback

REPORTERS: dict[str, type[TrainerCallback]] = {"csv": CSVCallback, "terminal": TerminalCallback}


def reporters(args: TrainingArguments) -> list[TrainerCallback]:
    """The callbacks that `report_to` names.

    Raises:
        ArgumentError: an unknown name.
    """
    names = [args.report_to] if isinstance(args.report_to, str) else list(args.report_to)
    if names == ["none"]:
        return []
    if names == ["all"]:
        names = list(REPORTERS)
    for name in names:
        if name not in REPORTERS:
            raise ArgumentError(f"report_to has {name!r}; there are {', '.join(sorted(REPORTERS))}, 'all' and 'none'")
    return [REPORTERS[name]() for name in names]
