"""A decoding step as one native call: the stack's operations written down once, then run for each token.

A step of one token a sequence is a chain of small products, and what Python costs between two of them is as much as a
product of a small model. Where all modules of a stack are the shared ones, nothing watches them and the cache keeps its
rows as they are, the chain is the same each time but for positions, lengths and where the cache lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from enfold.nn import _kernels, spec
from enfold.nn.attention import decode_bias
from enfold.nn.cache import Cache, FixedCache, Stored
from enfold.nn.int8 import Int8Linear, intact
from enfold.nn.kernels import plain
from enfold.nn.kernels.dispatch import ROWS, TYPES, native, threads
from enfold.nn.linear import Group, Linear, unhooked, untouched
from enfold.nn.modules import MLP, Attention, Context, CrossAttention, Layer, LayerNorm, RMSNorm, RMSNormFromOne, Step

if TYPE_CHECKING:
    from enfold.nn.modules import Stack

# Widest head that the native attention takes.
WIDEST = 256


class NotPlainError(Exception):
    """Something that a program doesn't know."""


@dataclass
class Keys:
    """A place of keys and values in a program, and what is bound there now."""

    number: int
    depth: int
    heads: int
    head_dim: int
    source: bool
    bound: Any = None
    lengths: Tensor | None = None  # of a source


class Program:
    """The operations of a stack's step, and what they were written from.

    Attributes:
        width: of the stack's states.
        held: (owner's children, name, child) of all modules that it stands for.
        weights: tensors whose memory the operations read, and where it was.
    """

    def __init__(self, stack: "Stack", dtype: torch.dtype):
        self.native = _kernels.Program(TYPES[dtype])
        self.stack, self.dtype, self.width = stack, dtype, stack.spec.width
        self.keys: list[Keys] = []
        self.turns: dict[spec.Rope, list[Any]] = {}  # number, tables that are bound
        self.held: list[tuple[dict[str, Any], str, nn.Module]] = []
        self.weights: list[tuple[dict[str, Any], str, int]] = []
        self.kept: list[Tensor] = []
        self.biased = False
        self.most = 1 << 60  # rows that its products are faster for than torch's
        self.room = 0
        self.taken: list[tuple[int, int]] = []  # width, number
        self.free: dict[int, list[int]] = {}
        self.x = self._buffer(self.width)
        for depth, index in enumerate(stack.spec.depths):
            self._layer(self._child(stack.layers, str(index), Layer), depth)
            for width, number in self.taken:
                if number != self.x:
                    self.free.setdefault(width, []).append(number)
            self.taken = [(self.width, self.x)]

    def __deepcopy__(self, memo: dict) -> None:
        """A cache that is copied has its program written anew."""

    def __reduce__(self) -> tuple:
        return type(None), ()

    # Writing

    def _buffer(self, width: int) -> int:
        """One that no operation of this layer uses yet."""
        spare = self.free.get(width)
        number = spare.pop() if spare else self.native.buffer(width)
        self.taken.append((width, number))
        return number

    def _child(self, owner: nn.Module, name: str, *kinds: type[nn.Module]) -> Any:
        child = owner._modules[name]
        if child is None or not unhooked(child) or (kinds and type(child) not in kinds):
            raise NotPlainError(name)
        self.held.append((owner._modules, name, child))  # type: ignore[arg-type]
        return child

    def _memory(self, owner: nn.Module, name: str, dtype: torch.dtype | None = None) -> int:
        """Where a parameter or buffer lies; 0 for none."""
        own = owner._parameters if name in owner._parameters else owner._buffers
        tensor = own.get(name)
        if tensor is None:
            return 0
        if tensor.dtype is not (dtype or self.dtype) or not tensor.is_contiguous() or not tensor.is_cpu:
            raise NotPlainError(name)
        self.weights.append((own, name, tensor.data_ptr()))
        return tensor.data_ptr()

    def _layer(self, layer: Layer, depth: int) -> None:
        attn = self._step(layer, "attn", Attention)
        if layer.beside:
            mlp = self._step(layer, "mlp", None)
            if layer.cross is not None or any(step.out is not None for step in (attn, mlp)):
                raise NotPlainError("beside")
            first = self._pre(attn, self.x)
            second = first if mlp.pre is None else self._pre(mlp, self.x)
            y = self._attention(attn, first, depth)
            x = self._sum(self.x, self._post(attn, y))
            self.x = self._sum(x, self._post(mlp, self._mlp(mlp, second)))
            return
        self.x = self._join(attn, self._attention(attn, self._pre(attn, self.x), depth))
        if layer.cross is not None:
            cross = self._step(layer, "cross", CrossAttention)
            self.x = self._join(cross, self._cross(cross, self._pre(cross, self.x), depth))
        if layer.mlp is not None:
            mlp = self._step(layer, "mlp", None)
            self.x = self._join(mlp, self._mlp(mlp, self._pre(mlp, self.x)))

    def _step(self, layer: Layer, name: str, kind: type[Attention] | None) -> Step:
        step = self._child(layer, name, Step)
        self._child(step, "op", kind or MLP)
        if step.scale != 1.0:
            raise NotPlainError("scale")
        return step

    def _pre(self, step: Step, x: int) -> int:
        return x if step.pre is None else self._norm(step, "pre", x)

    def _post(self, step: Step, y: int) -> int:
        return y if step.post is None else self._norm(step, "post", y)

    def _sum(self, x: int, y: int) -> int:
        out = self._buffer(self.width)
        self.native.add(x, y, out)
        return out

    def _join(self, step: Step, y: int) -> int:
        y = self._post(step, y)
        if type(step.out) is LayerNorm:
            return self._norm(step, "out", y, residual=self.x)
        x = self._sum(self.x, y)
        return x if step.out is None else self._norm(step, "out", x)

    def _norm(
        self, owner: nn.Module, name: str, x: int, *, residual: int = -1, into: int | None = None, part: Any = None
    ) -> int:
        """A norm of whole rows, or of the part (offset, width, count) of each."""
        module = self._child(owner, name, LayerNorm, RMSNorm, RMSNormFromOne)
        if type(module) is RMSNormFromOne:
            if self.dtype is not torch.float32:  # its product isn't rounded between
                raise NotPlainError("norm")
            self._memory(module, "weight")
            weight = (1.0 + module.weight.detach()).contiguous()
            self.kept.append(weight)
            weight, bias = weight.data_ptr(), 0
        else:
            weight = self._memory(module, "weight")
            bias = self._memory(module, "bias") if type(module) is LayerNorm else 0
        offset, width, count = part or (0, self.width, 1)
        target = self._buffer(self.width) if into is None else into
        rms = type(module) is not LayerNorm
        self.native.norm(rms, x, residual, weight, bias, module.eps, target, offset, width, count)
        return target

    def _linear(self, owner: nn.Module, name: str, x: int, activation: str | None = None) -> int:
        module = self._child(owner, name, Linear, Int8Linear)
        return self._product([module], module.out_features, x, activation)

    def _group(self, group: Group, x: int) -> int:
        """Siblings as one product."""
        if not group.joined():
            raise NotPlainError("group")
        members = [self._child(group.owner, name, Linear, Int8Linear) for name in group.names]
        return self._product(members, sum(group.widths), x, None)

    def _product(self, members: Sequence[Any], width: int, x: int, activation: str | None) -> int:
        """Linear maps whose memory lies behind each other."""
        pointers = [self._pointers(module) for module in members]
        weight, scale, bias = pointers[0]
        target = self._buffer(width)
        self.native.linear(x, weight, scale, bias, plain.ACTIVATIONS[activation], target)
        return target

    def _pointers(self, module: Any) -> tuple[int, int, int]:
        bias = self._memory(module, "bias")
        if intact(module):
            return self._memory(module, "packed", torch.uint8), self._memory(module, "scale", torch.float32), bias
        if not untouched(module):
            raise NotPlainError("linear")
        self.most = ROWS[self.dtype]
        return self._memory(module, "weight"), 0, bias

    def _attention(self, step: Step, x: int, depth: int) -> int:
        op: Any = step.op
        given = op.spec
        if op.sinks is not None or given.head_dim > WIDEST or not given.causal:
            raise NotPlainError("attention")
        qkv = self._linear(op, "qkv", x) if given.together else self._group(op.groups[0], x)
        qkv = self._normed(op, qkv)
        rope = given.rope
        if rope is not None and rope not in self.turns:
            self.turns[rope] = [self.native.turns(), None]
        keys = Keys(self.native.store(), depth, given.kv_heads, given.head_dim, False)
        self.keys.append(keys)
        q = self._buffer(op.widths[0])
        turns = -1 if rope is None else self.turns[rope][0]
        self.native.remember(qkv, keys.number, turns, rope is not None and rope.pairs == "neighbours", q)
        return self._answer(op, q, keys, given.window)

    def _normed(self, op: Any, qkv: int) -> int:
        if op.q_norm is None and op.k_norm is None:
            return qkv
        d, (queries, keys, values) = op.spec.head_dim, op.widths
        whole = self._buffer(queries + keys + values)
        over_all = op.spec.qk_norm_over == "all"
        for name, offset, width in (("q_norm", 0, queries), ("k_norm", queries, keys)):
            part = (offset, width, 1) if over_all else (offset, d, width // d)
            self._norm(op, name, qkv, into=whole, part=part)
        self.native.copy(qkv, whole, queries + keys, values)
        return whole

    def _cross(self, step: Step, x: int, depth: int) -> int:
        op: Any = step.op
        given = op.spec
        if op.sinks is not None or op.q_norm is not None or given.head_dim > WIDEST or given.window or given.biased:
            raise NotPlainError("cross")
        q = self._linear(op, "q", x)
        keys = Keys(self.native.store(), depth, given.kv_heads, given.head_dim, True)
        self.keys.append(keys)
        return self._answer(op, q, keys, None)

    def _answer(self, op: Any, q: int, keys: Keys, window: int | None) -> int:
        rule, mixed = op.rules[False], self._buffer(op.widths[0])
        biased = bool(op.spec.biased)
        self.biased |= biased
        self.native.attend(
            q, keys.number, keys.head_dim, rule.scale, rule.softcap or 0.0, window or 0, biased, keys.source, mixed
        )
        return self._linear(op, "o", mixed)

    def _mlp(self, step: Step, x: int) -> int:
        op: Any = step.op
        if op.fused is None:
            raise NotPlainError("activation")
        if op.gated:
            both = self._linear(op, "gate_up", x) if op.together else self._group(op.groups[0], x)
            inner = self._buffer(step.op.down.in_features)  # type: ignore[union-attr]
            self.native.gated(both, plain.ACTIVATIONS[op.fused], inner)
        else:
            inner = self._linear(op, "up", x, op.fused)
        return self._linear(op, "down", inner)

    # Running

    def stands(self) -> bool:
        """Whether the modules are still what was written down: the same ones, unwatched, their weights in place."""
        if torch_modules._global_forward_hooks or torch_modules._global_forward_pre_hooks:
            return False
        for children, name, child in self.held:
            if children[name] is not child or child._forward_hooks or child._forward_pre_hooks:
                return False
            if "forward" in child.__dict__:
                return False
        for own, name, address in self.weights:  # noqa: SIM110 (a generator costs twice as much)
            if own[name].data_ptr() != address:
                return False
        return True

    def run(self, x: Tensor, context: Context) -> Tensor | None:
        """States [N, D] behind the last layer, or None where this step is none for a program."""
        where, cache = context.where, context.cache
        assert cache is not None
        if not self._bind(cache, context, x):
            return None
        memo = where.memo
        lengths = memo.setdefault(("lengths", where.after), torch.tensor(where.after))
        bias = self._bias(context) if self.biased else None
        out = torch.empty_like(x)
        done = self.native.run(
            self.x,
            x.data_ptr(),
            out.data_ptr(),
            x.shape[0],
            where.positions.data_ptr(),
            where.slots.data_ptr(),
            lengths.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            0 if bias is None or bias.dim() == 2 else bias.stride(0),
            0 if bias is None else bias.stride(-2),
            0 if bias is None else bias.shape[-1],
            threads(),
        )
        return out if done else None

    def _bind(self, cache: Cache, context: Context, like: Tensor) -> bool:
        """Say where keys, values and rotations lie now; False: something is not where it could be read."""
        where = context.where
        longest, rows = max(where.after), len(where.after)
        if longest > self.room:
            self.room = 1 << 62
            for keys in self.keys:
                if not keys.source:
                    stores = cache.storage(keys.depth, where, keys.heads, keys.head_dim, like)
                    self.room = min(self.room, stores[0].shape[2])
        own, cross = cache._own, cache._cross
        for keys in self.keys:
            if keys.source:
                held: Any = cross.get(keys.depth)
                if held is not keys.bound and not (held is not None and self._bind_source(keys, held, rows)):
                    return False
            else:
                held = own.get(keys.depth)
                if held is not keys.bound and not (held is not None and self._bind_store(keys, held, rows, held, 0)):
                    return False
        for rope, bound in self.turns.items():
            tables = context.tables(rope, like)
            if bound[1] is not tables:
                cos, sin = tables
                if cos.dtype is not self.dtype or not (cos.is_contiguous() and sin.is_contiguous()):
                    return False
                rows, width = cos.shape
                self.native.bind_turns(bound[0], cos.data_ptr(), sin.data_ptr(), rows, width, False)
                bound[1] = tables
        return True

    def _bind_source(self, keys: Keys, held: Stored, rows: int) -> bool:
        keys.lengths = torch.tensor(held.lengths)
        both = held.keys, held.values
        return len(held.lengths) == rows and self._bind_store(keys, both, rows, held, keys.lengths.data_ptr())

    def _bind_store(self, keys: Keys, stores: Sequence[Tensor], rows: int, held: Any, lengths: int) -> bool:
        k, v = stores
        shape = (rows, keys.heads, k.shape[2], keys.head_dim)
        for part in (k, v):
            if part.shape != shape or part.dtype is not self.dtype or part.stride(-1) != 1 or not part.is_cpu:
                return False
        sizes = (rows, keys.heads, k.shape[2], keys.head_dim)
        self.native.bind_store(
            keys.number, k.data_ptr(), *k.stride()[:3], v.data_ptr(), *v.stride()[:3], *sizes, lengths
        )
        keys.bound = held
        return True

    def _bias(self, context: Context) -> Tensor:
        """[B, H, longest] fp32, or [H, longest] for all sequences."""
        assert context.relative is not None
        return decode_bias(context.relative, context.where.after, context.where.memo)


def step(stack: "Stack", x: Tensor, context: Context) -> Tensor | None:
    """States [N, D] behind the last layer, of one token a sequence; None where a program can't compute them.

    The program is kept with the cache, so that each thread of decoding has its own.
    """
    trace, where = context.trace, context.where
    cache: Any = context.cache
    if type(cache) not in (Cache, FixedCache) or not cache.lengths or not where.decoding or where.columns is not None:
        return None
    asked = trace.hidden, trace.attentions, trace.cross_attentions, trace.routers
    if any(wish is not None for wish in asked) or context.backend not in (None, "native") or stack.training:
        return None
    if torch.is_grad_enabled() or x.dtype not in TYPES or not x.is_contiguous() or not native(x, where.positions):
        return None
    if where.positions.dtype is not torch.int64 or not where.positions.is_contiguous():
        return None
    program = cache.program
    if program is None or program.stack is not stack or program.dtype is not x.dtype or not program.stands():
        program = cache.program = written(stack, x.dtype)
    return program.run(x, context) if x.shape[0] <= program.most else None


@dataclass
class Unwritten:
    """In a program's place: this stack has none."""

    stack: "Stack"
    dtype: torch.dtype
    most: int = 0

    def stands(self) -> bool:
        return True

    def run(self, x: Tensor, context: Context) -> None:
        """Nothing."""


def written(stack: "Stack", dtype: torch.dtype) -> Program | Unwritten:
    """A stack's program, if it has one."""
    if torch_modules._global_forward_hooks or torch_modules._global_forward_pre_hooks:
        return Unwritten(stack, dtype)
    try:
        return Program(stack, dtype)
    except NotPlainError:
        return Unwritten(stack, dtype)
