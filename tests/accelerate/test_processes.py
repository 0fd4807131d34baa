"""Two processes: what they exchange, and that they train as one does."""

import json

import pytest
import torch
from torch.utils.data import DataLoader

from enfold.accelerate import Accelerator, PartialState, find_executable_batch_size, skip_first_batches
from enfold.accelerate import operations as ops
from enfold.accelerate.loading import BatchShare, RowShare
from enfold.base.errors import ArgumentError
from tests.accelerate import launching
from tests.training import little


def alone() -> Accelerator:
    return Accelerator(cpu=True)


def test_one_process_is_the_main_one():
    accelerator = alone()
    assert (accelerator.num_processes, accelerator.process_index, accelerator.is_main_process) == (1, 0, True)
    assert accelerator.device.type == "cpu"
    assert torch.equal(accelerator.gather(torch.tensor(3.0)), torch.tensor([3.0]))
    with accelerator.split_between_processes([1, 2, 3]) as mine:
        assert mine == [1, 2, 3]


def exchange():
    """Runs in each of two processes."""
    state = PartialState(cpu=True)
    rank = state.process_index
    ragged = torch.arange(2 + rank)
    assert ops.gather({"a": [ragged, torch.tensor(float(rank))]})["a"][0].tolist() == [0, 1, 0, 1, 2]
    assert ops.gather(torch.tensor(float(rank))).tolist() == [0.0, 1.0]
    assert ops.gather_object([rank, "x"]) == [0, "x", 1, "x"]
    assert ops.reduce(torch.tensor([1.0 + rank])).tolist() == [1.5]
    assert ops.reduce({"a": torch.tensor([1.0 + rank])}, "sum", 2.0)["a"].tolist() == [6.0]
    assert ops.broadcast(torch.tensor([rank]), 1).tolist() == [1]
    padded = ops.pad_across_processes(torch.ones(1, 2 + rank), dim=1, pad_index=-1)
    assert padded.tolist() == ([[1, 1, -1]] if rank == 0 else [[1, 1, 1]])
    with pytest.raises(ArgumentError, match="pad_across_processes"):
        ops.gather(torch.ones(2, 2 + rank))
    with state.split_between_processes(list(range(5))) as mine:
        assert mine == ([0, 1, 2] if rank == 0 else [3, 4])
    with state.split_between_processes(torch.arange(5), apply_padding=True) as padded_share:
        assert padded_share.tolist() == ([0, 1, 2] if rank == 0 else [3, 4, 4])
    accelerator = Accelerator(cpu=True)
    loader = accelerator.prepare(DataLoader(list(range(11)), batch_size=2))
    seen = [accelerator.gather_for_metrics(batch) for batch in loader]
    assert torch.cat(seen).tolist() == list(range(11))
    print("done")


def test_two_processes_exchange():
    assert launching.run(2, "tests.accelerate.test_processes:exchange") == ["done\n"] * 2


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 8, 11, 16, 21])
def test_shares_of_batches_beside_the_reference(rows, drop_last, split, even):
    from accelerate.data_loader import BatchSamplerShard

    sampler = torch.utils.data.BatchSampler(range(rows), 4, drop_last)
    for rank in range(2):
        expected = BatchSamplerShard(sampler, 2, rank, split_batches=split, even_batches=even)
        got = BatchShare(sampler, 2, rank, split=split, even=even)
        assert list(got) == list(expected)
        if even or drop_last:
            assert len(got) == len(list(got))


@pytest.mark.parametrize("rows", [1, 8, 11, 16])
def test_shares_of_streams_beside_the_reference(rows):
    from accelerate.data_loader import IterableDatasetShard

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from range(rows)

    for rank in range(2):
        expected = IterableDatasetShard(Stream(), 4, num_processes=2, process_index=rank)
        assert list(RowShare(Stream(), 4, 2, rank)) == list(expected)


def test_a_loop_of_ones_own_accumulates(classifier):
    """Four batches of two, accumulated by fours, are one of eight."""

    def train(size, steps):
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=steps)
        model = little.load_classifier(classifier)
        data = [{name: torch.tensor(value) for name, value in row.items()} for row in little.rows(24)]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        model, optimizer, loader, schedule = accelerator.prepare(
            model, optimizer, DataLoader(data, batch_size=size), schedule
        )
        for batch in loader:
            with accelerator.accumulate(model):
                accelerator.backward(model(**batch).loss)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)
        return accelerator.unwrap_model(model)

    one, four = train(8, 1), train(2, 4)
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(four.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_smaller_batches_until_they_fit():
    tried = []

    @find_executable_batch_size(starting_batch_size=64)
    def work(size, extra):
        tried.append(size)
        if size > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size + extra

    assert work(1) == 9
    assert tried == [64, 32, 16, 8]

    @find_executable_batch_size(starting_batch_size=2)
    def never(size):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="not even 1"):
        never()

    @find_executable_batch_size
    def wrong(size):
        raise ValueError("another error")

    with pytest.raises(ValueError, match="another error"):
        wrong()


def test_skipped_batches():
    assert [batch.tolist() for batch in skip_first_batches(DataLoader(range(6), batch_size=2), 2)] == [[4, 5]]


def test_options_that_can_not_be():
    with pytest.raises(ArgumentError, match="'no', 'bf16' or 'fp16'"):
        Accelerator(mixed_precision="fp8")
    with pytest.raises(ArgumentError, match="at least 1"):
        Accelerator(gradient_accumulation_steps=0)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return little.classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return little.writer(tmp_path_factory.mktemp("writer"))


def train(folder, output, size, accumulation, resume=""):
    """Runs in each process: a run of the Trainer over rows of unequal length; rank 0 tells how it went."""
    from tests.training.test_trainer import Padded, tokens

    run = little.trainer(
        little.load_writer(folder),
        output,
        tokens(26),
        data_collator=Padded(),
        eval_dataset=tokens(7),
        per_device_train_batch_size=int(size),
        gradient_accumulation_steps=int(accumulation),
        per_device_eval_batch_size=2,
        num_train_epochs=2,
        learning_rate=1e-3,
        logging_steps=1,
        optim="sgd",
        save_strategy="steps",
        save_steps=4,
    )
    run.train(resume_from_checkpoint=resume or None)
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    metrics = run.evaluate()
    predictions = run.predict(tokens(7)).predictions
    if run.is_world_process_zero():
        run.save_model(f"{output}/end")
        print(json.dumps({"losses": losses, "eval": metrics["eval_loss"], "sum": float(predictions.sum())}))
    else:
        run.save_model(f"{output}/end")


def test_two_processes_train_as_one(writer, tmp_path):
    """The same rows, tokens and weights: whole batches, halves on two processes, and those in two parts."""
    results = {}
    for name, (count, size, accumulation) in {"one": (1, 8, 1), "two": (2, 4, 1), "two in parts": (2, 2, 2)}.items():
        target = "tests.accelerate.test_processes:train"
        out = launching.run(count, target, str(writer), str(tmp_path / name), str(size), str(accumulation))
        results[name] = json.loads(out[0].splitlines()[-1])
    for name, result in results.items():
        assert result["losses"] == pytest.approx(results["one"]["losses"], rel=1e-5), name
        assert result["eval"] == pytest.approx(results["one"]["eval"], rel=1e-5), name
        assert result["sum"] == pytest.approx(results["one"]["sum"], rel=1e-3), name
    one = little.load_writer(tmp_path / "one" / "end").state_dict()
    two = little.load_writer(tmp_path / "two" / "end").state_dict()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
