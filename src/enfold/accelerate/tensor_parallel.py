"""Tensor parallelism: the ops of a model split over the ranks of a group, as their plans say (`enfold.nn.split`).

Outside, weights are DTensors: an optimiser, clipping and checkpoints see them whole, FSDP cuts them further. Inside, an
op computes with this rank's part as a plain tensor, over its own heads and channels.

                       embeddings                    op                            head
    ids ──▶ own rows ── sum over ranks ──▶ own heads ── sum over ranks ──▶ own rows ── side by side ──▶ logits
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.nn import functional as F

from enfold.accelerate.collectives import drawing_apart, enter, join, leave, same_generators, shares
from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.base.logging import get_logger
from enfold.nn import kernels
from enfold.nn.linear import Embedding, Linear
from enfold.nn.modules import Attention, Context, RMSNorm, Stack, groups
from enfold.nn.split import Cut, Plan, View, blocks, give_views

logger = get_logger(__name__)
# An old parameter and the one in its place, by the old one's id; the old one is kept so that no other gets its id.
Replaced = dict[int, tuple[nn.Parameter, nn.Parameter]]


class Splitting:
    """Which part of each weight of a model a rank keeps, and how its modules compute with it.

    Args:
        model: whole, or on the meta device.
        rank, ranks: this one, of how many.
    """

    def __init__(self, model: nn.Module, rank: int, ranks: int):
        self.model, self.rank, self.ranks = model, rank, ranks
        self.ops: dict[str, tuple[nn.Module, Plan]] = {}
        self._visit("", model, set())
        self.tables, self.heads = self._vocabulary()
        self.cuts: dict[str, Cut] = {}
        for prefix, (op, plan) in self.ops.items():
            for name, cut in plan.columns.items():
                self._cut(op, prefix, name, cut)
            for name, cut in plan.rows.items():
                self.cuts[_under(prefix, f"{name}.weight")] = cut
        for prefix, module in {**self.tables, **self.heads}.items():
            for name, parameter in module.named_parameters(recurse=False):
                self.cuts[_under(prefix, name)] = blocks(parameter.shape[0])

    def _visit(self, prefix: str, module: nn.Module, seen: set[int]) -> None:
        """Find the ops that have a plan for so many ranks; others stay whole."""
        if id(module) in seen:
            return
        seen.add(id(module))
        asked: Any = getattr(module, "plan", None)
        if callable(asked):
            plan = asked(self.ranks)
            if isinstance(plan, Plan) and plan.fits(self.ranks) and not self._repeats_norm(plan):
                self.ops[prefix] = (module, plan)
            return
        for name, child in module.named_children():
            self._visit(_under(prefix, name), child, seen)
        relative = getattr(module, "relative", None)
        if isinstance(module, Stack) and relative is not None:
            # Heads and their biases are split together, or not at all.
            place = _under(prefix, "relative")
            with_bias = {_under(prefix, n): m for n, m in module.named_modules() if isinstance(m, Attention)}
            with_bias = {name: m for name, m in with_bias.items() if name.endswith(".attn.op")}
            if place not in self.ops or any(name not in self.ops for name in with_bias):
                for name in (place, *with_bias):
                    self.ops.pop(name, None)

    def _repeats_norm(self, plan: Plan) -> bool:
        return any(plan.columns[name].shared(self.ranks) for name in plan.over_all)

    def _cut(self, op: nn.Module, prefix: str, name: str, cut: Cut) -> None:
        owner, _, leaf = name.rpartition(".")
        found = getattr(op.get_submodule(owner), leaf)
        if isinstance(found, nn.Module):
            for weight, _ in found.named_parameters():
                self.cuts[_under(prefix, f"{name}.{weight}")] = cut
        else:
            self.cuts[_under(prefix, name)] = cut

    def _vocabulary(self) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
        """Tables of token embeddings and maps onto the vocabulary that nothing else shares its weights with."""
        names = {id(module): name for name, module in self.model.named_modules()}
        embeds = [module.embed for module in self.model.modules() if isinstance(module, Stack)]
        tables = [embed.tokens for embed in embeds if embed is not None and type(embed.tokens) is Embedding]
        asked: Any = getattr(self.model, "get_output_embeddings", lambda: None)()
        heads = [asked] if type(asked) is Linear else []
        chosen = {id(module) for module in (*tables, *heads)}
        users: dict[int, set[int]] = {}
        for module in self.model.modules():
            for parameter in module.parameters(recurse=False):
                users.setdefault(id(parameter), set()).add(id(module))
        if any(not users[id(module.weight)] <= chosen for module in (*tables, *heads)):
            return {}, {}
        if any(module.weight.shape[0] < self.ranks for module in (*tables, *heads)):
            return {}, {}
        return {names[id(m)]: m for m in tables}, {names[id(m)]: m for m in heads}

    def keeps(self, name: str) -> bool:
        """Whether ranks hold different parts of a weight."""
        cut = self.cuts.get(name)
        return cut is not None and (self._is_vocabulary(name) or not cut.shared(self.ranks))

    def _is_vocabulary(self, name: str) -> bool:
        owner = name.rpartition(".")[0]
        return owner in self.tables or owner in self.heads

    def take(self, name: str, whole: Tensor, *, taken: int = 0) -> Tensor:
        """This rank's part of a whole weight, or of a piece of it whose first `taken` dimensions are gone already."""
        if not self.keeps(name):
            return whole
        cut = self.cuts[name]
        dim = _dim(cut, whole.ndim + taken) - taken
        if self._is_vocabulary(name):
            sizes = shares(whole.shape[dim], self.ranks)
            return whole.narrow(dim, sum(sizes[: self.rank]), sizes[self.rank])
        return cut.take(whole, self.rank, self.ranks, dim=dim)

    def shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of this rank's part of a weight."""
        return tuple(self.take(name, torch.empty(shape, device="meta")).shape)

    def whole(self, name: str, weight: Tensor) -> Tensor:
        """A weight as one process has it; all ranks call it."""
        if not isinstance(weight, DTensor):
            return weight
        gathered = weight.full_tensor()
        if not self.keeps(name) or self._is_vocabulary(name):
            return gathered
        cut = self.cuts[name]
        return replace(cut, dim=_dim(cut, gathered.ndim)).ordered(gathered, self.ranks)

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes what others have a part of."""
        return distributed.get_rank() == 0

    def wait_for_everyone(self) -> None:
        """Return when every process has come here."""
        distributed.barrier()

    @torch.no_grad()
    def whole_state(self) -> dict[str, Tensor]:
        """Weights as one process has them, on the CPU of the main process; others get none. All call it."""
        found: dict[str, Tensor] = {}
        firsts: dict[int, Tensor] = {}  # of tied weights
        for name, weight in self.model.state_dict(keep_vars=True).items():
            if id(weight) not in firsts:
                whole = self.whole(name, weight.detach())
                firsts[id(weight)] = whole.cpu() if self.is_main_process else whole[:0] if whole.ndim else whole
            found[name] = firsts[id(weight)]
        return found if self.is_main_process else {}

    @torch.no_grad()
    def load_whole(self, name: str, whole: Tensor) -> None:
        """Take over this rank's part of a weight, or a buffer, as one process has it."""
        owner, _, leaf = name.rpartition(".")
        module = self.model.get_submodule(owner)
        held = module._parameters.get(leaf)
        held = module._buffers[leaf] if held is None else held
        assert held is not None
        if isinstance(held, DTensor) and held.device_mesh.ndim > 1:
            raise NotBuiltError("weights in parts (FSDP) beside tp_size can't be loaded in place: load the model anew")
        _here(held).copy_(self.take(name, whole))

    def laid_out(self, name: str, whole: Tensor) -> Tensor:
        """A weight as one process has it, as the ranks' parts lie behind each other."""
        if not self.keeps(name) or self._is_vocabulary(name):
            return whole
        cut = replace(self.cuts[name], dim=_dim(self.cuts[name], whole.ndim))
        return torch.cat([cut.take(whole, rank, self.ranks) for rank in range(self.ranks)], cut.dim)

    @torch.no_grad()
    def apply(self, mesh: DeviceMesh, *, local: dict[str, tuple[int, ...]] | None = None) -> Replaced:
        """Put DTensors in the place of the weights, and let the ops compute with their parts.

        Args:
            mesh: of one dimension.
            local: weights of which this rank's part alone is there, and their whole shapes.

        Returns:
            What has taken the place of each parameter, for optimisers.
        """
        group = mesh.get_group()
        same_generators(group)
        if not self.ops and not self.tables:
            logger.warning("nothing of %s is split: no op has a plan for %s ranks", _kind(self.model), self.ranks)
        views = {name: self._view(name, parameter, group) for name, parameter in self._parameters()}
        replaced: Replaced = {}
        owners: dict[str, list[tuple[str, str]]] = {}
        for name, parameter in list(self._parameters()):
            if id(parameter) not in replaced:
                made = self._distributed(name, parameter, mesh, (local or {}).get(name))
                replaced[id(parameter)] = (parameter, made)
            owner, _, leaf = name.rpartition(".")
            owners.setdefault(owner, []).append((name, leaf))
            self.model.get_submodule(owner)._parameters[leaf] = replaced[id(parameter)][1]
        for owner, leaves in owners.items():
            module = self.model.get_submodule(owner)
            self._switch(owner, module, {leaf: views[name] for name, leaf in leaves}, group)
            module.__dict__["kept"] = all(self.keeps(name) for name, _ in leaves)
        for op, plan in self.ops.values():
            self._narrow(op, plan, group)
        self.model.__dict__["splitting"] = self
        return replaced

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.model.named_parameters(remove_duplicate=False)

    def _op_of(self, name: str) -> tuple[str, Plan] | None:
        """The op that a weight stands in, by its prefix."""
        parts = name.split(".")
        for length in range(len(parts) - 1, -1, -1):
            prefix = ".".join(parts[:length])
            if prefix in self.ops:
                return prefix, self.ops[prefix][1]
        return None

    def _view(self, name: str, parameter: Tensor, group: ProcessGroup) -> View:
        """What a module computes with, of a weight that it holds."""
        if self.keeps(name):
            return _here
        found = self._op_of(name)
        if found is None:
            return _here
        prefix, plan = found
        inner = name.removeprefix(f"{prefix}.") if prefix else name
        owner, _, leaf = inner.rpartition(".")
        if owner in plan.rows and leaf == "bias":
            return _here
        if name in self.cuts:
            cut = replace(self.cuts[name], dim=_dim(self.cuts[name], parameter.ndim))
            return lambda held: cut.take(enter(_here(held), group), self.rank, self.ranks)
        if inner in plan.shares:
            return lambda held: enter(_here(held), group) / self.ranks
        return lambda held: enter(_here(held), group)

    def _distributed(
        self, name: str, parameter: nn.Parameter, mesh: DeviceMesh, whole: tuple[int, ...] | None
    ) -> nn.Parameter:
        if parameter.is_meta:
            raise ArgumentError(f"{name} is on the meta device: load the weights before they are split")
        shape = tuple(parameter.shape) if whole is None else whole
        part = parameter.data
        placement: Any = Replicate()
        if self.keeps(name):
            placement = Shard(_dim(self.cuts[name], len(shape)))
            part = part if whole is not None else self.take(name, part).clone(memory_format=torch.contiguous_format)
        strides = torch.empty(shape, device="meta").stride()
        made = DTensor.from_local(
            part.contiguous(), mesh, [placement], run_check=False, shape=torch.Size(shape), stride=strides
        )
        return nn.Parameter(made, requires_grad=parameter.requires_grad)

    def _switch(self, name: str, module: nn.Module, views: dict[str, View], group: ProcessGroup) -> None:
        """Give a module the views of its weights, and the forward of what it is to its op."""
        forward: Callable[..., Any] | None = None
        found = self._op_of(f"{name}.weight")
        if name in self.tables:
            forward, rows = _look_up, shares(module.get_parameter("weight").shape[0], self.ranks)
            module.__dict__["rows"] = (sum(rows[: self.rank]), sum(rows[: self.rank + 1]))
        elif name in self.heads:
            forward, module.__dict__["rows"] = _map_to_vocabulary, shares(module.weight.shape[0], self.ranks)  # type: ignore[union-attr,index]
        elif found is not None:
            prefix, plan = found
            inner = name.removeprefix(f"{prefix}.") if prefix else name
            if inner in plan.rows:
                forward = _add_up_within if inner in plan.within else _add_up
            elif inner in plan.over_all:
                if type(module) is not RMSNorm:
                    raise ArgumentError(f"{name}: a {_kind(module)} over all heads can't be split")
                forward = _norm_over_all
        module.__dict__["group"] = group
        give_views(module, views, forward)

    def _narrow(self, op: nn.Module, plan: Plan, group: ProcessGroup) -> None:
        """Sizes, constants and groups of siblings as they are on this rank, and the way in and out."""
        for name, value in plan.sizes.items():
            owner, _, leaf = name.rpartition(".")
            setattr(op.get_submodule(owner), leaf, value)
        for name, cut in plan.columns.items():
            owner, _, leaf = name.rpartition(".")
            module = op.get_submodule(owner)
            if leaf not in module._modules and leaf not in module._parameters:
                setattr(module, leaf, cut.take(getattr(module, leaf), self.rank, self.ranks).clone())
        for siblings in groups(op):
            siblings.widths = tuple(len(member.weight) for member in siblings.members())  # type: ignore[arg-type]
            siblings.join()
        if next(op.parameters(), None) is not None:
            op.__dict__["part"] = Part(plan, group, self.rank, self.ranks)
            give_views(op, op.__dict__.get("views", {}), _computed)


class Part:
    """The way of tensors into an op of which this rank computes a part, and out of it."""

    def __init__(self, plan: Plan, group: ProcessGroup, rank: int, ranks: int):
        self.plan, self.group, self.rank, self.ranks = plan, group, rank, ranks

    def entered(self, given: Any) -> Any:
        """An argument of the op: tensors of numbers enter, and the states that it reads."""
        if isinstance(given, Tensor):
            return enter(given, self.group) if given.is_floating_point() else given
        if self.plan.source and isinstance(given, Context) and given.source is not None:
            states = enter(given.source.states, self.group)
            return replace(given, source=replace(given.source, states=states))
        return given

    def run(self, op: nn.Module, args: tuple[Any, ...]) -> Any:
        """The op's answer, for all heads and channels."""
        context = next((given for given in args if isinstance(given, Context)), None)
        lists = [] if context is None else [context.trace.attentions, context.trace.cross_attentions]
        traced = [(seen, len(seen)) for seen in lists if seen is not None]
        with drawing_apart(self.rank, enabled=self.plan.draws and op.training):
            y = type(op).whole.forward(op, *map(self.entered, args))  # type: ignore[attr-defined]
        for seen, before in traced:
            for place in range(before, len(seen)):  # weights [B, heads, …]
                seen[place] = join(seen[place], self.group, (seen[place].shape[1],) * self.ranks, 1)
        return leave(y, self.group) if self.plan.summed else y


def _computed(self: Any, *args: Any) -> Any:
    return self.part.run(self, args)


def _add_up(self: Any, input: Tensor) -> Tensor:
    y = leave(kernels.linear(input, self.weight), self.group)
    return y if self.bias is None else y + self.bias


def _add_up_within(self: Any, input: Tensor) -> Tensor:
    return enter(_add_up(self, input), self.group)


def _look_up(self: Any, input: Tensor) -> Tensor:
    first, end = self.rows
    elsewhere = (input < first) | (input >= end)
    padding = self.padding_idx
    mine = None if padding is None or not first <= padding < end else padding - first
    found = F.embedding((input - first).masked_fill(elsewhere, 0), self.weight, mine)
    found = leave(found.masked_fill(elsewhere.unsqueeze(-1), 0), self.group)
    return found if self.scale == 1.0 else found * torch.tensor(self.scale, dtype=found.dtype)


def _map_to_vocabulary(self: Any, input: Tensor) -> Tensor:
    return join(kernels.linear(enter(input, self.group), self.weight, self.bias), self.group, self.rows)


def _norm_over_all(self: Any, x: Tensor) -> Tensor:
    wide, count = x.float(), x.shape[-1] * distributed.get_world_size(self.group)
    squares = enter(leave(wide.square().sum(-1, keepdim=True), self.group), self.group) / count
    return self.weight * (wide * torch.rsqrt(squares + self.eps)).to(x.dtype)


def _here(held: Tensor) -> Tensor:
    """This rank's part; without gradients the very tensor that is held, which siblings lay out anew."""
    if not isinstance(held, DTensor):
        return held
    return held.to_local() if torch.is_grad_enabled() else held._local_tensor


def _dim(cut: Cut, ndim: int) -> int:
    """The dimension that a cut is of, in a weight or in a bias of fewer dimensions."""
    return min(cut.dim, ndim - 1)


def _under(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def splitting_of(model: nn.Module) -> Splitting | None:
    """How a model's weights are split; None: they are whole."""
    return model.__dict__.get("splitting")


def follow(optimizer: torch.optim.Optimizer, replaced: Replaced) -> None:
    """Let an optimiser made before a model was split move its parts."""
    for group in optimizer.param_groups:
        group["params"] = [replaced[id(p)][1] if id(p) in replaced else p for p in group["params"]]
    if any(id(p) in replaced for p in optimizer.state):
        raise ArgumentError("the optimiser has moved the weights already: split the model before its first step")


def tensor_parallel(model: nn.Module, mesh: DeviceMesh) -> Replaced:
    """Split a model that all ranks of a mesh's one dimension hold alike; in place.

    Returns:
        What has taken the place of each parameter, for optimisers.

    Raises:
        ArgumentError: the mesh has more dimensions; the model is split already, or rounded to bytes.
    """
    if mesh.ndim != 1:
        raise ArgumentError(f"tensor_parallel takes a mesh of one dimension, such as mesh['tp']; got {mesh}")
    if splitting_of(model) is not None:
        raise ArgumentError(f"the weights of this {_kind(model)} are split already")
    if getattr(model, "rounded_weights", dict)():
        raise ArgumentError('weights that dtype="int8" rounded can\'t be split: load the model in another dtype')
    if mesh.size() == 1:
        return {}
    return Splitting(model, mesh.get_local_rank(), mesh.size()).apply(mesh)
