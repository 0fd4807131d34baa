"""A metric as an object: rows come in bit by bit, from one process or many, and one result comes out."""

import contextlib
import difflib
import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.evaluate.columns import as_chunk, check_column
from enfold.evaluate.gathering import Meeting, gather_over_group
from enfold.evaluate.info import EvaluationModuleInfo
from enfold.evaluate.registry import Row
from enfold.evaluate.rows import Rows, columns_of

# What `add` calls one row of a column.
_ONE = {"prediction": "predictions", "reference": "references"}


def default_cache_dir() -> Path:
    """Where rows are written when there are many, or several processes."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_METRICS_CACHE") or home / "metrics")


class EvaluationModule:
    """A metric, comparison or measurement.

    A subclass of your own has `_info`, which describes it, and `_compute`, which takes whole columns by their names.

    Args:
        config_name: which of its configurations, such as "mrpc" of glue.
        keep_in_memory: hold all rows in memory, whatever their number.
        cache_dir: where rows are written; of several processes, on a file system that all of them see.
        num_process, process_id: how many processes add rows, and which this one is. Each calls `compute`; process 0
            gets the result, the others None.
        process_group: instead: True or a torch.distributed process group, over which rows are gathered.
        seed: of NumPy's random numbers while computing.
        experiment_id: what an evaluation by several processes is called; two at one time need two names.
        max_concurrent_cache_files: accepted and without effect: files of one process have no name.
        timeout: seconds that a process waits for the others.
        options: defaults of the options of `compute`.

    Raises:
        ArgumentError: process numbers that make no sense, an unknown configuration or option.
    """

    # The built-in module that this object is, if it is one.
    row: Row | None = None

    def __init__(
        self,
        config_name: str | None = None,
        keep_in_memory: bool = False,
        cache_dir: str | Path | None = None,
        num_process: int = 1,
        process_id: int = 0,
        seed: int | None = None,
        experiment_id: str | None = None,
        hash: str | None = None,
        max_concurrent_cache_files: int = 10000,
        timeout: float = 100,
        process_group: Any = None,
        **options: Any,
    ):
        if not isinstance(process_id, int) or not isinstance(num_process, int) or not 0 <= process_id < num_process:
            raise ArgumentError(
                f"process_id={process_id}, num_process={num_process}; expected 0 ≤ process_id < num_process"
            )
        if num_process > 1 and keep_in_memory:
            raise ArgumentError("keep_in_memory=True and several processes: they meet through files")
        if num_process > 1 and process_group is not None:
            raise ArgumentError("num_process and process_group are two ways to gather: give one")
        name = experiment_id or "default_experiment"
        if os.sep in name or name.startswith("."):
            raise ArgumentError(
                f"experiment_id is {name!r}; it becomes part of a file's name, so it can hold no {os.sep}"
            )
        self.config_name = config_name or "default"
        self.num_process, self.process_id, self.process_group = num_process, process_id, process_group
        self.seed, self.timeout = seed, timeout
        self.info = self._info()
        self.info.config_name, self.info.experiment_id = self.config_name, name
        self.info.module_name = self.info.module_name or _snake(type(self).__name__)
        folder = Path(cache_dir or default_cache_dir()).expanduser() / self.name / self.config_name
        self._meeting = Meeting(folder, name, num_process, process_id, timeout)
        self._rows = Rows(folder, keep_in_memory=keep_in_memory)
        self._form: Mapping[str, Any] | None = None
        self._options = self._check_options(options)

    # What it is

    def _info(self) -> EvaluationModuleInfo:
        if self.row is None:
            raise NotImplementedError(f"{type(self).__name__} needs _info(), which describes it")
        row = self.row
        features = [dict(form) for form in row.features]
        return EvaluationModuleInfo(
            description=row.description,
            citation=row.citation,
            features=features[0] if len(features) == 1 else features,
            inputs_description=row.inputs_description,
            module_type=row.kind,
            module_name=row.name,
        )

    @property
    def name(self) -> str:
        return str(self.info.module_name)

    @property
    def module_type(self) -> str:
        return self.info.module_type

    @property
    def features(self) -> Any:
        """Input column → what a row holds, or a list of such dictionaries."""
        return self.info.features

    @property
    def description(self) -> str:
        return self.info.description

    @property
    def citation(self) -> str:
        return self.info.citation

    @property
    def inputs_description(self) -> str:
        return self.info.inputs_description

    @property
    def experiment_id(self) -> str | None:
        return self.info.experiment_id

    @property
    def homepage(self) -> str:
        return self.info.homepage

    @property
    def license(self) -> str:
        return self.info.license

    @property
    def codebase_urls(self) -> list[str]:
        return self.info.codebase_urls

    @property
    def reference_urls(self) -> list[str]:
        return self.info.reference_urls

    @property
    def streamable(self) -> bool:
        return self.info.streamable

    @property
    def format(self) -> str | None:
        return self.info.format

    @property
    def forms(self) -> list[Mapping[str, Any]]:
        """The features, as a list of all forms."""
        return list(self.features) if isinstance(self.features, (list, tuple)) else [self.features]

    def column_names(self) -> list[str]:
        """What the input columns are called."""
        return list(self.forms[0])

    _feature_names = column_names

    def option_names(self) -> set[str] | None:
        """The options of `compute`, or None where a subclass takes any."""
        function = self.row.function if self.row else self._compute
        found = inspect.signature(function).parameters.values()
        if any(one.kind is one.VAR_KEYWORD for one in found):
            return None
        return {one.name for one in found} - {*self.column_names(), "config_name"}

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        kind = f"name: {self.name!r}, module_type: {self.module_type!r}"
        return f"EvaluationModule({kind}, features: {self.features}, stored examples: {len(self)})"

    # Rows

    def add(self, *, prediction: Any = None, reference: Any = None, **columns: Any) -> None:
        """Add one row: `add(prediction=0, reference=1)`, or other columns by their names.

        Raises:
            ArgumentError: a column is missing, or unknown, or holds something else than the metric takes.
        """
        given = {"prediction": prediction, "reference": reference} | columns
        row = {_ONE.get(name, name): value for name, value in given.items() if value is not None}
        self.add_batch(**{name: [value] for name, value in row.items()})

    def add_batch(self, *, predictions: Any = None, references: Any = None, **columns: Any) -> None:
        """Add rows, as lists, arrays or tensors.

        Raises:
            ArgumentError: as of `add`, or columns of different lengths. Nothing is added then.
        """
        given = {"predictions": predictions, "references": references} | columns
        given = {name: column for name, column in given.items() if column is not None}
        names = self.column_names()
        if given.keys() != set(names):
            self._refuse_columns(set(given), set(names))
        batch = {name: as_chunk(given[name]) for name in names}
        lengths = {len(column) for column in batch.values()}
        if len(lengths) > 1:
            said = " and ".join(f"{len(column)} {name}" for name, column in batch.items())
            raise ArgumentError(f"{self.name} got {said}: they must be as many, in the same order")
        self._check(batch)
        if count := lengths.pop():
            self._rows.add(batch, count)

    def _refuse_columns(self, given: set[str], names: set[str]) -> None:
        missing, strange = sorted(names - given), sorted(given - names)
        said = [f"{', '.join(missing)} missing"] if missing else []
        said += [f"{', '.join(strange)} unknown"] if strange else []
        raise ArgumentError(f"{self.name} takes the columns {', '.join(self.column_names())}: {'; '.join(said)}")

    def _check(self, batch: Mapping[str, Any]) -> None:
        """Refuse rows that no form of the features takes; the form of the first batch holds for all."""
        forms = [form for form in self.forms if _is_plain(form)]
        if len(forms) < len(self.forms):
            return  # features of another library: it has checked what it gave
        reasons = []
        for form in [self._form] if self._form is not None else forms:
            found = (check_column(name, batch[name], feature) for name, feature in form.items())
            reason = next((reason for reason in found if reason), None)
            if reason is None:
                if any(len(column) for column in batch.values()):
                    self._form = form
                return
            reasons.append(reason)
        raise ArgumentError(f"{self.name}: " + "; or ".join(dict.fromkeys(reasons)))

    # Results

    def compute(self, *, predictions: Any = None, references: Any = None, **given: Any) -> dict[str, Any] | None:
        """The result over all rows that were added, and those given here; the rows are forgotten then.

        Args:
            predictions, references, …: rows, as of `add_batch`.
            given: options of the metric.

        Returns:
            its numbers, or None in a process other than the first of several.

        Raises:
            ArgumentError: no rows, rows that don't fit, unknown options.
            GatheringError: other processes didn't come in time.
        """
        names = self.column_names()
        columns = {"predictions": predictions, "references": references}
        columns |= {name: given.pop(name) for name in names if name in given}
        columns = {name: column for name, column in columns.items() if column is not None}
        options = self._options | self._check_options(given)
        if columns:
            self.add_batch(**columns)
        try:
            batches = self._gathered()
            if batches is None:
                return None
            rows = columns_of(batches, names)
        finally:
            self._rows.clear()
            self._form = None
        if not any(len(column) for column in rows.values()):
            raise ArgumentError(f"{self.name} has no rows: give compute {', '.join(names)}, or add some before")
        with _seeded(self.seed):
            return self._compute(**rows, **options)

    def measure(self, **given: Any) -> dict[str, Any]:
        """The result over whole columns, given with the options; rows that were added stay, and no process waits.

        Nothing is checked that `add_batch` would check: columns are lists or arrays, as `compute` hands them on.
        """
        return self._compute(**self._options, **given)

    def _gathered(self) -> Iterator[dict[str, Any]] | None:
        if self.process_group is not None:
            found = gather_over_group(self.process_group, self._rows.lines())
        elif self.num_process > 1:
            found = self._meeting.gather(self._rows.lines())
        else:
            return self._rows.batches()
        return None if found is None else iter(found)

    def _compute(self, **given: Any) -> dict[str, Any]:
        if self.row is None:
            raise NotImplementedError(
                f"{type(self).__name__} needs _compute(), which takes {', '.join(self.column_names())}"
            )
        if "config_name" in self.row.options:
            given["config_name"] = self.config_name
        return self.row.function(**given)

    def _check_options(self, options: dict[str, Any]) -> dict[str, Any]:
        known = self.option_names()
        if known is None:
            return options
        if strange := sorted(options.keys() - known):
            near = difflib.get_close_matches(strange[0], known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise ArgumentError(f"{self.name} has no option {', '.join(map(repr, strange))}{hint}; {has}")
        return options

    def download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is ever downloaded: a metric is part of the package."""


class Metric(EvaluationModule):
    """Predictions against references."""


class Comparison(EvaluationModule):
    """Two models' predictions."""


class Measurement(EvaluationModule):
    """Data alone."""


def _is_plain(form: Any) -> bool:
    """Whether features are words, lists and dictionaries, as in `columns`."""
    if isinstance(form, Mapping):
        return all(_is_plain(inner) for inner in form.values())
    return isinstance(form, str) or (type(form) is list and len(form) == 1 and _is_plain(form[0]))


def _snake(name: str) -> str:
    """`MyMetric` → `my_metric`."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """NumPy's global random numbers from a seed, and as they were afterwards."""
    if seed is None:
        yield
        return
    import numpy as np

    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
