"""A name → a module; several names → one."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.evaluate.module import Comparison, EvaluationModule, Measurement, Metric
from enfold.evaluate.registry import KINDS, ROWS, Row, find

_CLASSES = {"metric": Metric, "comparison": Comparison, "measurement": Measurement}


def load(
    path: str,
    config_name: str | None = None,
    module_type: str | None = None,
    process_id: int = 0,
    num_process: int = 1,
    cache_dir: str | Path | None = None,
    experiment_id: str | None = None,
    keep_in_memory: bool = False,
    download_config: Any = None,
    download_mode: Any = None,
    revision: str | None = None,
    **options: Any,
) -> EvaluationModule:
    """A metric, comparison or measurement by its name, from the package itself: no network, no script.

    Args:
        path: its name, such as "accuracy"; "evaluate-metric/accuracy" is the same.
        config_name: which of its configurations: the task of glue and super_glue, "multilabel", …
        module_type: "metric", "comparison" or "measurement", where several have the name.
        process_id, num_process, cache_dir, experiment_id, keep_in_memory: as of `EvaluationModule`.
        download_config, download_mode, revision: accepted and without effect: nothing is downloaded.
        options: other arguments of `EvaluationModule`, and defaults of the options of `compute`.

    Raises:
        ArgumentError: an unknown name (the nearest are named), configuration or option; a script, which is never run.
    """
    row = _find(path, module_type)
    if "config_name" in row.options and config_name not in row.configs:
        raise ArgumentError(f"{row.name} needs a config_name, one of {', '.join(row.configs)}; got {config_name!r}")
    if config_name not in (None, "default", *row.configs):
        known = ", ".join(("default", *row.configs))
        raise ArgumentError(f"{row.name} has no configuration {config_name!r}; it has {known}")
    made = type(_CLASSES[row.kind].__name__, (_CLASSES[row.kind],), {"row": row, "__module__": __name__})
    return made(
        config_name=config_name,
        process_id=process_id,
        num_process=num_process,
        cache_dir=cache_dir,
        experiment_id=experiment_id,
        keep_in_memory=keep_in_memory,
        **options,
    )


def _find(path: str, module_type: str | None) -> Row:
    if not isinstance(path, str):
        raise ArgumentError(f"load takes a name, such as 'accuracy', not a {type(path).__name__}")
    owner, _, name = path.replace("\\", "/").strip("/").rpartition("/")
    kind = next((kind for kind in KINDS if owner in (kind, f"{kind}s", f"evaluate-{kind}")), None)
    if path.endswith(".py") or (owner and kind is None):
        raise ArgumentError(
            f"{path!r} names a script or a repository: enfold never runs code from there. Load a metric by its name, "
            "or subclass enfold.evaluate.Metric"
        )
    return find(name, module_type or kind)


def list_evaluation_modules(
    module_type: str | None = None, include_community: bool = False, with_details: bool = False
) -> list[Any]:
    """What `load` knows, sorted: names, or dictionaries with name, type, and whether it is of the community (none is).

    Args:
        module_type: only metrics, comparisons or measurements.
        include_community: accepted: modules of others are scripts, which aren't run.
    """
    if module_type is not None and module_type not in KINDS:
        raise ArgumentError(f"module_type is {module_type!r}; expected one of {', '.join(KINDS)}")
    found = sorted((row.name, row.kind) for row in ROWS.values() if module_type in (None, row.kind))
    if with_details:
        return [{"name": name, "type": kind, "community": False, "likes": None} for name, kind in found]
    return [name for name, _ in found]


class CombinedEvaluations:
    """Several modules that take the same rows.

    Args:
        evaluation_modules: names or modules, in a list, or in a dictionary that names them.
        force_prefix: put its module's name before every number, not only before those that two modules give.
    """

    def __init__(
        self,
        evaluation_modules: Sequence[str | EvaluationModule] | Mapping[str, str | EvaluationModule],
        force_prefix: bool = False,
    ):
        named = evaluation_modules if isinstance(evaluation_modules, Mapping) else None
        if isinstance(evaluation_modules, str) or not evaluation_modules:
            raise ArgumentError("combine takes a list of modules or names, or a dictionary of them")
        given = list(named.values() if named is not None else evaluation_modules)
        self.evaluation_modules = [load(module) if isinstance(module, str) else module for module in given]
        names = [module.name for module in self.evaluation_modules]
        self.evaluation_module_names = list(named) if named is not None else names
        self.force_prefix = force_prefix

    @property
    def name(self) -> str:
        """The modules' names."""
        return ", ".join(self.evaluation_module_names)

    def column_names(self) -> list[str]:
        """What the input columns of all modules are called."""
        return list(dict.fromkeys(name for module in self.evaluation_modules for name in module.column_names()))

    def add(self, prediction: Any = None, reference: Any = None, **columns: Any) -> None:
        """Add one row to each module; each takes the columns it knows."""
        rows = {"predictions": prediction, "references": reference} | columns
        self.add_batch(**{name: [value] for name, value in rows.items() if value is not None})

    def add_batch(self, predictions: Any = None, references: Any = None, **columns: Any) -> None:
        """Add rows to each module; each takes the columns it knows."""
        given = {"predictions": predictions, "references": references} | columns
        self._refuse_strange(columns, options=False)
        for module in self.evaluation_modules:
            module.add_batch(**{name: given.get(name) for name in module.column_names()})

    def compute(self, predictions: Any = None, references: Any = None, **given: Any) -> dict[str, Any] | None:
        """Every module's numbers in one dictionary, or None in a process other than the first of several.

        Args:
            given: further columns, and options: each goes to the modules that have it.

        Raises:
            ArgumentError: an option that no module has, and what the modules refuse.
        """
        self._refuse_strange(given, options=True)
        columns = {"predictions": predictions, "references": references}
        results = []
        for module in self.evaluation_modules:
            known = module.option_names()
            mine = {name: value for name, value in columns.items() if name in module.column_names()}
            mine |= {n: v for n, v in given.items() if known is None or n in known or n in module.column_names()}
            results.append(module.compute(**mine))
        return None if any(result is None for result in results) else self._merged(results)

    def measure(self, **given: Any) -> dict[str, Any]:
        """Every module's result over whole columns; see `EvaluationModule.measure`."""
        results = []
        for module in self.evaluation_modules:
            known = module.option_names()
            results.append(
                module.measure(
                    **{n: v for n, v in given.items() if known is None or n in known or n in module.column_names()}
                )
            )
        return self._merged(results)

    def _refuse_strange(self, given: Mapping[str, Any], *, options: bool) -> None:
        known: set[str] = set()
        for module in self.evaluation_modules:
            known |= set(module.column_names())
            found = module.option_names() if options else set()
            if found is None:
                return
            known |= found
        if strange := sorted(given.keys() - known):
            names = ", ".join(self.evaluation_module_names)
            raise ArgumentError(f"none of {names} knows {', '.join(strange)}; they know {', '.join(sorted(known))}")

    def _merged(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        keys = Counter(itertools.chain.from_iterable(results))
        times, place = Counter(self.evaluation_module_names), Counter()
        merged = {}
        for name, result in zip(self.evaluation_module_names, results, strict=True):
            prefix = name if times[name] == 1 else f"{name}_{place[name]}"
            place[name] += 1
            for key, value in result.items():
                merged[f"{prefix}_{key}" if keys[key] > 1 or self.force_prefix else key] = value
        return merged


def combine(
    evaluations: Sequence[str | EvaluationModule] | Mapping[str, str | EvaluationModule], force_prefix: bool = False
) -> CombinedEvaluations:
    """Several modules as one: `combine(["accuracy", "f1"]).compute(predictions=…, references=…)`."""
    return CombinedEvaluations(evaluations, force_prefix=force_prefix)
