"""What runs in each of two processes that hold parts of one model; each check ends with the whole model beside it."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader

from enfold import Trainer, TrainingArguments
from enfold.accelerate import Accelerator, ParallelismConfig, PartialState
from enfold.accelerate.tensor_parallel import splitting_of, tensor_parallel
from enfold.base.errors import ArgumentError
from enfold.models.llama import LlamaForSequenceClassification
from enfold.models.registry import class_by_name
from tests.models.rows import ONE_EACH, ROWS

TRAINED = ("LlamaForCausalLM", "BertForMaskedLM", "T5ForConditionalGeneration")
LOADED = (*TRAINED, "GPT2LMHeadModel", "MixtralForCausalLM", "BloomForCausalLM")
ANSWERS = ("logits", "last_hidden_state", "prediction_logits")
# Where ways part beside the usual: keys of one head, a source, slopes.
MORE = ("multi_query", "crossed", "alibi")


def made(row) -> Any:
    torch.manual_seed(sum(map(ord, str(row))))
    cls = class_by_name(row.head)
    model = cls(cls.config_class(**row.entries)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.2) if parameter.ndim > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def asked(model, row):
    ids = torch.randint(5, 40, (2, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    if row.seq2seq:
        given["decoder_input_ids"] = ids[:, :5]
    if row.task.startswith("crossed"):
        given["encoder_hidden_states"] = torch.randn(2, 5, model.config.hidden_size)
    return given


def answers(output):
    return [getattr(output, name) for name in ANSWERS if getattr(output, name, None) is not None]


def near(got: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    scale = float(wanted.abs().max()) + 1e-2
    torch.testing.assert_close(got, wanted, rtol=0.0, atol=tolerance * scale)


def split_copy(whole: Any, mesh: Any) -> Any:
    parts = copy.deepcopy(whole)
    tensor_parallel(parts, mesh)
    return parts


def families():
    """Every family's answers, with and without gradients, and the gradient of every weight."""
    PartialState(cpu=True)
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("tp",))
    for row in [*ONE_EACH, *(r for r in ROWS if r.variant in MORE and r not in ONE_EACH and "lm" in r.task)]:
        whole = made(row)
        parts, given = split_copy(whole, mesh), asked(whole, row)
        split = splitting_of(parts)
        assert split is not None, row
        with torch.no_grad():
            for got, wanted in zip(answers(parts(**given)), answers(whole(**given)), strict=True):
                near(got.detach(), wanted.detach())
        found = [answers(model(**given)) for model in (parts, whole)]
        for mine, theirs in zip(*found, strict=True):
            near(mine.detach(), theirs.detach())
        for every in found:
            sum((x.float().square().mean() for x in every), torch.zeros(())).backward()
        weights: dict[str, Any] = dict(parts.named_parameters())
        assert all(isinstance(weight, DTensor) for weight in weights.values())
        for name, weight in whole.named_parameters():
            gradient = weights[name].grad
            if weight.grad is None or gradient is None:
                assert not any(g is not None and g.abs().max() for g in (weight.grad, gradient)), (row, name)
            else:
                near(split.whole(name, gradient), weight.grad, 1e-3)
        kept = sum(weight.to_local().numel() for weight in weights.values())
        even = bool(split.ops)
        assert kept < (0.7 if even else 1.0) * sum(weight.numel() for weight in whole.parameters()), row
    print("done")


def training():
    """Steps of training, generation, attention weights and dropout."""
    PartialState(cpu=True)
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("tp",))
    for row in (row for row in ONE_EACH if row.head in TRAINED):
        whole = made(row)
        parts = split_copy(whole, mesh)
        given, split = asked(whole, row), splitting_of(parts)
        assert split is not None
        labels = {"labels": given["input_ids"][:, :5] if row.seq2seq else given["input_ids"]}
        losses = []
        for model in (parts, whole):
            model.eval()  # without dropout
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-3)
            for step in range(4):
                loss = model(**given, **labels, output_logits=step % 2 == 0).loss
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(float(loss.detach()))
                losses.append(float(norm.full_tensor() if isinstance(norm, DTensor) else norm))
        half = len(losses) // 2
        torch.testing.assert_close(losses[:half], losses[half:], rtol=1e-4, atol=1e-5)
        for name, weight in parts.named_parameters():
            near(split.whole(name, weight.detach()), whole.get_parameter(name).detach(), 1e-3)
        seen = parts(**given, output_attentions=True), whole(**given, output_attentions=True)
        name = "cross_attentions" if row.seq2seq else "attentions"
        for got, wanted in zip(*(output[name] for output in seen), strict=True):
            near(got.detach(), wanted.detach())
        if hasattr(whole, "generate"):
            options = {"max_new_tokens": 8, "num_beams": 2}
            prompt = {name: given[name] for name in ("input_ids", "attention_mask")}
            assert parts.generate(**prompt, **options).tolist() == whole.generate(**prompt, **options).tolist()
            drawn = parts.generate(**prompt, max_new_tokens=8, do_sample=True)
            first = drawn.clone()
            distributed.broadcast(first, 0)
            assert drawn.tolist() == first.tolist()
    row = next(row for row in ONE_EACH if row.head == "BertForMaskedLM")
    model = split_copy(made(row), mesh).train()
    op, inner = model.base.stack.layers[0].mlp.op, []
    op.dropout = 0.5
    op.down.register_forward_pre_hook(lambda _, given: inner.append(given[0]))
    op.part.plan = replace(op.part.plan, draws=True)
    logits = model(**asked(model, row)).logits.detach()
    alike = logits.clone()
    distributed.broadcast(alike, 0)
    assert torch.equal(logits, alike)  # what all hold is dropped alike
    dropped = (inner[0] == 0).float()
    both = [torch.empty_like(dropped) for _ in range(2)]
    distributed.all_gather(both, dropped)
    assert 0.3 < dropped.mean() < 0.7
    assert not torch.equal(*both)  # what each holds for itself is not
    print("done")


def loading(folder: str):
    """From files to parts and back: each reads its own, one writes them all."""
    PartialState(cpu=True)
    for row in (row for row in ONE_EACH if row.head in LOADED):
        source, target = f"{folder}/{row.head}", f"{folder}/{row.head}-again"
        whole: Any = made(row)
        if distributed.get_rank() == 0:
            whole.save_pretrained(source)
        distributed.barrier()
        parts: Any = type(whole).from_pretrained(source, tp_plan="auto")
        assert splitting_of(parts) is not None
        given = asked(whole, row)
        with torch.no_grad():
            near(parts(**given).logits, whole(**given).logits)
        parts.save_pretrained(target)
        files = [Path(name, "model.safetensors").read_bytes() for name in (source, target)]
        assert files[0] == files[1], row
    torch.manual_seed(distributed.get_rank())
    mesh = init_device_mesh("cpu", (1, 2), mesh_dim_names=("dp", "tp"))
    classifier: Any = LlamaForSequenceClassification.from_pretrained(
        f"{folder}/LlamaForCausalLM", tp_plan="auto", tp_size=2, device_mesh=mesh, num_labels=4
    )
    drawn = classifier.score.weight.detach()
    first = drawn.clone()
    distributed.broadcast(first, 0)
    assert torch.equal(drawn, first)
    wrong: Any
    for wrong in ({"tp_plan": "other"}, {"tp_size": 2}, {"tp_plan": "auto", "tp_size": 3}):
        with pytest.raises(ArgumentError, match="tp_"):
            LlamaForSequenceClassification.from_pretrained(f"{folder}/LlamaForCausalLM", **wrong)
    print("done")


def loop(config: ParallelismConfig | None, data: Any, row: Any, steps: int = 1) -> tuple[Any, list[float], Any]:
    """A loop of one's own: the model, the mean loss of each step, and the rows that were seen."""
    accelerator = Accelerator(cpu=True, parallelism_config=config, gradient_accumulation_steps=steps)
    model = made(row)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = DataLoader(data, batch_size=4 // accelerator.data_processes)
    optimizer, model, loader = accelerator.prepare(optimizer, model, loader)
    losses, seen = [], []
    for batch in loader:
        with accelerator.accumulate(model):
            loss = model(input_ids=batch, labels=batch).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(accelerator.reduce(loss.detach(), "mean")))
        seen.append(accelerator.gather_for_metrics(batch))
    return accelerator.unwrap_model(model), losses, torch.cat(seen)


def composed(folder: str):
    """Four processes: two copies of a model that two each hold, as one process."""
    torch.manual_seed(5)
    data = torch.randint(5, 40, (22, 9))
    row = next(row for row in ONE_EACH if row.head == "LlamaForCausalLM")
    for steps in (1, 2):
        model, losses, seen = loop(ParallelismConfig(tp_size=2, dp_replicate_size=2), data, row, steps)
        assert seen.tolist() == data.tolist()
        PartialState().share_data(0, 1)
        whole, wanted, _ = alone(loop, None, data, row, steps)
        torch.testing.assert_close(losses[:-1], wanted[:-1], rtol=1e-4, atol=1e-5)  # the last repeats rows
        split = splitting_of(model)
        assert split is not None
        for name, weight in model.named_parameters():
            near(split.whole(name, weight.detach())[:1], whole.get_parameter(name).detach()[:1], 0.05)
    row, data = next(row for row in ONE_EACH if row.head == "Phi3ForCausalLM"), data[:12]
    whole, wanted, _ = alone(loop, None, data, row)
    for config in (ParallelismConfig(dp_shard_size=2, cp_size=2), ParallelismConfig(dp_shard_size=2, tp_size=2)):
        model, losses, _ = loop(config, data, row)
        torch.testing.assert_close(losses, wanted, rtol=1e-4, atol=1e-5)
        state = Accelerator(cpu=True, parallelism_config=config).get_state_dict(model)
        for name, weight in whole.named_parameters():
            assert distributed.get_rank() > 0 or name in state
            near(state.get(name, weight.detach()), weight.detach(), 1e-3)
    accelerator = Accelerator(cpu=True, parallelism_config=ParallelismConfig(tp_size=2, dp_replicate_size=2))
    model = made(next(row for row in ONE_EACH if row.head == "Phi3ForCausalLM"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model, optimizer = accelerator.prepare(model, optimizer)
    steps = []
    for step in range(3):
        if step == 1:
            accelerator.save_state(f"{folder}/state")
        if step == 2:
            accelerator.load_state(f"{folder}/state")
        accelerator.backward(model(input_ids=data[:2], labels=data[:2]).loss)
        optimizer.step()
        optimizer.zero_grad()
        steps.append([weight.to_local().clone() for weight in model.parameters()])
    assert all(map(torch.equal, steps[1], steps[2]))
    assert not all(map(torch.equal, steps[0], steps[1]))
    with pytest.raises(ArgumentError, match="there are 4"):
        Accelerator(cpu=True, parallelism_config=ParallelismConfig(tp_size=2))
    print("done")


def alone(function: Any, *args: Any) -> Any:
    """A function as in a process of its own."""
    state, held = PartialState(), dict(PartialState._shared)
    state.num_processes, state.process_index = 1, 0
    state.share_data(0, 1)
    try:
        return function(*args)
    finally:
        PartialState._shared.update(held)


def trainer(folder: str):
    """The Trainer on two processes that hold one model, beside itself alone; and on with its checkpoint on either."""
    rows = [
        {"input_ids": ids, "labels": ids}
        for ids in torch.randint(5, 40, (20, 9), generator=torch.Generator().manual_seed(1)).tolist()
    ]
    row = next(row for row in ONE_EACH if row.head == "Phi3ForCausalLM")

    def run(resume: str | None = None, **options: Any) -> tuple[Any, Any, Any]:
        args = TrainingArguments(
            f"{folder}/run",
            max_steps=6,
            per_device_train_batch_size=4,
            learning_rate=1e-3,
            logging_steps=1,
            report_to="none",
            use_cpu=True,
            **{"save_strategy": "no", **options},
        )
        worker = Trainer(made(row), args, train_dataset=rows, eval_dataset=rows[:5])
        worker.train(resume_from_checkpoint=resume)
        return worker.model, [log["loss"] for log in worker.state.log_history if "loss" in log], worker.evaluate()

    model, losses, scores = run(parallelism_config="tp_size=2", save_strategy="steps", save_steps=3)
    whole, wanted, expected = alone(run)
    torch.testing.assert_close(losses, wanted, rtol=1e-4, atol=1e-5)
    assert scores["eval_loss"] == pytest.approx(expected["eval_loss"], rel=1e-4)
    split = splitting_of(model)
    assert split is not None
    together = run(f"{folder}/run/checkpoint-3", parallelism_config={"tp_size": 2})[0]
    apart = alone(run, f"{folder}/run/checkpoint-3")[0]
    for name, weight in model.named_parameters():
        near(split.whole(name, weight.detach()), whole.get_parameter(name).detach(), 1e-2)
        assert torch.equal(dict(together.named_parameters())[name].to_local(), weight.to_local())
        near(apart.get_parameter(name).detach(), split.whole(name, weight.detach()), 1e-4)
    distributed.barrier()
    saved = type(whole).from_pretrained(f"{folder}/run/checkpoint-6")
    for name, weight in model.named_parameters():
        assert torch.equal(saved.get_parameter(name), split.whole(name, weight.detach()))
    print("done")
