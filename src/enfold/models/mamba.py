"""Mamba (Gu & Dao 2023): in place of attention a selective state space, whose memory of a text has a fixed size.

x ── in ──┬── convolution ── silu ── u ──┬── x_proj ── time step, B, C ──┐
          └── gate ── silu ──────────────┼───────────────(×)◀── scan ◀──┘
                                         └── D · u ──(+)──┘
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.models.activations import activation
from enfold.models.config import PreTrainedConfig
from enfold.models.llama import LlamaForCausalLM
from enfold.models.outputs import LogitsOutput
from enfold.models.recurrent import Convolution, convolve, selective_scan
from enfold.models.stacks import SingleStack, States
from enfold.nn import spec
from enfold.nn.linear import Linear
from enfold.nn.modules import ACTIVATIONS, Context, RMSNorm, Stack
from enfold.nn.split import Cut, Plan, blocks
from enfold.weights.names import NameTable


class MambaConfig(PreTrainedConfig):
    """Entries of a Mamba `config.json`."""

    model_type = "mamba"
    defaults = {
        "vocab_size": 50280,
        "hidden_size": 768,
        "state_size": 16,
        "num_hidden_layers": 32,
        "layer_norm_epsilon": 1e-5,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "expand": 2,
        "conv_kernel": 4,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "initializer_range": 0.1,
        "residual_in_fp32": True,
        "time_step_scale": 1.0,
        "time_step_min": 0.001,
        "time_step_max": 0.1,
        "time_step_init_scheme": "random",
        "time_step_floor": 1e-4,
        "rescale_prenorm_residual": False,
        "use_mambapy": False,
        "use_associative_scan": True,
        "tie_word_embeddings": True,
    }

    @property
    def intermediate_size(self) -> int:
        """Channels of the state space."""
        return self.entries.get("intermediate_size") or int(self.expand * self.hidden_size)

    @intermediate_size.setter
    def intermediate_size(self, size: int) -> None:
        self.entries["intermediate_size"] = size

    @property
    def time_step_rank(self) -> int:
        """Width of what time steps are computed from."""
        given = self.entries.get("time_step_rank", "auto")
        return math.ceil(self.hidden_size / 16) if given == "auto" else int(given)

    @time_step_rank.setter
    def time_step_rank(self, rank: int | str) -> None:
        self.entries["time_step_rank"] = rank


@dataclass(frozen=True)
class TimeSteps:
    """How fresh time steps are drawn: between `low` and `high`, at least `floor`."""

    low: float
    high: float
    floor: float
    scale: float
    scheme: str


@dataclass(frozen=True)
class StateSpace(spec.Op):
    """A selective state space (Gu & Dao 2023, §3).

    Attributes:
        channels: inner width.
        states: numbers that each channel remembers.
        rank: of the time steps.
        kernel: tokens that the convolution sees.
        shrink: factor on the fresh weights of the map back.
        steps: how fresh time steps are drawn.
    """

    channels: int
    states: int
    rank: int
    kernel: int
    act: spec.Activation
    bias: bool
    conv_bias: bool
    norm: spec.Norm
    steps: TimeSteps
    shrink: float = 1.0

    def build(self, width: int) -> "Mixer":
        return Mixer(self, width)


class TimeStep(Linear):
    """[N, rank] → [N, channels] before the softplus; its bias begins at the softplus's inverse of a drawn step."""

    steps: TimeSteps

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter."""
        given = self.steps
        if name == "weight":
            bound = self.in_features**-0.5 * given.scale
            parameter.fill_(bound) if given.scheme == "constant" else parameter.uniform_(-bound, bound)
            return
        low, high = math.log(given.low), math.log(given.high)
        step = (torch.rand(parameter.shape) * (high - low) + low).exp().clamp(min=given.floor)
        parameter.copy_(step + torch.log(-torch.expm1(-step)))


class Out(Linear):
    """The map back, drawn as torch draws linear maps."""

    shrink = 1.0

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter."""
        if name == "bias":
            parameter.zero_()
        else:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
            parameter.mul_(self.shrink)


class Mixer(nn.Module):
    """x [N, D] → [N, D]. The norm is its own, since the stream may be wider than the weights."""

    def __init__(self, given: StateSpace, width: int):
        super().__init__()
        self.spec = given
        self.norm = RMSNorm(width, given.norm.eps)
        self.into = Linear(width, 2 * given.channels, bias=given.bias)
        self.conv = Convolution(given.channels, given.kernel, given.conv_bias)
        self.select = Linear(given.channels, given.rank + 2 * given.states, bias=False)
        self.step = TimeStep(given.rank, given.channels)
        self.step.steps = given.steps
        self.decay_log = nn.Parameter(torch.empty(given.channels, given.states))
        self.skip = nn.Parameter(torch.empty(given.channels))
        self.out = Out(given.channels, width, bias=given.bias)
        self.out.shrink = given.shrink

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter (S4D-Real: Gu et al. 2022)."""
        if name == "skip":
            parameter.fill_(1.0)
        else:
            parameter.copy_(torch.arange(1.0, parameter.shape[1] + 1).log().expand_as(parameter))

    def plan(self, ranks: int) -> Plan | None:
        """Channels by rank; what chooses the steps and the ways into and out of the states reads all of them."""
        count = self.spec.channels
        if count % ranks:
            return None
        channels = blocks(count)
        return Plan(
            columns={
                "into": Cut(((count, 1),) * 2),
                **dict.fromkeys(("conv", "step", "decay_log", "skip"), channels),
            },
            rows={name: blocks(count, dim=1) for name in ("select", "out")},
            within=("select",),
            sizes={"spec": replace(self.spec, channels=count // ranks)},
        )

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        given, where, cache = self.spec, context.where, context.cache
        held = None if cache is None else cache.states(depth)
        u, gate = self.into(self.norm(x.to(self.norm.weight.dtype))).chunk(2, dim=-1)
        past, state = (None, None) if held is None else held
        u, past = convolve(u, self.conv.weight.squeeze(1), self.conv.bias, where, past)
        u = ACTIVATIONS[given.act](u)
        step, to_state, from_state = self.select(u).split([given.rank, given.states, given.states], dim=-1)
        # The bias is added in fp32: steps are small, and their sums are long.
        step = F.softplus(F.linear(step, self.step.weight).float() + self.step.bias.float())  # [N, C]
        if state is None:
            state = step.new_zeros(len(where.lengths), given.channels, given.states)
        decay = -self.decay_log.float().exp()
        y, state = selective_scan(step, u.float(), to_state.float(), from_state.float(), decay, where, state)
        if cache is not None:
            cache.keep(depth, past.detach(), state.detach())
        y = y + u.float() * self.skip.float()
        return self.out((y * F.silu(gate.float())).to(gate.dtype))


@dataclass(frozen=True)
class MambaStack(spec.Stack):
    """A stack whose residual stream may be kept in fp32, whatever the weights' dtype."""

    stream: Literal["fp32", "weights"] = "fp32"


class MambaLayers(Stack):
    """Shows states after each layer and after the norm, where other families show those before each layer."""

    spec: MambaStack

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return super().forward(x.float() if self.spec.stream == "fp32" else x, context)

    def finish(self, x: Tensor, hidden: list[Tensor] | None) -> Tensor:
        if hidden is not None:
            hidden.append(x)
            del hidden[0]
        assert self.norm is not None
        return super().finish(x, hidden).to(self.norm.weight.dtype)  # type: ignore[arg-type]


@dataclass
class MambaOutput(LogitsOutput):
    """What the language model returns; the cache has two names."""

    @property
    def cache_params(self) -> Any:
        return self.past_key_values


class MambaModel(SingleStack):
    """The decoder."""

    config_class = MambaConfig
    base_model_prefix = "backbone"
    decoder = True
    stack_class = MambaLayers
    names = NameTable("""
        stack.embed.tokens                  embeddings
        stack.layers.{i}.attn.op.norm       layers.{i}.norm
        stack.layers.{i}.attn.op.into       layers.{i}.mixer.in_proj
        stack.layers.{i}.attn.op.conv       layers.{i}.mixer.conv1d
        stack.layers.{i}.attn.op.select     layers.{i}.mixer.x_proj
        stack.layers.{i}.attn.op.step       layers.{i}.mixer.dt_proj
        stack.layers.{i}.attn.op.decay_log  layers.{i}.mixer.A_log
        stack.layers.{i}.attn.op.skip       layers.{i}.mixer.D
        stack.layers.{i}.attn.op.out        layers.{i}.mixer.out_proj
        stack.norm                          norm_f
    """)

    @classmethod
    def spec(cls, config: MambaConfig) -> spec.Stack:
        norm = spec.Norm(config.layer_norm_epsilon, "rms")
        op = StateSpace(
            channels=config.intermediate_size,
            states=config.state_size,
            rank=config.time_step_rank,
            kernel=config.conv_kernel,
            act=activation(config.hidden_act),
            bias=config.use_bias,
            conv_bias=config.use_conv_bias,
            norm=norm,
            steps=TimeSteps(
                low=config.time_step_min,
                high=config.time_step_max,
                floor=config.time_step_floor,
                scale=config.time_step_scale,
                scheme=config.time_step_init_scheme,
            ),
            shrink=config.num_hidden_layers**-0.5 if config.rescale_prenorm_residual else 1.0,
        )
        return MambaStack(
            width=config.hidden_size,
            layers=(spec.Layer(attn=spec.Step(op)),) * config.num_hidden_layers,
            embed=spec.Embed(vocab=config.vocab_size),
            norm=norm,
            stream="fp32" if config.residual_in_fp32 else "weights",
        )

    def padding_row(self, name: str) -> int | None:
        return None

    def run(self, *args: Any, cache_params: Any = None, **inputs: Any) -> States:
        """As other decoders'; `cache_params` is another name of `past_key_values`."""
        if cache_params is not None:
            inputs["past_key_values"] = cache_params
        return super().run(*args, **inputs)


class MambaForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = MambaModel

    def result(self, states: States, **fields: Any) -> MambaOutput:
        return MambaOutput(**vars(super().result(states, **fields)))
