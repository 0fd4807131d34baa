"""Results into files, and into a model's card on the hub."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.base.whole import file_aside


def save(path_or_file: str | Path, **data: Any) -> Path:
    """Write results into a JSON file, with the time, the commit of the folder you are in, and the versions that were
    used.

    Args:
        path_or_file: a file, or a folder in which one is named by the time: `result-2030_01_31-12_00_00.json`.
        data: what to write; NumPy's numbers and arrays become plain ones.

    Returns:
        the file's path.

    Raises:
        ArgumentError: data that JSON can't hold.
    """
    import enfold

    now, path = datetime.now(), Path(path_or_file)
    if not path.suffix:
        path = path / f"result-{now:%Y_%m_%d-%H_%M_%S}.json"
    written = data | {
        "_timestamp": now.isoformat(),
        "_git_commit_hash": _commit(),
        "_evaluate_version": enfold.__version__,
        "_python_version": sys.version,
        "_interpreter_path": sys.executable,
    }
    text = as_json(written)
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_aside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return path


def as_json(results: Mapping[str, Any]) -> str:
    """Results as a JSON text.

    Raises:
        ArgumentError: a value that JSON can't hold.
    """

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            return value.tolist()
        raise ArgumentError(
            f"results hold a {type(value).__name__}; expected numbers, texts, arrays, lists or dictionaries"
        )

    return json.dumps(results, default=plain, ensure_ascii=False)


def _commit() -> str | None:
    """The commit of the current folder's repository, if it is in one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def push_to_hub(
    model_id: str,
    task_type: str,
    dataset_type: str,
    dataset_name: str,
    metric_type: str,
    metric_name: str,
    metric_value: float,
    task_name: str | None = None,
    dataset_config: str | None = None,
    dataset_split: str | None = None,
    dataset_revision: str | None = None,
    dataset_args: dict[str, Any] | None = None,
    metric_config: str | None = None,
    metric_args: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Any:
    """Write a result into the card of a model on the hub, where its page shows it.

    Args:
        model_id: the model's repository.
        task_type, task_name: the task's id, and what it is called.
        dataset_type, dataset_name: the dataset's repository, and what it is called; `dataset_config`, `dataset_split`,
            `dataset_revision` and `dataset_args` say which of its rows.
        metric_type, metric_name, metric_value: the metric's id, what it is called, and its value; `metric_config` and
            `metric_args` say how it was computed.
        overwrite: replace a value that is there already, instead of refusing.

    Returns:
        what the hub's client answers: where the commit is.

    Raises:
        ArgumentError: another value of that metric is there.
        HubError and its kin: what the hub said.
    """
    from huggingface_hub import metadata_update

    from enfold.hub.remote import clear_errors

    card = result_card(
        task={"type": task_type, "name": task_name},
        dataset={
            "type": dataset_type,
            "name": dataset_name,
            "config": dataset_config,
            "split": dataset_split,
            "revision": dataset_revision,
            "args": dataset_args,
        },
        metric={
            "type": metric_type,
            "value": metric_value,
            "name": metric_name,
            "config": metric_config,
            "args": metric_args,
        },
    )
    with clear_errors(model_id):
        try:
            return metadata_update(repo_id=model_id, metadata=card, overwrite=overwrite)
        except ValueError as error:
            if type(error) is not ValueError:  # what the hub said
                raise
            raise ArgumentError(f"the card of {model_id} was not changed: {error}") from error


def result_card(*, task: dict[str, Any], dataset: dict[str, Any], metric: dict[str, Any]) -> dict[str, Any]:
    """A result as a model card's metadata, without what wasn't said."""
    said = [{name: value for name, value in part.items() if value is not None} for part in (task, dataset, metric)]
    return {"model-index": [{"results": [{"task": said[0], "dataset": said[1], "metrics": [said[2]]}]}]}
