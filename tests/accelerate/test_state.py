"""A loop of one's own that is saved and goes on: the same weights, to the bit."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from enfold.accelerate import Accelerator, ProjectConfiguration, skip_first_batches
from enfold.base.errors import ArgumentError, CheckpointError, WeightsMismatchError
from tests.accelerate import launching


class Stream(IterableDataset):
    def __iter__(self):
        yield from range(22)


def noisy(rows):
    """A collator that draws."""
    return torch.tensor(rows, dtype=torch.float32)[:, None] + torch.randn(len(rows), 4)


class Counter:
    def __init__(self):
        self.count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


class Loop:
    """Everything that draws: dropout, a random order, a random collator."""

    def __init__(self, rows, *, stateful=True, seed=0, **options):
        torch.manual_seed(seed)
        self.accelerator = Accelerator(
            cpu=True, gradient_accumulation_steps=2, use_stateful_dataloader=stateful, **options
        )
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.9)
        loader = DataLoader(rows, batch_size=2, shuffle=not isinstance(rows, IterableDataset), collate_fn=noisy)
        self.counter = Counter()
        self.model, self.optimizer, self.schedule, self.loader = self.accelerator.prepare(
            model, optimizer, schedule, loader
        )
        self.accelerator.register_for_checkpointing(self.counter)

    def run(self, epochs=2, *, save_at=None, folder=None, loader=None):
        first = self.counter.count
        for epoch in range(first // 1000, epochs):
            for batch in loader if loader is not None else self.loader:
                with self.accelerator.accumulate(self.model):
                    self.accelerator.backward(self.model(batch).square().mean())
                    self.optimizer.step()
                    self.schedule.step()
                    self.optimizer.zero_grad()
                self.counter.count += 1
                if self.counter.count == save_at:
                    self.accelerator.save_state(folder)
            loader = None
            self.counter.count = 1000 * (epoch + 1)
        return {name: t.clone() for name, t in self.accelerator.unwrap_model(self.model).state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("rows", [list(range(22)), Stream()], ids=["rows", "stream"])
@pytest.mark.parametrize("save_at", [2, 4, 1006])
def test_a_loop_goes_on_where_it_was_saved(rows, save_at, tmp_path):
    whole = Loop(rows).run(save_at=save_at, folder=tmp_path / "state")
    again = Loop(rows, seed=1)
    again.accelerator.load_state(tmp_path / "state")
    assert again.counter.count == save_at
    assert same(again.run(), whole)
    skipping = Loop(rows, stateful=False, seed=2)
    skipping.accelerator.load_state(tmp_path / "state")
    rest = skip_first_batches(skipping.loader, save_at % 1000)
    assert same(skipping.run(loader=rest), whole)


def test_a_loader_of_the_rest_has_a_length():
    plain = skip_first_batches(DataLoader(range(7), batch_size=2), 1)
    assert len(plain) == 3
    assert [batch.tolist() for batch in plain] == [[2, 3], [4, 5], [6]]
    prepared = Accelerator(cpu=True).prepare(DataLoader(range(7), batch_size=2))
    rest = skip_first_batches(skip_first_batches(prepared, 1), 2)
    assert len(rest) == 1
    assert [batch.tolist() for batch in rest] == [[6]]
    assert prepared.end_of_dataloader
    assert list(skip_first_batches(prepared, 9)) == []
    with pytest.raises(ArgumentError, match="0 or more"):
        skip_first_batches(prepared, -1)


def test_checkpoints_are_named_and_the_oldest_go(tmp_path):
    project = ProjectConfiguration(str(tmp_path), automatic_checkpoint_naming=True, total_limit=2)
    loop = Loop(list(range(22)), project_config=project)
    for _ in range(3):
        folder = Path(loop.accelerator.save_state())
    assert sorted(path.name for path in folder.parent.iterdir()) == ["checkpoint_1", "checkpoint_2"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "custom_checkpoint_0.pkl",
        "model.safetensors",
        "optimizer.bin",
        "random_states_0.pkl",
        "scheduler.bin",
    ]
    loop.accelerator.load_state()
    assert loop.accelerator.save_iteration == 3
    with pytest.raises(ArgumentError, match="needs an output_dir"):
        Accelerator(cpu=True).save_state()


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    loop = Loop(list(range(22)))
    loop.accelerator.save_state(tmp_path / "state")
    before = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()}
    save = torch.save

    def full(value, path):
        save(value, path)
        if Path(path).name == "scheduler.bin":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    loop.run(1)
    with pytest.raises(OSError, match="No space left"):
        loop.accelerator.save_state(tmp_path / "state")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()} == before


def test_what_others_put_into_the_folder_stays(tmp_path):
    loop = Loop(list(range(22)))
    loop.accelerator.save_state(tmp_path / "state")
    (tmp_path / "state" / "notes.txt").write_text("mine")
    (tmp_path / "state" / "more").mkdir()
    (tmp_path / "state" / "more" / "numbers").write_text("1 2 3")
    (tmp_path / "state" / "random_states_7.pkl").write_text("of a larger job")
    loop.accelerator.save_state(tmp_path / "state")
    assert (tmp_path / "state" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "state" / "more" / "numbers").read_text() == "1 2 3"
    assert not (tmp_path / "state" / "random_states_7.pkl").exists()


def test_what_can_not_be_loaded_says_why(tmp_path):
    loop = Loop(list(range(22)))
    loop.accelerator.save_state(tmp_path / "state")
    other = Accelerator(cpu=True)
    other.prepare(nn.Linear(4, 8))
    with pytest.raises(WeightsMismatchError, match="another model"):
        other.load_state(tmp_path / "state")
    with pytest.raises(CheckpointError, match="is no folder"):
        other.load_state(tmp_path / "nothing")

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/owned",)

    torch.save({"state": Evil()}, tmp_path / "state" / "optimizer.bin")
    with pytest.raises(CheckpointError, match="can't be read"):
        loop.accelerator.load_state(tmp_path / "state")
    assert not (tmp_path / "owned").exists()
    with pytest.raises(ArgumentError, match="int have none"):
        loop.accelerator.register_for_checkpointing(3)


def test_saved_weights_are_read_by_the_reference(tmp_path):
    import accelerate

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    Accelerator(cpu=True).save_model(model, tmp_path, max_shard_size=70)
    assert (tmp_path / "model.safetensors.index.json").is_file()
    read = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    read[1].weight = read[0].weight
    accelerate.load_checkpoint_in_model(read, str(tmp_path))
    assert same(read.state_dict(), model.state_dict())


def two(folder):
    """Runs in each of two processes."""
    whole = Loop(list(range(22))).run(save_at=4, folder=f"{folder}/state")
    again = Loop(list(range(22)), seed=1)
    again.accelerator.load_state(f"{folder}/state")
    assert same(again.run(), whole)
    assert not again.accelerator.optimizer_step_was_skipped


def test_two_processes_go_on_and_one_takes_over(tmp_path):
    launching.run(2, "tests.accelerate.test_state:two", str(tmp_path))
    assert sorted(path.name for path in (tmp_path / "state").glob("random*")) == [
        "random_states_0.pkl",
        "random_states_1.pkl",
    ]
    alone = Loop(list(range(22)))
    alone.accelerator.load_state(tmp_path / "state")
    assert alone.counter.count == 4
    alone.run()
