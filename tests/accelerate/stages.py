"""What runs in each of two processes that hold layers of one model; each check ends with the whole model beside it."""

import copy
from typing import Any

import pytest
import torch
from torch import distributed

from enfold.accelerate import PartialState, PipelineParallel
from enfold.base.errors import ArgumentError
from enfold.models.registry import class_by_name
from tests.accelerate.splitting import made, near
from tests.models.rows import ONE_EACH

TRIED = (
    ("LlamaForCausalLM", "1F1B"),
    ("GPT2LMHeadModel", "GPipe"),
    ("BertForMaskedLM", "Interleaved1F1B"),
    ("BloomForCausalLM", "Interleaved1F1B"),
)


def deep(head: str) -> Any:
    row = next(row for row in ONE_EACH if row.head == head)
    config = class_by_name(head).config_class(**row.entries)
    names = {"num_hidden_layers": 4, "n_layer": 4}
    names |= {name: 0.0 for name in config.entries | config.defaults if "drop" in name}
    entries = {**row.entries, **{name: value for name, value in names.items() if config.get(name) is not None}}
    return made(type(row)(row.family, row.head, row.task, row.variant, entries))


def stages():
    PartialState(cpu=True)
    rank = distributed.get_rank()
    torch.manual_seed(3)
    ids, mask = torch.randint(5, 40, (4, 9)), torch.ones(4, 9, dtype=torch.long)
    mask[1, 6:] = 0
    mask[3, 2:] = 0
    labels = ids.masked_fill(torch.rand(ids.shape) < 0.3, -100).masked_fill(mask == 0, -100)
    given = {"input_ids": ids, "attention_mask": mask}
    for head, schedule in TRIED:
        whole = deep(head)
        pipeline = PipelineParallel(copy.deepcopy(whole), schedule=schedule, microbatches=2)
        logits = pipeline(**given)
        assert (logits is None) == (rank == 0)
        if logits is not None:
            near(logits, whole(**given, use_cache=False).logits.detach())
        results = []
        for learner in (pipeline, whole):
            optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
            for _ in range(3):
                if learner is pipeline:
                    loss = pipeline.step(**given, labels=labels)
                    norm = pipeline.clip_grad_norm_(1.0)
                else:
                    loss = whole(**given, labels=labels, use_cache=False).loss
                    loss.backward()
                    norm = torch.nn.utils.clip_grad_norm_(whole.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                results.append([float(loss.detach()), float(norm)])
        torch.testing.assert_close(results[:3], results[3:], rtol=1e-4, atol=1e-5)
        held = dict(pipeline.named_parameters())
        assert 0 < len(held) < len(list(whole.parameters()))
        for name, weight in held.items():
            near(weight.detach(), whole.get_parameter(name).detach(), 1e-3)
        names = {name for name, _ in whole.named_parameters(remove_duplicate=False)}
        assert pipeline.whole_state().keys() == (names if rank == 0 else set())
    with pytest.raises(ArgumentError, match="GPipe, 1F1B"):
        PipelineParallel(whole, schedule="other")
    with pytest.raises(ArgumentError, match="one stack"):
        PipelineParallel(made(next(row for row in ONE_EACH if row.head == "T5ForConditionalGeneration")))
    print("done")
