"""Pipeline parallelism: the layers of a model on several processes, which pass states on in pieces of a batch.

    process 0   embeddings, layers 0…3      piece 0  piece 1  piece 2 …
    process 1   layers 4…7, norm, head               piece 0  piece 1 …

Under it are the schedules of torch.distributed.pipelining. A stage runs the model's own forward with a part of its
layers; what other stages need has no memory here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import get_schedule_class

from enfold.accelerate.collectives import same_generators
from enfold.accelerate.processes import PartialState
from enfold.base.errors import ArgumentError
from enfold.nn.modules import Stack

# Schedules by name, and whether each process has several stages.
SCHEDULES = {"GPipe": False, "1F1B": False, "Interleaved1F1B": True, "LoopedBFS": True}
IGNORED = -100


class Stage(nn.Module):
    """A model's forward over some of its layers: ids [b, T] or states [b, T, D] → states, or at the end the loss [1].

    Args:
        span: the depths that run here.
        first, last: whether it begins with the embeddings, ends with the head.
    """

    def __init__(self, model: nn.Module, stack: Stack, span: range, *, first: bool, last: bool):
        super().__init__()
        self.model, self.stack, self.span, self.first, self.last = model, stack, span, first, last
        self.outputs: list[Any] = []

    def forward(self, x: Tensor, **inputs: Any) -> Tensor:
        weights, labels = inputs.pop("weights", None), inputs.pop("labels", None)
        given: dict[str, Any] = {"input_ids" if self.first else "inputs_embeds": x, **inputs}
        with self._alone():
            if not self.last:
                base: Any = getattr(self.model, "base", self.model)
                return base.run(**given, use_cache=False).unpack()
            if labels is None:
                self.outputs.append(self.model(**given, use_cache=False).logits)
                return x.new_zeros(1, dtype=torch.float32)
            loss = self.model(**given, labels=labels, use_cache=False).loss
            assert weights is not None
            share = weights.sum()
            # A mean over nothing is no number.
            return (loss * share if bool(share > 0) else loss.nan_to_num() * 0.0).view(1)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Where the model is what this stage has of it."""
        embed: Any = self.stack.embed
        self.stack.span = self.span
        if not self.first:
            embed.forward = _received
        try:
            yield
        finally:
            self.stack.span = None
            embed.__dict__.pop("forward", None)


def _received(ids: Tensor | None, where: Any, *, vectors: Tensor | None = None, types: Tensor | None = None) -> Any:
    return vectors


class PipelineParallel:
    """A model of one stack whose layers lie on several processes; all of them make it, and call it alike.

    >>> pipeline = PipelineParallel(model, schedule="1F1B", microbatches=4)
    >>> optimizer = torch.optim.AdamW(pipeline.parameters(), lr=1e-4)
    >>> loss = pipeline.step(input_ids=ids, attention_mask=mask, labels=labels)
    >>> optimizer.step()

    Args:
        model: the same on all processes. The layers, embeddings and head of other stages are given up here.
        schedule: a name of `SCHEDULES`.
        microbatches: pieces of a batch, of equally many rows.
        stages: in all; by default one a process, or two where the schedule interleaves them.
        mesh: the processes, as a mesh of one dimension; default: all.

    Raises:
        ArgumentError: a schedule that isn't known, a model of another form, or fewer layers than stages.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        schedule: str = "1F1B",
        microbatches: int = 4,
        stages: int | None = None,
        mesh: DeviceMesh | None = None,
    ):
        named = {name.lower(): name for name in SCHEDULES}
        if schedule.lower() not in named:
            raise ArgumentError(f"schedule={schedule!r}; expected one of {', '.join(SCHEDULES)}")
        state = PartialState()
        self.group = None if mesh is None else mesh.get_group()
        self.rank = distributed.get_rank(self.group) if state.use_distributed else 0
        self.ranks = distributed.get_world_size(self.group) if state.use_distributed else 1
        if self.ranks == 1:
            raise ArgumentError("a pipeline has two processes at least: start as many with torchrun")
        self.schedule, self.microbatches, self.device = named[schedule.lower()], microbatches, state.device
        several = SCHEDULES[self.schedule]
        self.count = stages or (2 * self.ranks if several else self.ranks)
        if self.count % self.ranks or (not several and self.count != self.ranks):
            raise ArgumentError(f"stages={self.count}: {self.schedule} on {self.ranks} processes takes another number")
        self.model, self.stack = model, _only_stack(model)
        depths = len(self.stack.spec.depths)
        if self.stack.spec.schedule is not None or self.stack.spec.layer_drop:
            raise ArgumentError("layers that run at several depths, or are left out at random, can't be in a pipeline")
        if self.stack.relative is not None and next(self.stack.relative.parameters(), None) is not None:
            raise ArgumentError("relative biases that all layers share can't be in a pipeline")
        if depths < self.count:
            raise ArgumentError(f"{depths} layers can't be {self.count} stages")
        edges = [depths * edge // self.count for edge in range(self.count + 1)]
        self.spans = [range(a, b) for a, b in pairwise(edges)]
        self.mine = range(self.rank, self.count, self.ranks)
        last = self.count - 1
        self.last_rank = last % self.ranks
        self.stages = [
            Stage(model, self.stack, self.spans[number], first=number == 0, last=number == last) for number in self.mine
        ]
        # Weights of the embeddings that the head shares lie on two processes, whose gradients are summed.
        self.ends = None if self.group is None and self.ranks == 2 else self._group_of_ends()
        embed, shared = self._embeddings(), {id(p) for p in self._head()}
        self.shared = [p for p in embed if id(p) in shared]
        same_generators(distributed.group.WORLD if self.group is None else self.group)  # type: ignore[arg-type]
        self._give_up()
        self._built: dict[tuple[int, ...], Any] = {}

    def _group_of_ends(self) -> Any:
        members = distributed.get_process_group_ranks(self.group or distributed.group.WORLD)
        return distributed.new_group(sorted({members[0], members[self.last_rank]}))

    def _embeddings(self) -> list[nn.Parameter]:
        return list(self.stack.embed.parameters()) if self.stack.embed is not None else []

    def _head(self) -> list[nn.Parameter]:
        """Weights behind the layers."""
        prefix = next(name for name, module in self.model.named_modules() if module is self.stack)
        before = tuple(f"{prefix}.{part}.".lstrip(".") for part in ("embed", "layers"))
        every = self.model.named_parameters(remove_duplicate=False)
        return [parameter for name, parameter in every if not name.startswith(before)]

    @torch.no_grad()
    def _give_up(self) -> None:
        """Free what no stage of this process needs, and bring the rest to the device."""
        needed: set[int] = set()
        for number in self.mine:
            for depth in self.spans[number]:
                needed |= {id(p) for p in self.stack.layers[depth].parameters()}
        if 0 in self.mine:
            needed |= {id(p) for p in self._embeddings()}
        if self.rank == self.last_rank:
            needed |= {id(p) for p in self._head()}
        replaced: dict[int, nn.Parameter] = {}
        for module in self.model.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is not None and id(parameter) not in needed and not parameter.is_meta:
                    empty = replaced.setdefault(id(parameter), nn.Parameter(parameter.to("meta"), requires_grad=False))
                    module._parameters[name] = empty
                elif parameter is not None and not parameter.is_meta:
                    parameter.data = parameter.data.to(self.device)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer.to(self.device)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Weights that this process has."""
        return ((name, p) for name, p in self.model.named_parameters() if not p.is_meta)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The same without their names."""
        return (parameter for _, parameter in self.named_parameters())

    def step(self, input_ids: Tensor, labels: Tensor, **inputs: Tensor) -> Tensor:
        """Forward and backward of a batch: the mean loss over its items, on all processes.

        Args:
            input_ids: [B, T], B a multiple of the microbatches.
            labels: as the model takes them.
            inputs: `attention_mask` and other inputs [B, …] of the model.
        """
        items = self._items(labels, inputs)
        weights: Any = items / items.sum().clamp(min=1.0)
        self.model.train()
        losses = self._run(input_ids, {**inputs, "labels": labels, "weights": weights}, learning=True)
        loss = torch.stack(losses).sum() if losses else torch.zeros((), device=self.device)
        for parameter in self.shared if self.rank in (0, self.last_rank) else ():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad, group=self.ends)
        distributed.broadcast(loss, group_src=self.last_rank, group=self.group)
        return loss

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, **inputs: Tensor) -> Tensor | None:
        """The model's logits, on the last stage's process; None on the others."""
        self.model.eval()
        self._run(input_ids, inputs, learning=False)
        outputs = [output for stage in self.stages for output in stage.outputs]
        for stage in self.stages:
            stage.outputs.clear()
        return torch.cat(outputs) if outputs else None

    def clip_grad_norm_(self, max_norm: float) -> Tensor:
        """Scale the gradients of all stages down to a norm; the norm before."""
        held = [p.grad for p in self.parameters() if p.grad is not None]
        twice = {id(p) for p in self.shared} if self.rank == self.last_rank != 0 else set()
        once = [p.grad for p in self.parameters() if p.grad is not None and id(p) not in twice]
        squares = sum((g.float().square().sum() for g in once), torch.zeros((), device=self.device))
        distributed.all_reduce(squares, group=self.group)
        norm = squares.sqrt()
        for gradient in held:
            gradient.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def whole_state(self) -> dict[str, Tensor]:
        """The weights of all stages on the CPU of the first process; others get none. All processes call it."""
        every = self.model.named_parameters(remove_duplicate=False)
        mine = {name: p.detach().cpu() for name, p in every if not p.is_meta}
        parts: list[Any] | None = [None] * self.ranks if self.rank == 0 else None
        distributed.gather_object(mine, parts, group_dst=0, group=self.group)
        whole: dict[str, Tensor] = {}
        for part in parts or ():
            whole |= part
        return whole

    def _items(self, labels: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """[B] how many items each row's loss is a mean over."""
        targets: Any = getattr(self.model, "targets", None)
        if labels.ndim > 1 and targets is not None:
            labels = targets(labels, inputs.get("attention_mask"), inputs.get("sequence_ids"))
        if labels.ndim == 1:
            return torch.ones(len(labels), device=labels.device)
        return (labels != IGNORED).flatten(1).sum(1).float()

    def _run(self, ids: Tensor, inputs: dict[str, Any], *, learning: bool) -> list[Tensor]:
        if len(ids) % self.microbatches:
            raise ArgumentError(f"{len(ids)} rows can't be {self.microbatches} pieces of equally many")
        given = {name: value.to(self.device) for name, value in inputs.items() if value is not None}
        if wrong := [name for name, value in given.items() if len(value) != len(ids)]:
            raise ArgumentError(f"{', '.join(wrong)} must have a row for each of the batch, which has {len(ids)}")
        schedule = self._schedule_of(len(ids) // self.microbatches, ids.shape[1])
        losses: list[Tensor] = []
        first, last = 0 in self.mine, self.rank == self.last_rank
        args = (ids.to(self.device),) if first else ()
        run = schedule.step if learning else schedule.eval
        target = torch.zeros(len(ids), device=self.device) if last else None
        run(*args, target=target, losses=losses if last else None, **given)
        return losses if learning else []

    def _schedule_of(self, rows: int, columns: int) -> Any:
        """The schedule for pieces of a shape."""
        key = (rows, columns)
        if key not in self._built:
            dtype = next(p.dtype for p in self.parameters() if p.is_floating_point())
            states = torch.empty(rows, columns, self.stack.spec.width, dtype=dtype, device="meta", requires_grad=True)
            ids = torch.empty(rows, columns, dtype=torch.int64, device="meta")
            loss = torch.empty(1, device="meta", requires_grad=True)
            made = [
                PipelineStage(
                    stage,
                    number,
                    self.count,
                    self.device,
                    input_args=ids if stage.first else states,
                    output_args=loss if stage.last else states,
                    group=self.group,
                )
                for number, stage in zip(self.mine, self.stages, strict=True)
            ]
            kind: Any = get_schedule_class(self.schedule)
            stages = made if SCHEDULES[self.schedule] else made[0]
            self._built[key] = kind(stages, self.microbatches, loss_fn=_as_it_is, scale_grads=False)
        return self._built[key]


def _as_it_is(loss: Tensor, target: Tensor) -> Tensor:
    return loss.sum()


def _only_stack(model: nn.Module) -> Stack:
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    if len(stacks) != 1 or any(layer.cross is not None for layer in stacks[0].layers):  # type: ignore[union-attr]
        raise ArgumentError(f"a pipeline takes models of one stack, and {type(model).__name__} isn't one")
    return stacks[0]
