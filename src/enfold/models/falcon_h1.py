"""Falcon-H1 (TII 2025): attention and a Mamba-2 state space side by side in every layer, and factors throughout.

x ── norm ──┬── (· in) ── attention ── (· out) ──┬──(+)──▶
            └── (· in) ── state space ── (· out) ┘
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.models.llama import LlamaConfig, LlamaForCausalLM, LlamaModel
from enfold.models.recurrent import Chunks, Convolution, convolve
from enfold.nn import spec
from enfold.nn.linear import Linear
from enfold.nn.modules import ACTIVATIONS, MLP, Attention, Context
from enfold.nn.split import Cut, Plan, blocks
from enfold.nn.where import Where
from enfold.weights.names import NameTable

PLACES = 64  # of a chunk


class FalconH1Config(LlamaConfig):
    """Entries of a Falcon-H1 `config.json`."""

    model_type = "falcon_h1"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 128000,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "pad_token_id": 0,
        "num_logits_to_keep": 1,
        "mamba_d_ssm": 1024,
        "mamba_n_heads": 128,
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "mamba_chunk_size": 256,
        "mamba_conv_bias": True,
        "mamba_proj_bias": False,
        "mamba_norm_before_gate": True,
        "mamba_rms_norm": False,
        "projectors_bias": False,
        "lm_head_multiplier": 1.0,
        "embedding_multiplier": 1.0,
        "mlp_multipliers": [1.0, 1.0],
        "key_multiplier": 1.0,
        "attention_in_multiplier": 1.0,
        "attention_out_multiplier": 1.0,
        "ssm_multipliers": [1.0] * 5,
        "ssm_in_multiplier": 1.0,
        "ssm_out_multiplier": 1.0,
    }

    @property
    def channels(self) -> int:
        """Inner width of the state space."""
        return int(self.mamba_expand * self.hidden_size) if self.mamba_d_ssm is None else self.mamba_d_ssm

    @property
    def mamba_d_head(self) -> int:
        """Channels of each of its heads."""
        given = self.entries.get("mamba_d_head", "auto")
        return self.channels // self.mamba_n_heads if given == "auto" else int(given)

    @mamba_d_head.setter
    def mamba_d_head(self, size: int | str) -> None:
        self.entries["mamba_d_head"] = size

    @property
    def time_step_limit(self) -> list[float]:
        """Bounds of the time steps."""
        bounds = self.entries.get("time_step_limit") or (0.0, float("inf"))
        # The reference library writes what JSON has no number for as {"__float__": "Infinity"}.
        return [float(x["__float__"] if isinstance(x, dict) else x) for x in bounds]

    @time_step_limit.setter
    def time_step_limit(self, bounds: Any) -> None:
        self.entries["time_step_limit"] = bounds


@dataclass(frozen=True)
class HeadedStates:
    """A state space whose heads decay as one (Mamba-2: Dao & Gu 2024).

    Attributes:
        heads, head_dim: of the channels.
        groups, states: heads of a group share what goes into their states and comes out, `states` numbers a channel.
        kernel: tokens that the convolution sees.
        bias, conv_bias, out_bias: of its maps.
        factors: on the input, then on gate, channels, into states, out of states and time steps.
        limit: bounds of the time steps.
        norm: over each group of the gated answer, before or after its gate; None for none.
    """

    heads: int
    head_dim: int
    groups: int
    states: int
    kernel: int
    act: spec.Activation
    bias: bool
    conv_bias: bool
    out_bias: bool
    factors: tuple[float, ...]
    limit: tuple[float, float]
    norm: spec.Norm | None
    norm_first: bool


@dataclass(frozen=True)
class Hybrid(spec.Op):
    """Attention beside a state space, with factors on the attention's input and on both answers."""

    attention: spec.Attention
    states: HeadedStates
    attention_in: float
    attention_out: float
    states_out: float

    @property
    def rope(self) -> spec.Rope | None:
        return self.attention.rope

    def build(self, width: int) -> "SideBySide":
        return SideBySide(self, width)


class SideBySide(nn.Module):
    """x [N, D] → [N, D]."""

    def __init__(self, given: Hybrid, width: int):
        super().__init__()
        self.spec = given
        self.attention = Attention(given.attention, width)
        self.mixer = Mixer(given.states, width)

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        given = self.spec
        remembered = self.mixer(x, context, depth) * given.states_out
        return remembered + self.attention(x * given.attention_in, context, depth) * given.attention_out


class NormalConvolution(Convolution):
    """Weights that start as those of linear maps do."""

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        parameter.zero_() if name == "bias" else parameter.normal_(0.0, std)


class Mixer(nn.Module):
    """x [N, D] → [N, D]."""

    def __init__(self, given: HeadedStates, width: int):
        super().__init__()
        self.spec = given
        self.channels, self.shared = given.heads * given.head_dim, given.groups * given.states
        self.sizes = (self.channels, self.channels, self.shared, self.shared, given.heads)
        self.into = Linear(width, sum(self.sizes), bias=given.bias)
        self.conv = NormalConvolution(self.channels + 2 * self.shared, given.kernel, given.conv_bias)
        self.step_bias = nn.Parameter(torch.empty(given.heads))
        self.decay_log = nn.Parameter(torch.empty(given.heads))
        self.skip = nn.Parameter(torch.empty(given.heads))
        self.norm = GroupNorm(self.channels, given.groups, given.norm.eps) if given.norm else None
        self.out = Linear(self.channels, width, bias=given.out_bias)

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter."""
        if name == "decay_log":
            parameter.copy_(torch.arange(1.0, len(parameter) + 1).log())
        else:
            parameter.fill_(1.0)

    def plan(self, ranks: int) -> Plan | None:
        """Heads by rank, with their groups; the norm of a group can't be cut."""
        given = self.spec
        if given.heads % ranks or (self.norm is not None and given.groups % ranks):
            return None
        heads, groups = (given.heads, given.head_dim), (given.groups, given.states)
        mine = replace(given, heads=given.heads // ranks, groups=max(given.groups // ranks, 1))
        channels, shared = mine.heads * mine.head_dim, mine.groups * mine.states
        columns = {
            "into": Cut((heads, heads, groups, groups, (given.heads, 1))),
            "conv": Cut((heads, groups, groups)),
            **dict.fromkeys(("step_bias", "decay_log", "skip"), blocks(given.heads)),
        }
        sizes = (channels, channels, shared, shared, mine.heads)
        narrowed = {"spec": mine, "channels": channels, "shared": shared, "sizes": sizes}
        if self.norm is not None:
            columns["norm"], narrowed["norm.count"] = Cut((heads,)), mine.groups
        return Plan(columns=columns, rows={"out": Cut((heads,), dim=1)}, sizes=narrowed)

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        given, where, cache = self.spec, context.where, context.cache
        held = None if cache is None else cache.states(depth)
        past, state = (None, None) if held is None else held
        parts = self.into(x * given.factors[0]).split(self.sizes, dim=-1)
        gate, u, to_state, from_state, step = (p * f for p, f in zip(parts, given.factors[1:], strict=True))
        u, past = convolve(
            torch.cat([u, to_state, from_state], dim=-1), self.conv.weight.squeeze(1), self.conv.bias, where, past
        )
        u, to_state, from_state = ACTIVATIONS[given.act](u).float().split(self.sizes[1:4], dim=-1)
        step = F.softplus(step.float() + self.step_bias.float()).clamp(*given.limit)  # [N, H]
        log_decay = step * -self.decay_log.float().exp()
        u = u.unflatten(-1, (given.heads, given.head_dim))
        shared = (given.groups, given.states)
        to_state, from_state = to_state.unflatten(-1, shared), from_state.unflatten(-1, shared)
        if state is None:
            state = u.new_zeros(len(where.lengths), given.heads, given.head_dim, given.states)
        run = advance if where.decoding else scan_heads
        y, state = run(log_decay, u * step.unsqueeze(-1), to_state, from_state, where, state)
        if cache is not None:
            cache.keep(depth, past.detach(), state.detach())
        y = (y + u * self.skip.float().unsqueeze(-1)).flatten(1)
        opened = F.silu(gate.float())
        normed = nn.Identity() if self.norm is None else self.norm
        y = normed(y) * opened if given.norm_first else normed(y * opened)
        return self.out(y.to(x.dtype))


class GroupNorm(nn.Module):
    """Root-mean-square normalisation of each group of channels by itself: [N, C] fp32 → [N, C]."""

    def __init__(self, channels: int, groups: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.count, self.eps = groups, eps

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (self.count, -1))
        parts = parts * torch.rsqrt(parts.square().mean(-1, keepdim=True) + self.eps)
        return parts.flatten(-2) * self.weight.float()


def advance(
    log_decay: Tensor, update: Tensor, to_state: Tensor, from_state: Tensor, where: Where, state: Tensor
) -> tuple[Tensor, Tensor]:
    """One token a sequence; arguments and results as of `scan_heads`."""
    repeat = update.shape[1] // to_state.shape[1]
    into, out = (x.repeat_interleave(repeat, dim=1) for x in (to_state, from_state))  # [B, H, S]
    state = log_decay.exp()[..., None, None] * state + update.unsqueeze(-1) * into.unsqueeze(2)
    return (state @ out.unsqueeze(-1)).squeeze(-1), state


def scan_heads(
    log_decay: Tensor, update: Tensor, to_state: Tensor, from_state: Tensor, where: Where, state: Tensor
) -> tuple[Tensor, Tensor]:
    """`h ← exp(log_decay) · h + update ⊗ to_state`, `y = h · from_state`, in chunks (Dao & Gu 2024, §6).

    Args:
        log_decay: [N, H] fp32, at most 0.
        update: [N, H, P].
        to_state, from_state: [N, G, S], each for the heads of a group.
        state: h before the first token [B, H, P, S].

    Returns:
        y [N, H, P], and h after each sequence's last token.
    """
    chunks = Chunks.of(where, min(PLACES, max(where.lengths, default=1)))
    groups, (heads, dim) = to_state.shape[1], update.shape[1:]
    total = chunks.rows(log_decay).cumsum(1).transpose(1, 2)  # [M, H, L]
    u = chunks.rows(update).transpose(1, 2)  # [M, H, L, P]
    into, out = (chunks.rows(x).transpose(1, 2) for x in (to_state, from_state))  # [M, G, L, S]
    later = torch.ones(chunks.size, chunks.size, dtype=torch.bool, device=u.device).triu(1)
    between = (total.unsqueeze(-1) - total.unsqueeze(-2)).masked_fill(later, float("-inf")).exp()  # [M, H, L, L]
    # The heads of a group share what they write to and read from, and so these products.
    alike = (out @ into.transpose(-1, -2)).unsqueeze(2)
    within = (alike * between.unflatten(1, (groups, -1))).flatten(1, 2) @ u
    left = (total[..., -1:] - total).exp().unsqueeze(-1)  # of each place, at its chunk's end
    written = (u * left).transpose(-1, -2).reshape(-1, groups, heads // groups * dim, chunks.size) @ into
    before, last = chunks.carry(
        written.view(-1, heads, dim, into.shape[-1]), total[..., -1:].exp().unsqueeze(-1), state
    )
    read = out @ before.reshape(-1, groups, heads // groups * dim, into.shape[-1]).transpose(-1, -2)  # [M, G, L, R·P]
    read = read.unflatten(-1, (-1, dim)).transpose(2, 3).flatten(1, 2)
    y = within + total.exp().unsqueeze(-1) * read
    return chunks.pack(y.transpose(1, 2)), last


@dataclass(frozen=True)
class FactoredMLP(spec.MLP, spec.Op):
    """A gated MLP with a factor on its gate."""

    gate: float = 1.0

    def build(self, width: int) -> "Factored":
        return Factored(self, width)


class Factored(MLP):
    """x [N, D] → [N, D]."""

    def __init__(self, given: FactoredMLP, width: int):
        super().__init__(given, width)
        self.factor = given.gate

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        gate, up = self.groups[0].parts(x)
        return self.down(self.act(gate * self.factor) * up)


class FalconH1Model(LlamaModel):
    """The decoder."""

    config_class = FalconH1Config
    names = NameTable("""
        stack.embed.tokens                          embed_tokens
        stack.layers.{i}.attn.pre                   layers.{i}.input_layernorm
        stack.layers.{i}.attn.op.attention.q        layers.{i}.self_attn.q_proj
        stack.layers.{i}.attn.op.attention.k        layers.{i}.self_attn.k_proj
        stack.layers.{i}.attn.op.attention.v        layers.{i}.self_attn.v_proj
        stack.layers.{i}.attn.op.attention.o        layers.{i}.self_attn.o_proj
        stack.layers.{i}.attn.op.mixer.into         layers.{i}.mamba.in_proj
        stack.layers.{i}.attn.op.mixer.conv         layers.{i}.mamba.conv1d
        stack.layers.{i}.attn.op.mixer.step_bias    layers.{i}.mamba.dt_bias
        stack.layers.{i}.attn.op.mixer.decay_log    layers.{i}.mamba.A_log
        stack.layers.{i}.attn.op.mixer.skip         layers.{i}.mamba.D
        stack.layers.{i}.attn.op.mixer.norm         layers.{i}.mamba.norm
        stack.layers.{i}.attn.op.mixer.out          layers.{i}.mamba.out_proj
        stack.layers.{i}.mlp.pre                    layers.{i}.pre_ff_layernorm
        stack.layers.{i}.mlp.op.gate                layers.{i}.feed_forward.gate_proj
        stack.layers.{i}.mlp.op.up                  layers.{i}.feed_forward.up_proj
        stack.layers.{i}.mlp.op.down                layers.{i}.feed_forward.down_proj
        stack.norm                                  final_layernorm
    """)

    @classmethod
    def embed(cls, config: FalconH1Config) -> spec.Embed:
        return replace(super().embed(config), token_scale=config.embedding_multiplier)

    @classmethod
    def layer(cls, config: FalconH1Config, depth: int) -> spec.Layer:
        norm, mlp = cls.norm(config), cls.mlp(config, depth)
        attention = cls.attention(config, depth)
        states = HeadedStates(
            heads=config.mamba_n_heads,
            head_dim=config.mamba_d_head,
            groups=config.mamba_n_groups,
            states=config.mamba_d_state,
            kernel=config.mamba_d_conv,
            act=mlp.act,
            bias=config.mamba_proj_bias,
            conv_bias=config.mamba_conv_bias,
            out_bias=config.projectors_bias,
            factors=(config.ssm_in_multiplier, *config.ssm_multipliers),
            limit=(config.time_step_limit[0], config.time_step_limit[1]),
            norm=norm if config.mamba_rms_norm else None,
            norm_first=config.mamba_norm_before_gate,
        )
        op = Hybrid(
            # A factor on keys is one on their products with queries.
            attention=replace(attention, scale=attention.head_dim**-0.5 * config.key_multiplier),
            states=states,
            attention_in=config.attention_in_multiplier,
            attention_out=config.attention_out_multiplier,
            states_out=config.ssm_out_multiplier,
        )
        gate, down = config.mlp_multipliers
        return spec.Layer(
            attn=spec.Step(op, pre=norm), mlp=spec.Step(FactoredMLP(**vars(mlp), gate=gate), pre=norm, scale=down)
        )


class FalconH1ForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = FalconH1Model

    def scores(self, states: Tensor) -> Tensor:
        return super().scores(states) * self.config.lm_head_multiplier
