"""What two processes do with models in parts; one process does the same with whole ones."""

import json
import os
from pathlib import Path
from typing import Any

import torch

import enfold
from enfold.accelerate import (
    Accelerator,
    AcceleratorState,
    FullyShardedDataParallelPlugin,
    ParallelismConfig,
    operations,
)
from enfold.models import losses
from enfold.training.optimizers import Adafactor, Lion, Muon

LLAMA = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": 2,
}
BERT = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
T5 = {
    "vocab_size": 61,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 2,
    "dropout_rate": 0.0,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}


def llama(**options: Any) -> Any:
    return enfold.LlamaForCausalLM(enfold.LlamaConfig(**LLAMA, **{"tie_word_embeddings": False, **options}))


def tied() -> Any:
    """Tied embeddings, and activations that are computed again."""
    model = llama(tie_word_embeddings=True)
    model.gradient_checkpointing_enable()
    return model


MODELS = {
    "llama": llama,
    "bert": lambda: enfold.BertForMaskedLM(enfold.BertConfig(**BERT)),
    "t5": lambda: enfold.T5ForConditionalGeneration(enfold.T5Config(**T5)),
    "tied": tied,
}
CAUSAL = ("llama", "tied")
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, fused=True),
    "adafactor": lambda p: Adafactor(p, lr=1e-3, relative_step=False),
    "lion": lambda p: Lion(p, lr=1e-3),
    "muon": lambda p: Muon([{"params": [q for q in p if q.shape == (56, 32)], "matrices": True}], lr=1e-3),
}
# Model, optimiser, batches of a step.
RUNS = [
    ("llama", "sgd", 2),
    ("bert", "sgd", 1),
    ("t5", "sgd", 1),
    ("tied", "sgd", 2),
    ("llama", "adamw", 1),
    ("llama", "adafactor", 1),
    ("llama", "lion", 1),
    ("llama", "muon", 1),
]


def rows(step: int) -> dict[str, torch.Tensor]:
    """Eight padded rows of unequal length; the same in every process."""
    draw = torch.Generator().manual_seed(step)
    ids = torch.randint(4, 61, (8, 12), generator=draw)
    mask = torch.arange(12)[None] < torch.randint(5, 13, (8, 1), generator=draw)
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": ids.masked_fill(~mask, -100)}


def share(whole: dict[str, torch.Tensor], rank: int, count: int) -> dict[str, torch.Tensor]:
    return {name: tensor.chunk(count)[rank] for name, tensor in whole.items()}


class Loop:
    """A loop of one's own; a step's loss is the mean over the tokens of all processes."""

    def __init__(self, name: str, optimizer: str = "sgd", accumulation: int = 1, *, model: Any = None, **options: Any):
        self.accelerator = Accelerator(cpu=True, **options)
        self.causal, self.accumulation = name in CAUSAL, accumulation
        torch.manual_seed(9 * self.accelerator.process_index)  # the first process's weights become everyone's
        made = (MODELS[name]() if model is None else model).train()
        self.optimizer = OPTIMIZERS[optimizer](list(made.parameters()))  # before the model is cut
        self.model, self.optimizer = self.accelerator.prepare(made, self.optimizer)
        self.losses: list[float] = []
        self.norms: list[float] = []

    def run(self, first: int, last: int) -> "Loop":
        accelerator = self.accelerator
        for step in range(first, last):
            whole = rows(step)
            total, shown = self.items(whole), 0.0
            for number in range(self.accumulation):
                part = share(whole, number, self.accumulation)
                part = share(part, accelerator.process_index, accelerator.num_processes)
                accelerator.sync_gradients = number == self.accumulation - 1
                wait = torch.enable_grad() if accelerator.sync_gradients else accelerator.no_sync(self.model)
                with wait, accelerator.autocast():
                    loss = self.model(**part).loss * (self.items(part) / total)
                    accelerator.backward(loss * accelerator.num_processes)
                shown += float(accelerator.reduce(loss.detach(), "sum"))
            self.norms.append(float(accelerator.clip_grad_norm_(self.model.parameters(), 0.5)))
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.losses.append(shown)
        return self

    def items(self, inputs: dict[str, torch.Tensor]) -> int:
        labels = inputs["labels"][:, 1:] if self.causal else inputs["labels"]
        return int((labels != -100).sum())

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.accelerator.get_state_dict(self.model).items()}


def plugin(**options: Any) -> dict[str, Any]:
    return {"fsdp_plugin": FullyShardedDataParallelPlugin(**options)}


def job(folder: str) -> None:
    """Runs in each of two processes."""
    place = Path(folder)
    losses.CHUNK_ENTRIES = 61 * 4  # heads in parts meet losses in chunks
    results: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    for kind in ("fsdp", "ddp"):
        for name, optimizer, accumulation in RUNS if kind == "fsdp" else RUNS[:3]:
            options = plugin(reshard_after_forward=optimizer != "adamw") if kind == "fsdp" else {}
            loop = Loop(name, optimizer, accumulation, **options).run(0, 3)
            key = f"{kind} {name} {optimizer}"
            results[key], weights[key] = (loop.losses, loop.norms), loop.weights()
    goes_on(place, results)
    from_one(place, weights)
    scales()
    results["generated"] = reads_once(place)
    if os.environ["RANK"] == "0":
        torch.save(weights, place / "weights.pt")
        print(json.dumps(results))


def goes_on(place: Path, results: dict[str, Any]) -> None:
    """Saved and loaded by two processes, a run ends with the same bits."""
    for form in ("SHARDED_STATE_DICT", "FULL_STATE_DICT"):
        loop = Loop("tied", "adamw", **plugin(state_dict_type=form)).run(0, 2)
        loop.accelerator.save_state(place / form)
        end = loop.run(2, 4)
        again = Loop("tied", "adamw", **plugin(state_dict_type=form))
        again.accelerator.load_state(place / form)
        again.run(2, 4)
        assert again.losses == end.losses[2:]
        parts, others = end.model.parameters(), again.model.parameters()
        assert all(torch.equal(p.to_local(), q.to_local()) for p, q in zip(parts, others, strict=True))
        results[form] = end.losses
    plain = Loop("tied", "adamw")  # repeated on both processes, from parts
    plain.accelerator.load_state(place / "SHARDED_STATE_DICT")
    results["to ddp"] = plain.run(2, 4).losses


def from_one(place: Path, weights: dict[str, Any]) -> None:
    """What one process saved goes on in two."""
    loop = Loop("tied", "adamw", parallelism_config=ParallelismConfig(dp_shard_size=2))
    assert loop.accelerator.distributed_type == "FSDP"
    assert AcceleratorState().is_fsdp2
    loop.accelerator.load_state(place / "one")
    weights["from one"] = loop.run(2, 4).weights()


def scales() -> None:
    """A gradient that isn't finite in one process alone leaves the step out on both."""
    loop = Loop("llama", "sgd", mixed_precision="fp16", **plugin())
    before = loop.weights()
    scale = loop.accelerator.scaler.get_scale()
    with loop.accelerator.autocast():
        loss = loop.model(**share(rows(0), loop.accelerator.process_index, 2)).loss
    loop.accelerator.backward(loss * (float("inf") if loop.accelerator.process_index else 1.0))
    loop.optimizer.step()
    assert loop.optimizer.step_was_skipped
    assert loop.accelerator.scaler.get_scale() == scale / 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in loop.weights().items())
    loop.optimizer.zero_grad()
    loop.run(0, 1)
    assert not loop.optimizer.step_was_skipped
    rounded = Loop("llama", "sgd", mixed_precision="bf16", **plugin()).run(0, 1)
    assert abs(loop.losses[0] - 4.11) < 0.1
    assert abs(rounded.losses[0] - loop.losses[0]) < 2e-2


def reads_once(place: Path) -> list[list[int]]:
    """The first process reads the weights, and the other gets its part; then both write texts of their own length."""
    options = plugin(cpu_ram_efficient_loading=True)
    model = enfold.LlamaForCausalLM.from_pretrained(place / "llama")
    assert model.lm_head.weight.is_meta == (os.environ["RANK"] == "1")
    accelerator = Accelerator(cpu=True, **options)
    model = accelerator.prepare(model).eval()
    with accelerator.gathered(model):
        count = 8 - 3 * accelerator.process_index
        ids = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=count, min_new_tokens=count, do_sample=False)
    assert all(parameter.to_local().numel() < parameter.numel() for parameter in model.parameters())
    accelerator.save_model(model, place / "llama again")
    del os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"]
    return operations.gather_object(ids.tolist())
