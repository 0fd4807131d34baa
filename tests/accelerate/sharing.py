"""What runs in each of two processes that share the texts of one model; each check ends with one process beside it."""

import copy
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.utils.data import DataLoader

from enfold.accelerate import Accelerator, ParallelismConfig, PartialState
from enfold.accelerate.context_parallel import context_parallel
from enfold.base.errors import ArgumentError
from tests.accelerate.splitting import alone, made, near
from tests.models.rows import ONE_EACH

# Grouped heads, windows, slopes, norms and softcaps, a latent, experts, sinks, learned positions.
SHARED = ("Llama", "Mistral", "Bloom", "Gemma2", "Gemma3", "DeepseekV3", "Mixtral", "GptOss", "GPT2", "OPT")


def texts():
    """Losses and gradients of padded texts, of packed ones, and of one text."""
    PartialState(cpu=True)
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("cp",))
    torch.manual_seed(1)
    ids, mask = torch.randint(5, 40, (3, 13)), torch.ones(3, 13, dtype=torch.long)
    mask[1, 6:] = 0
    mask[2, :9] = 0
    packed = {"input_ids": ids[:1], "sequence_ids": torch.tensor([[0] * 6 + [1] * 7])}
    batches = [{"input_ids": ids, "attention_mask": mask}, {"input_ids": ids[:1]}, packed]
    for row in (row for row in ONE_EACH if row.head.startswith(SHARED) and row.task == "causal-lm"):
        whole = made(row)
        parts = copy.deepcopy(whole)
        context_parallel(parts, mesh)
        for given in batches:
            labels = given["input_ids"]
            with torch.no_grad():
                near(parts(**given).logits, whole(**given, use_cache=False).logits)
            losses = [model(**given, labels=labels, use_cache=False).loss for model in (parts, whole)]
            for loss in losses:
                loss.backward()
            near(losses[0].detach(), losses[1].detach())
        for name, weight in parts.named_parameters():
            wanted = whole.get_parameter(name).grad
            if wanted is not None:
                assert weight.grad is not None
                distributed.all_reduce(weight.grad)
                near(weight.grad / 2, wanted, 1e-3)
    loops()
    print("done")


def loop(config: ParallelismConfig | None, row: Any) -> tuple[list[float], Any]:
    accelerator = Accelerator(cpu=True, parallelism_config=config)
    data: Any = torch.randint(5, 40, (6, 9), generator=torch.Generator().manual_seed(2))
    model = made(row)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-3)
    model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(data, batch_size=2))
    losses = []
    for batch in loader:
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(accelerator.reduce(loss.detach(), "mean")))
    return losses, accelerator.unwrap_model(model)


def loops():
    """A loop of one's own, in training mode; what can't be shared is refused."""
    row = next(row for row in ONE_EACH if row.head == "LlamaForCausalLM")
    losses, model = loop(ParallelismConfig(cp_size=2), row)
    wanted, whole = alone(loop, None, row)
    torch.testing.assert_close(losses, wanted, rtol=1e-4, atol=1e-5)
    for name, weight in model.named_parameters():
        near(weight.detach(), whole.get_parameter(name).detach(), 1e-3)
    ids = torch.randint(5, 40, (2, 9))
    assert model.generate(ids, max_new_tokens=5).tolist() == whole.generate(ids, max_new_tokens=5).tolist()
    with pytest.raises(ArgumentError, match="output_attentions"):
        model(ids, output_attentions=True)
    with pytest.raises(ArgumentError, match="too short"):
        model(ids[:1, :1])
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("cp",))
    for head in ("BertForMaskedLM", "T5ForConditionalGeneration", "MambaForCausalLM"):
        with pytest.raises(ArgumentError, match="causal models"):
            context_parallel(made(next(row for row in ONE_EACH if row.head == head)), mesh)
