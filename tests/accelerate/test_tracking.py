"""Trackers: what is logged is there to be read."""

import json

import pytest
import torch

from enfold.accelerate import Accelerator, GeneralTracker
from enfold.base.errors import ArgumentError


class Remembering(GeneralTracker):
    name = "memory"

    def __init__(self, run_name):
        self.seen = [run_name]

    @property
    def tracker(self):
        return self.seen

    def store_init_configuration(self, values):
        self.seen.append(values)

    def log(self, values, step=None, **options):
        self.seen.append((values, step, options))

    def finish(self):
        self.seen.append("end")


def run(kind, folder=None, **options):
    accelerator = Accelerator(cpu=True, log_with=kind, project_dir=folder)
    accelerator.init_trackers("trial", config={"rate": 0.1, "layers": [1, 2]}, init_kwargs=options)
    accelerator.log({"loss": 2.0, "accuracy": 0.25}, step=1)
    accelerator.log({"loss": torch.tensor(1.5)}, step=2)
    return accelerator


def test_a_file_and_ones_own(tmp_path):
    accelerator = run(["csv", Remembering], tmp_path)
    seen = accelerator.get_tracker("memory", unwrap=True)
    accelerator.log({"x": 1}, log_kwargs={"memory": {"colour": 3}})
    accelerator.end_training()
    assert seen[0] == "trial"
    assert seen[2] == ({"loss": 2.0, "accuracy": 0.25}, 1, {})
    assert seen[-2:] == [({"x": 1}, None, {"colour": 3}), "end"]
    lines = (tmp_path / "trial" / "log.csv").read_text().splitlines()
    assert lines[:3] == ["step,name,value", "1,loss,2.0", "1,accuracy,0.25"]
    assert json.loads((tmp_path / "trial" / "parameters.json").read_text()) == {"rate": 0.1, "layers": [1, 2]}


def test_event_files(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run("tensorboard", tmp_path).end_training()
    events = EventAccumulator(str(tmp_path / "trial")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 2.0), (2, 1.5)]


def test_mlflow(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not among the packages for development (issue 6)")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    accelerator = run("mlflow")
    number = accelerator.get_tracker("mlflow", unwrap=True).info.run_id
    accelerator.end_training()
    held = mlflow.MlflowClient().get_run(number).data
    assert held.metrics == {"loss": 1.5, "accuracy": 0.25}
    assert held.params == {"rate": "0.1", "layers": "[1, 2]"}


def test_wandb(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not among the packages for development (issue 6)")
    monkeypatch.setenv("WANDB_MODE", "offline")
    accelerator = run("wandb", wandb={"dir": str(tmp_path)})
    held = accelerator.get_tracker("wandb", unwrap=True)
    accelerator.log({"loss": 1.0}, step=3)  # a step is whole when the next one begins
    assert (held.summary["loss"], held.config["rate"]) == (1.5, 0.1)
    accelerator.end_training()
    assert list(tmp_path.rglob("run-*.wandb"))


def test_what_can_not_be(tmp_path):
    with pytest.raises(ArgumentError, match="log_with='abacus'"):
        Accelerator(cpu=True, log_with="abacus")
    with pytest.raises(ArgumentError, match="project_dir"):
        Accelerator(cpu=True, log_with="csv").init_trackers("x")
    with pytest.raises(ArgumentError, match="no tracker 'wandb'"):
        run("csv", tmp_path).get_tracker("wandb")
