"""What a transformer is made of, as frozen data. `nn/modules.py` builds the module of the same name from each spec.

    Stack ── Embed
      │   ── Layer × depth ── Step(Attention) ── Step(cross Attention) ── Step(MLP)
      │   ── Norm
      └── Relative

Only what three families need has a field here; what one family needs is a subclass in its file.
"""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh", "quick_gelu"]


@dataclass(frozen=True)
class Norm:
    """Layer normalisation (Ba et al. 2016) or root-mean-square normalisation (Zhang & Sennrich 2019)."""

    eps: float
    kind: Literal["layer", "rms"] = "layer"


@dataclass(frozen=True)
class Rope:
    """Rotary positions (Su et al. 2021), rotate-half convention.

    Attributes:
        dim: rotated dimensions of each head (the first `dim` of them).
        base: the base θ of the frequencies θ^(−2i/dim).
        scaling: `("default",)`, `("linear", factor)`, or
            `("llama3", factor, low_freq_factor, high_freq_factor, original_max_position_embeddings)`.
    """

    dim: int
    base: float = 10000.0
    scaling: tuple = ("default",)


@dataclass(frozen=True)
class Relative:
    """Learned bias per bucket of relative distance (T5: Raffel et al. 2020, §2.1), shared by all layers of a stack."""

    buckets: int
    max_distance: int
    heads: int
    bidirectional: bool


@dataclass(frozen=True)
class Attention:
    """Multi-head attention, grouped where `kv_heads < heads` (Ainslie et al. 2023).

    Attributes:
        scale: factor on q·k; None is head_dim^−½.
        together: the checkpoint stores q, k and v as one matrix, and so do we.
        biased: adds the stack's `Relative` bias to the scores.
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


@dataclass(frozen=True)
class MLP:
    """Two linear maps around an activation; `gated` multiplies by a third (GLU: Shazeer 2020)."""

    width: int
    act: Activation
    gated: bool = False
    bias: bool = True
    dropout: float = 0.0


@dataclass(frozen=True)
class Step:
    """One residual step, `x → out(x + dropout(post(op(pre(x)))))`: pre-norm, post-norm and sandwich are its slots."""

    op: Attention | MLP
    pre: Norm | None = None
    post: Norm | None = None
    out: Norm | None = None
    dropout: float = 0.0


@dataclass(frozen=True)
class Layer:
    """The steps of one layer in their order; an encoder has no `cross`."""

    attn: Step
    mlp: Step
    cross: Step | None = None


@dataclass(frozen=True)
class Embed:
    """Token ids (and positions, and types) → vectors.

    Attributes:
        positions: rows of the learned position table, 0 for none.
    """

    vocab: int
    positions: int = 0
    types: int = 0
    norm: Norm | None = None
    dropout: float = 0.0
    padding_id: int | None = None


@dataclass(frozen=True)
class Stack:
    """Embeddings, layers and the last norm.

    Attributes:
        width: size D of the residual stream.
        layers: the distinct layers.
        schedule: which layer runs at each depth; None runs each once. Caches are keyed by depth.
        norm_dropout: dropout after the last norm (T5).
    """

    width: int
    layers: tuple[Layer, ...]
    embed: Embed | None = None
    norm: Norm | None = None
    relative: Relative | None = None
    schedule: tuple[int, ...] | None = None
    norm_dropout: float = 0.0

    @property
    def depths(self) -> tuple[int, ...]:
        """The layer that runs at each depth."""
        return self.schedule if self.schedule is not None else tuple(range(len(self.layers)))
