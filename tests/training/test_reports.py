"""What a run leaves behind for its readers: event files, trackers' runs, a page."""

import json
import math
import re
import time
from html.parser import HTMLParser
from importlib.util import find_spec
from xml.etree import ElementTree

import pytest

from enfold import TrainingArguments
from enfold.base.errors import MissingDependencyError
from enfold.training.reports import reporters
from enfold.training.reports.curves import Curve, chart, thinned, ticks
from tests.training import little

GIVEN = {"max_steps": 6, "logging_steps": 2, "eval_strategy": "steps", "eval_steps": 3, "run_name": "first <try>"}


def trained(classifier, folder, report_to, resume=None, **options):
    run = little.trainer(
        little.load_classifier(classifier),
        folder,
        little.rows(16),
        eval_dataset=little.rows(8, seed=1),
        compute_metrics=lambda prediction: {"accuracy": 0.5, "nothing": math.nan},
        report_to=report_to,
        **{**GIVEN, **options},
    )
    run.train(resume_from_checkpoint=resume)
    return run


def logged(run, name):
    return {entry["step"]: entry[name] for entry in run.state.log_history if name in entry}


# TensorBoard


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard(classifier, tmp_path):
    run = trained(classifier, tmp_path, "tensorboard", run_name="first")
    run.evaluate()
    found = events(tmp_path / "runs" / "first")
    scalars = {event.step: event.value for event in found.Scalars("train/loss")}
    assert scalars == pytest.approx(logged(run, "loss"), rel=1e-6)
    assert [event.step for event in found.Scalars("eval/accuracy")] == [3, 6, 6]
    assert "eval/nothing" not in found.Tags()["scalars"]
    assert "train/train_runtime" in found.Tags()["scalars"]
    text = found.Tensors("args/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"max_steps": 6' in text
    assert "hidden_size" in found.Tensors("model_config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "_hparams_/session_start_info" in found.summary_metadata


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_goes_on_where_the_run_does(classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "elsewhere"))
    options = {"save_strategy": "steps", "save_steps": 3, "logging_steps": 1, "run_name": None}
    trained(classifier, tmp_path / "out", "tensorboard", **options)
    run = trained(classifier, tmp_path / "out", "tensorboard", resume=str(tmp_path / "out/checkpoint-3"), **options)
    folders = list((tmp_path / "elsewhere").iterdir())
    assert len(folders) == 1
    scalars = [(event.step, event.value) for event in events(folders[0]).Scalars("train/loss")]
    assert [step for step, _ in scalars] == [1, 2, 3, 4, 5, 6]  # each once, though three were done twice
    assert dict(scalars) == pytest.approx(logged(run, "loss"), rel=1e-6)


# Trackers


def records(path):
    """The messages of a run's file: a LevelDB log behind seven bytes, in blocks of 32 KiB."""
    data, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if left < 7 or kind == 0:
            at += left
            continue
        message += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield message
            message = b""


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is an extra that is not installed (issue 6)")
def test_wandb_offline(classifier, tmp_path, monkeypatch):
    import wandb
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = trained(classifier, tmp_path, "wandb", project="gardens")
    run.evaluate()
    assert wandb.run is not None
    wandb.run.finish()
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    found, until = [], time.monotonic() + 20
    # The client's own process writes the last of it behind `finish`.
    while not any(record.HasField("exit") for record in found) and time.monotonic() < until:
        found = [wandb_internal_pb2.Record.FromString(message) for message in records(path)]
        time.sleep(0.05)
    history, config, about = [], {}, None
    for record in found:
        if record.HasField("run"):
            about = record.run
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if record.HasField("config"):
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        if record.HasField("history"):
            history.append({(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item})
    assert about is not None
    assert (about.project, about.display_name) == ("gardens", "first <try>")
    assert config["max_steps"] == 6
    assert config["model/hidden_size"] == 32
    losses = {row["train/global_step"]: row["train/loss"] for row in history if "train/loss" in row}
    assert losses == pytest.approx(logged(run, "loss"), rel=1e-6)
    assert len([row for row in history if "eval/accuracy" in row]) == 3


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is an extra that is not installed (issue 6)")
def test_mlflow_in_local_files(classifier, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    options = {"save_strategy": "steps", "save_steps": 3, "project": "gardens"}
    trained(classifier, tmp_path / "out", "mlflow", **options)
    run = trained(classifier, tmp_path / "out", "mlflow", resume=str(tmp_path / "out/checkpoint-3"), **options)
    assert mlflow.active_run() is None
    run.evaluate()
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("gardens")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "first <try>"
    assert found.info.status == "FINISHED"
    assert found.data.params["max_steps"] == "6"
    assert found.data.params["model/hidden_size"] == "32"
    kept = {metric.step: metric.value for metric in client.get_metric_history(found.info.run_id, "train/loss")}
    assert kept == pytest.approx(logged(run, "loss"))
    assert [metric.step for metric in client.get_metric_history(found.info.run_id, "eval/accuracy")] == [3, 6, 6, 6]


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_a_tracker_that_is_not_installed_names_its_extra(name, tmp_path):
    if find_spec(name) is not None:
        assert len(reporters(TrainingArguments(str(tmp_path), report_to=[name, name]))) == 1
        return
    with pytest.raises(MissingDependencyError, match=rf"enfold\[{name}\]"):
        reporters(TrainingArguments(str(tmp_path), report_to=name))


def test_all_are_those_that_are_installed(tmp_path):
    found = {type(callback).__name__ for callback in reporters(TrainingArguments(str(tmp_path), report_to="all"))}
    assert {"TerminalCallback", "CSVCallback", "HTMLCallback"} <= found
    assert ("WandbCallback" in found) == (find_spec("wandb") is not None)


# The page


class Reader(HTMLParser):
    """Whether all elements are closed in order, and what the page would fetch or run."""

    VOID = ("meta",)

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.texts, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "data", "srcset") and value]

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())


def test_the_page(classifier, tmp_path):
    run = trained(classifier, tmp_path, "html", learning_rate=3e-4)
    path = tmp_path / "report.html"
    first = path.read_text()
    reader = Reader()
    reader.feed(first)
    assert not reader.open
    assert not reader.fetched
    assert "script" not in reader.tags
    assert "url(" not in first
    assert "@import" not in first
    assert "prefers-color-scheme: dark" in first
    for text in ("first <try>", "loss", "grad_norm", "learning_rate", "eval_accuracy", "0.0003", "train_loss"):
        assert text in reader.texts, text
    drawn = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", first, re.S)]
    labels = [svg.get("aria-label") for svg in drawn]
    assert labels == ["loss", "learning_rate", "grad_norm", "eval_accuracy"]
    both = drawn[0]
    assert [line.get("class") for line in both.iter("polyline")] == ["c0", "c1"]
    dots = [title.text for title in both.iter("title")]
    assert dots == [
        *(f"loss {value:.6g} at step {step}" for step, value in logged(run, "loss").items()),
        *(f"eval_loss {value:.6g} at step {step}" for step, value in logged(run, "eval_loss").items()),
    ]
    # A metric without a finite value is named, and has no curve.
    assert "eval_nothing" in reader.texts
    run.evaluate(metric_key_prefix="test")
    assert "test_accuracy" in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_page_keeps_secrets(classifier, tmp_path):
    trained(classifier, tmp_path, "html", hub_token="hf_secret")
    assert "hf_secret" not in (tmp_path / "report.html").read_text()


def coordinates(svg, kind="polyline"):
    root = ElementTree.fromstring(svg)
    return [[tuple(map(float, pair.split(","))) for pair in line.get("points").split()] for line in root.iter(kind)]


def test_a_curve_is_to_scale():
    (line,) = coordinates(chart([Curve("loss", [(0, 0.0), (5, 0.5), (10, 1.0)])], "loss"))
    (x0, y0), (x1, y1), (x2, y2) = line
    assert x0 < x1 < x2
    assert y0 > y1 > y2
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.2)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.2)


def test_values_that_are_no_number_leave_a_gap():
    gap = chart([Curve("loss", [(1, 1.0), (2, 2.0), (3, math.nan), (4, math.inf), (5, 2.0), (6, 1.0)])], "loss")
    assert [len(line) for line in coordinates(gap)] == [2, 2]
    assert chart([Curve("loss", [(1, math.nan)])], "loss") == "<p>No finite value.</p>"
    assert not coordinates(chart([Curve("loss", [(7, 3.0)])], "loss"))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2.31, 2.34), (-5, 1e6), (0, 3e-5), (1e-12, 2e-12), (99, 100)])
def test_ticks_are_round_and_go_round_all(low, high):
    found = ticks(low, high)
    step = found[1] - found[0]
    assert found[0] <= low + step * 1e-6
    assert found[-1] >= high - step * 1e-6
    assert 2 <= len(found) <= 8
    assert f"{step:.6e}"[0] in "125"


def test_long_runs_keep_their_spikes():
    points = [(step, math.sin(step / 900)) for step in range(50_000)]
    points[31_234] = (31_234, 9.0)
    kept = thinned(points)
    assert len(kept) <= 400
    assert (31_234, 9.0) in kept
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert kept == sorted(kept)
