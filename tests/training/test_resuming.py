"""A run that is killed, and goes on: the same weights, to the bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from enfold.accelerate import folders
from enfold.base.errors import ArgumentError, CheckpointError
from enfold.training import checkpoints
from tests.training import little

# Dropout, a masking collator and a random order: everything that draws.
SCRIPT = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import enfold
from enfold import Trainer, TrainerCallback, TrainingArguments
from tests.training import little

folder, output, resume, pause = sys.argv[1:5]
options = eval(sys.argv[5])

class Slow(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        print("step", state.global_step, flush=True)
        time.sleep(float(pause))

class Hiding:
    def __call__(self, rows):
        ids = torch.tensor([row["input_ids"] for row in rows])
        labels = ids.clone()
        ids[torch.rand(ids.shape) < 0.3] = 3
        return {"input_ids": ids, "labels": labels}

model = enfold.GPT2LMHeadModel.from_pretrained(folder)
args = TrainingArguments(output, use_cpu=True, report_to="none", num_train_epochs=3, per_device_train_batch_size=2,
                         gradient_accumulation_steps=2, learning_rate=1e-3, lr_scheduler_type="cosine",
                         **{"save_steps": 3, "save_total_limit": 3, **options})
trainer = Trainer(model, args, train_dataset=little.rows(30), data_collator=Hiding(), callbacks=[Slow])
print("ready", flush=True)
trainer.train(resume_from_checkpoint=resume == "resume" and bool(list(Path(output).glob("checkpoint-*"))))
torch.save(model.state_dict(), Path(output) / "end.pt")
print("ended", flush=True)
"""


def start(folder, output, *, resume=False, pause=0.0, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            SCRIPT,
            str(folder),
            str(output),
            "resume" if resume else "new",
            str(pause),
            repr(options),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen) -> None:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out


def end(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(output / "end.pt", weights_only=True)


@pytest.fixture(scope="module")
def droppy(tmp_path_factory):
    """A GPT-2 with dropout."""
    return little.writer(tmp_path_factory.mktemp("droppy"), resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1)


@pytest.fixture(scope="module")
def undisturbed(droppy, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed")
    finish(start(droppy, output))
    return end(output)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_killed_at_random_moments(droppy, undisturbed, tmp_path):
    """Killed again and again, at steps, while it saves and in between; each time it goes on from what is whole."""
    draw = random.Random(0)
    kills = 0
    wanted = int(os.environ.get("ENFOLD_KILLS", "5"))  # fifty take some minutes
    for _ in range(wanted):
        process = start(droppy, tmp_path, resume=True, pause=0.01)
        assert process.stdout is not None
        for _ in range(draw.randrange(1, 9)):
            if process.stdout.readline() == "ended\n":
                break
        time.sleep(draw.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        for folder in checkpoints.checkpoints(tmp_path):  # whatever is there is whole
            assert json.loads((folder / "trainer_state.json").read_text())["global_step"] == int(folder.name[11:])
            folders.read(folder / "optimizer.pt")
            folders.read(folder / "rng_state.pth")
    assert kills >= wanted // 2
    finish(start(droppy, tmp_path, resume=True))
    assert same(end(tmp_path), undisturbed)
    assert not list(tmp_path.glob(".*unfinished"))
    assert len(checkpoints.checkpoints(tmp_path)) == 3


def test_every_checkpoint_leads_to_the_same_end(droppy, undisturbed, tmp_path):
    finish(start(droppy, tmp_path, save_steps=1, save_total_limit=None))
    found = checkpoints.checkpoints(tmp_path)
    assert len(found) == 24
    assert same(end(tmp_path), undisturbed)


def test_sigterm_saves_and_leaves(droppy, undisturbed, tmp_path):
    process = start(droppy, tmp_path, pause=0.05, save_strategy="no")
    assert process.stdout is not None
    while process.stdout.readline() != "step 5\n":
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert len(checkpoints.checkpoints(tmp_path)) == 1
    finish(start(droppy, tmp_path, resume=True, save_strategy="no"))
    assert same(end(tmp_path), undisturbed)


def run(classifier, output, **options):
    return little.trainer(
        little.load_classifier(classifier),
        output,
        little.rows(20),
        **{
            "num_train_epochs": 2,
            "per_device_train_batch_size": 4,
            "save_strategy": "steps",
            "save_steps": 3,
            **options,
        },
    )


def test_workers_and_epochs_end_at_the_same_weights(classifier, tmp_path):
    whole = run(classifier, tmp_path / "a", save_steps=1)
    whole.train()
    for step in (1, 4, 5, 6, 9):  # within an epoch, at its end, behind it
        again = run(classifier, tmp_path / "b", dataloader_num_workers=step % 2)
        again.train(resume_from_checkpoint=str(tmp_path / "a" / f"checkpoint-{step}"))
        assert little.same_weights(again.model, whole.model), step
        assert again.state.global_step == 10
        assert again.state.log_history[-1]["train_loss"] == pytest.approx(whole.state.log_history[-1]["train_loss"])


def test_a_full_disk_leaves_the_last_checkpoint_whole(classifier, tmp_path, monkeypatch):
    first = run(classifier, tmp_path)
    first.train()
    before = sorted(path.name for path in tmp_path.iterdir())
    save = torch.save

    def full(value, path):
        save(value, path)
        if Path(path).name == "scheduler.pt":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    again = run(classifier, tmp_path, num_train_epochs=4)
    with pytest.raises(OSError, match="No space left"):
        again.train(resume_from_checkpoint=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_can_not_be_resumed_says_why(classifier, tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        run(classifier, tmp_path).train(resume_from_checkpoint=True)
    with pytest.raises(CheckpointError, match=r"no trainer_state\.json"):
        run(classifier, tmp_path).train(resume_from_checkpoint=str(tmp_path))
    run(classifier, tmp_path).train()
    folder = tmp_path / "checkpoint-3"
    with pytest.raises(ArgumentError, match="per_device_train_batch_size=4, and now it is 2"):
        run(classifier, tmp_path, per_device_train_batch_size=2).train(resume_from_checkpoint=str(folder))
    whole = (folder / "optimizer.pt").read_bytes()
    (folder / "optimizer.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"optimizer\.pt can't be read"):
        run(classifier, tmp_path).train(resume_from_checkpoint=str(folder))
    (folder / "optimizer.pt").unlink()
    with pytest.raises(CheckpointError, match=r"optimizer\.pt is missing"):
        run(classifier, tmp_path).train(resume_from_checkpoint=str(folder))


def test_a_pickle_in_a_checkpoint_is_not_run(classifier, tmp_path):
    run(classifier, tmp_path).train()

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/owned",)

    torch.save({"state": Evil()}, tmp_path / "checkpoint-3" / "optimizer.pt")
    with pytest.raises(CheckpointError, match="can't be read"):
        run(classifier, tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert not (tmp_path / "owned").exists()
