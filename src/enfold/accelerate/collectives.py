"""What ranks of one group exchange in the middle of a computation, with gradients.

            forward             backward
enter       as it is            sum over ranks
leave       sum over ranks      as it is
join        side by side        each rank's own part
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup

from enfold.accelerate.randomness import set_seed


def total(x: Tensor, group: ProcessGroup) -> Tensor:
    """The sum of the ranks' tensors."""
    summed = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(summed, group=group)
    return summed


def side_by_side(x: Tensor, group: ProcessGroup, sizes: tuple[int, ...], dim: int) -> Tensor:
    """The ranks' tensors behind each other in `dim`, where rank r has `sizes[r]` entries."""
    longest, dim = max(sizes), dim % x.ndim
    x = x.movedim(dim, 0)
    if len(x) < longest:
        x = torch.cat([x, x.new_zeros(longest - len(x), *x.shape[1:])])
    x = x.contiguous()
    parts = [torch.empty_like(x) for _ in sizes]
    distributed.all_gather(parts, x, group=group)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).movedim(0, dim)


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return total(gradients[0], ctx.group), None


class _Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        return total(x, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, sizes: tuple[int, ...], dim: int, factor: float) -> Tensor:
        ctx.sizes, ctx.dim, ctx.rank, ctx.factor = sizes, dim, distributed.get_rank(group), factor
        return side_by_side(x, group, sizes, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        part = gradients[0].narrow(ctx.dim, sum(ctx.sizes[: ctx.rank]), ctx.sizes[ctx.rank])
        return part * ctx.factor if ctx.factor != 1.0 else part.contiguous(), None, None, None, None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, sizes: tuple[int, ...], dim: int) -> Tensor:
        ctx.group, ctx.sizes, ctx.dim, ctx.rank = group, sizes, dim, distributed.get_rank(group)
        return side_by_side(x, group, sizes, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        summed = total(gradients[0], ctx.group)
        return summed.narrow(ctx.dim, sum(ctx.sizes[: ctx.rank]), ctx.sizes[ctx.rank]), None, None, None


def enter(x: Tensor, group: ProcessGroup) -> Tensor:
    """What all ranks hold alike, into computations that differ."""
    return _Enter.apply(x, group) if torch.is_grad_enabled() and x.requires_grad else x  # type: ignore[return-value]


def leave(x: Tensor, group: ProcessGroup) -> Tensor:
    """The sum of what the ranks computed, for computations that all do alike."""
    return _Leave.apply(x, group) if torch.is_grad_enabled() and x.requires_grad else total(x, group)  # type: ignore[return-value]


def join(x: Tensor, group: ProcessGroup, sizes: tuple[int, ...], dim: int = -1, factor: float = 1.0) -> Tensor:
    """What the ranks computed side by side, for computations that all do alike; `factor` on its gradient."""
    return _Join.apply(x, group, sizes, dim, factor)  # type: ignore[return-value]


def spread(x: Tensor, group: ProcessGroup, sizes: tuple[int, ...], dim: int = 0) -> Tensor:
    """What the ranks hold side by side, for computations that differ."""
    return _Spread.apply(x, group, sizes, dim)  # type: ignore[return-value]


def shares(size: int, ranks: int) -> tuple[int, ...]:
    """How many of `size` entries each rank keeps, where torch cuts them (`torch.chunk`)."""
    each = -(-size // ranks)
    return tuple(max(min(each, size - rank * each), 0) for rank in range(ranks))


@contextmanager
def drawing_apart(rank: int, *, enabled: bool = True) -> Iterator[None]:
    """Where each rank draws numbers of its own, from seeds that all draw alike; afterwards all draw alike again."""
    if not enabled:
        yield
        return
    seed = int(torch.randint(2**62, ()))
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed + rank)
        yield


def same_generators(group: ProcessGroup) -> None:
    """All ranks of a group draw what its first one would."""
    seed = [int(torch.randint(2**31, ()))]
    distributed.broadcast_object_list(seed, group_src=0, group=group)
    set_seed(seed[0])
