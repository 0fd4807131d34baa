"""DataLoaders: every row once, whatever the number of workers; killed and resumed, nothing lost or repeated."""

import itertools
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.datasets.streams import consumer
from torch.utils.data import DataLoader

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets import IterableDataset, StatefulDataLoader


def longer(row):
    return {"b": row["a"] + 1}


def rows(count=53, shards=3):
    return IterableDataset.from_dict({"a": list(range(count))}, num_shards=shards)


def numbers(loader):
    return [batch["a"].tolist() for batch in loader]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_share_rows(workers):
    dataset = rows().map(longer).filter(lambda row: row["a"] % 7 != 3)
    seen = sorted(itertools.chain(*numbers(DataLoader(dataset, batch_size=4, num_workers=workers))))
    assert seen == [number for number in range(53) if number % 7 != 3]
    counted = rows().shuffle(seed=1, buffer_size=9).skip(5).take(20)
    seen = sorted(itertools.chain(*numbers(DataLoader(counted, batch_size=4, num_workers=workers))))
    assert seen == sorted(row["a"] for row in counted)


def test_an_epoch_reaches_persistent_workers():
    dataset = rows(30, 4).shuffle(seed=1, buffer_size=9)
    loader = DataLoader(dataset, batch_size=None, num_workers=2, persistent_workers=True)
    first = [row["a"] for row in loader]
    assert [row["a"] for row in loader] == first
    dataset.set_epoch(1)
    second = [row["a"] for row in loader]
    assert second != first
    assert sorted(second) == sorted(first)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [4, None])
def test_goes_on_after_any_batch(workers, batch_size):
    def loader():
        dataset = rows().map(longer).shuffle(seed=3, buffer_size=10)
        return StatefulDataLoader(dataset, batch_size=batch_size, num_workers=workers)

    plain = DataLoader(loader().dataset, batch_size=batch_size, num_workers=workers)
    whole = [batch["a"] for batch in plain] if batch_size is None else numbers(plain)
    for stop in (0, 1, 6, len(whole)):
        first, second = loader(), loader()
        taken = list(itertools.islice(first, stop))
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        both = [*taken, *second]
        assert [batch["a"] if batch_size is None else batch["a"].tolist() for batch in both] == whole
    assert len(list(second)) == len(whole)


def test_states_of_something_else_are_refused():
    loader = StatefulDataLoader(rows(), batch_size=4, num_workers=2)
    with pytest.raises(DatasetError, match="num_workers=3"):
        loader.load_state_dict({"workers": [None] * 3, "next": 0, "epoch": 0})
    with pytest.raises(ArgumentError, match="lacks"):
        loader.load_state_dict({"workers": [None] * 2})
    with pytest.raises(ArgumentError, match="to_iterable_dataset"):
        StatefulDataLoader([1, 2, 3])  # pyright: ignore[reportArgumentType]
    dataset = rows()
    next(iter(dataset))
    state = dataset.state_dict()
    other = rows().take(3)
    other.load_state_dict(state)
    with pytest.raises(DatasetError, match="another pipeline"):
        next(iter(other))
    state["worker"] = [1, 2]
    dataset.load_state_dict(state)
    with pytest.raises(DatasetError, match="worker 1 of 2"):
        next(iter(dataset))


def test_torchdata_goes_on():
    stateful = pytest.importorskip(
        "torchdata.stateful_dataloader", reason="torchdata is no package for development (issue 5)"
    )

    def loader():
        dataset = rows().map(longer).shuffle(seed=3, buffer_size=10)
        return stateful.StatefulDataLoader(dataset, batch_size=4, num_workers=2)

    whole = numbers(loader())
    first, second = loader(), loader()
    taken = [batch["a"].tolist() for batch in itertools.islice(iter(first), 5)]
    second.load_state_dict(first.state_dict())
    assert taken + numbers(second) == whole


def test_killed_and_resumed(tmp_path: Path):
    whole = [json.dumps(batch) for batch in numbers(consumer.loader())]
    notes, state = tmp_path / "notes", tmp_path / "state"
    command = [sys.executable, consumer.__file__, str(notes), str(state)]
    chance = random.Random(5)
    for _ in range(2):
        process = subprocess.Popen(command)
        before = notes.stat().st_size if notes.exists() else 0
        # Once it reads again, it dies at some moment, between a batch and its state too.
        while process.poll() is None and (not notes.exists() or notes.stat().st_size <= before):
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True)
    assert notes.read_text().splitlines() == [*whole, "end"]
