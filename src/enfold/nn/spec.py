"""What a transformer is made of, as frozen data. `nn/modules.py` builds the module of the same name from each spec.

    Stack ── Embed
      │   ── Layer × depth ── Step(Attention) ── Step(cross Attention) ── Step(MLP)
      │   ── Norm
      └── Relative

Only what three families need has a field here; what one family needs is a subclass in its file.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh", "quick_gelu"]
Pairs = Literal["halves", "neighbours"]


@dataclass(frozen=True)
class Norm:
    """Layer normalisation (Ba et al. 2016) or root-mean-square normalisation (Zhang & Sennrich 2019).

    Attributes:
        kind: "rms_from_one" stores how far the weight is from one (Gemma).
        bias: whether a layer norm has one.
    """

    eps: float
    kind: Literal["layer", "rms", "rms_from_one"] = "layer"
    bias: bool = True


@dataclass(frozen=True)
class LinearScaling:
    """Positions divided by a factor (Chen et al. 2023)."""

    factor: float


@dataclass(frozen=True)
class DynamicScaling:
    """A larger base once a text is longer than `original` tokens (NTK-aware scaling)."""

    factor: float
    original: int


@dataclass(frozen=True)
class Llama3Scaling:
    """Slow frequencies divided by a factor, fast ones kept (Llama 3.1 model card)."""

    factor: float
    low: float
    high: float
    original: int


@dataclass(frozen=True)
class YarnScaling:
    """Slow frequencies divided by a factor, fast ones kept, q and k longer (Peng et al. 2023, §3).

    Attributes:
        magnitude: factor on cosines and sines.
        fast, slow: rotations over the original length above and below which a frequency counts as fast or slow.
        whole: round the bounds between them to whole dimensions.
    """

    factor: float
    original: int
    magnitude: float
    fast: float = 32.0
    slow: float = 1.0
    whole: bool = True


@dataclass(frozen=True)
class LongScaling:
    """A divisor for each frequency: one set for texts up to `original` tokens, one for longer ones (Ding et al. 2024).

    Attributes:
        magnitude: factor on cosines and sines.
    """

    short: tuple[float, ...]
    long: tuple[float, ...]
    original: int
    magnitude: float


Scaling = LinearScaling | DynamicScaling | Llama3Scaling | YarnScaling | LongScaling


@dataclass(frozen=True)
class Rope:
    """Rotary positions (Su et al. 2021).

    Attributes:
        dim: rotated dimensions of each head (the first `dim` of them).
        base: the base θ of the frequencies θ^(−2i/dim).
        scaling: how positions beyond the training length are read.
        pairs: what turns together: dimension i with i + dim / 2 (GPT-NeoX), or 2i with 2i + 1 (the paper, GPT-J).
    """

    dim: int
    base: float = 10000.0
    scaling: Scaling | None = None
    pairs: Pairs = "halves"


@dataclass(frozen=True)
class Relative:
    """Learned bias per bucket of relative distance (T5: Raffel et al. 2020, §2.1), shared by all layers of a stack."""

    buckets: int
    max_distance: int
    heads: int
    bidirectional: bool


@dataclass(frozen=True)
class Alibi:
    """Scores that fall with distance in tokens, in each head at a slope of its own (Press et al. 2022)."""

    heads: int


@dataclass(frozen=True)
class Attention:
    """Multi-head attention, grouped where `kv_heads < heads` (Ainslie et al. 2023).

    Attributes:
        window: each token sees itself and at most `window − 1` neighbours on a side (Mistral).
        softcap: scores s become softcap · tanh(s / softcap).
        scale: factor on q·k; None is head_dim^−½.
        qk_norm: norm of queries and keys before they are rotated, of `qk_norm_over` one head or all of them at once.
        together: the checkpoint stores q, k and v as one matrix, and so do we.
        biased: adds the stack's `Relative` or `Alibi` bias to the scores.
        dropout: on the attention probabilities while training.
    """

    heads: int
    head_dim: int
    kv_heads: int
    bias: bool = True
    out_bias: bool = True
    causal: bool = False
    rope: Rope | None = None
    scale: float | None = None
    together: bool = False
    biased: bool = False
    dropout: float = 0.0
    window: int | None = None
    softcap: float | None = None
    qk_norm: Norm | None = None
    qk_norm_over: Literal["head", "all"] = "head"


@dataclass(frozen=True)
class MLP:
    """Two linear maps around an activation; `gated` multiplies by a third (GLU: Shazeer 2020).

    Attributes:
        together: the checkpoint stores gate and up as one matrix, and so do we.
    """

    width: int
    act: Activation
    gated: bool = False
    together: bool = False
    bias: bool = True
    dropout: float = 0.0


class Op:
    """An op that builds its own module, `(x [N, D], context, depth) → [N, D]`: what a family has for itself."""

    def build(self, width: int) -> Any:
        """The module, for a stream of `width`."""
        raise NotImplementedError


@dataclass(frozen=True)
class MoE(Op):
    """Many gated MLPs, of which a router chooses a few for each token (Shazeer et al. 2017; Jiang et al. 2024).

    Attributes:
        experts: how many there are, each of inner `width`.
        chosen: experts a token.
        normalised: the weights of those chosen are made to sum to one.
        shared: an MLP that every token passes.
        shared_gate: its answer is multiplied by a sigmoid (Qwen2-MoE).
    """

    experts: int
    chosen: int
    width: int
    act: Activation
    normalised: bool = True
    shared: MLP | None = None
    shared_gate: bool = False

    def build(self, width: int) -> Any:
        from enfold.nn.moe import MoE as Module

        return Module(self, width)


@dataclass(frozen=True)
class Step:
    """One residual step, `x → out(x + scale · dropout(post(op(pre(x)))))`: pre-norm, post-norm, sandwich are its slots.

    Attributes:
        beside: reads what the step before it read, and both are added (a parallel block: GPT-J, PaLM). Without a `pre`
            of its own it also shares that step's normed input.
    """

    op: Attention | MLP | Op
    pre: Norm | None = None
    post: Norm | None = None
    out: Norm | None = None
    dropout: float = 0.0
    scale: float = 1.0
    beside: bool = False


@dataclass(frozen=True)
class Layer:
    """The steps of one layer in their order; an encoder has no `cross`, a state space may have no `mlp`."""

    attn: Step
    mlp: Step | None = None
    cross: Step | None = None


@dataclass(frozen=True)
class Embed:
    """Token ids (and positions, and types) → vectors.

    Attributes:
        positions: rows of the learned position table, 0 for none.
        offset: the row of position 0; those before it are never read (OPT, BART, RoBERTa).
        token_scale: factor on the tokens' vectors, part of looking them up (Vaswani et al. 2017, §3.4).
        scale: factor on vectors, those that a caller brings too.
        width: of the vectors, where they are narrower than the stream and a linear map widens them (Lan et al. 2020).
    """

    vocab: int
    positions: int = 0
    offset: int = 0
    token_scale: float = 1.0
    scale: float = 1.0
    types: int = 0
    norm: Norm | None = None
    dropout: float = 0.0
    padding_id: int | None = None
    width: int | None = None

    def build(self, width: int) -> Any:
        """The module, for a stream of `width`; a family whose embedding is its own overrides this."""
        from enfold.nn.modules import Embed as Module

        return Module(self, width)


@dataclass(frozen=True)
class Stack:
    """Embeddings, layers and the last norm.

    Attributes:
        width: size D of the residual stream.
        layers: the distinct layers.
        schedule: which layer runs at each depth; None runs each once. Caches are keyed by depth.
        norm_dropout: dropout after the last norm (T5).
        layer_drop: probability with which a layer is left out of a step of training (Fan et al. 2020).
    """

    width: int
    layers: tuple[Layer, ...]
    embed: Embed | None = None
    norm: Norm | None = None
    relative: Relative | Alibi | None = None
    schedule: tuple[int, ...] | None = None
    norm_dropout: float = 0.0
    layer_drop: float = 0.0

    @property
    def depths(self) -> tuple[int, ...]:
        """The layer that runs at each depth."""
        return self.schedule if self.schedule is not None else tuple(range(len(self.layers)))


def extended(given: Any, kind: type[T], **entries: Any) -> T:
    """A spec as one of a subclass, with its further entries."""
    return kind(**{field.name: getattr(given, field.name) for field in fields(given)} | entries)
