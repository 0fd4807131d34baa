"""Rotary positions as configurations write them, old (`rope_theta`, `rope_scaling`) and new (`rope_parameters`)."""

import math
from typing import Any

from enfold.base.errors import ConfigError, NotBuiltError
from enfold.models.config import PreTrainedConfig
from enfold.nn import spec


def rope(
    config: PreTrainedConfig, dim: int, *, default_base: float = 10000.0, kind: str | None = None, partial: float = 1.0
) -> spec.Rope:
    """The core's rotary positions for heads of `dim` dimensions.

    Args:
        default_base: θ where the file is silent.
        kind: the kind of layer (`sliding_attention`), for files that give each its own entries.
        partial: the share of dimensions that turn, where the file is silent.

    Raises:
        ConfigError: a scaling without the numbers it needs.
        NotBuiltError: a scaling that the core doesn't know.
    """
    entries = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    if kind is not None and isinstance(entries.get(kind), dict):
        entries = entries[kind]
    base = entries.get("rope_theta", config.get("rope_theta", default_base))
    share = entries.get("partial_rotary_factor", config.get("partial_rotary_factor", partial))
    try:
        scaling = _scaling(config, entries)
    except KeyError as error:
        raise ConfigError(
            f"rope scaling {entries.get('rope_type', entries.get('type'))!r} needs the entry {error} in config.json, "
            f"and {entries} lacks it"
        ) from None
    if int(dim * share) % 2:
        raise ConfigError(
            f"{share} of {dim} dimensions are {int(dim * share)}, and rotary positions turn them in pairs"
        )
    return spec.Rope(int(dim * share), float(base), scaling)


def _scaling(config: PreTrainedConfig, entries: dict[str, Any]) -> spec.Scaling | None:
    def original() -> int:
        found = entries.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
        return int(found or config.max_position_embeddings)

    match kind := entries.get("rope_type", entries.get("type", "default")):
        case "default":
            return None
        case "linear":
            return spec.LinearScaling(float(entries["factor"]))
        case "dynamic":
            return spec.DynamicScaling(float(entries["factor"]), int(config.max_position_embeddings))
        case "llama3":
            low, high = float(entries["low_freq_factor"]), float(entries["high_freq_factor"])
            return spec.Llama3Scaling(
                float(entries["factor"]), low, high, int(entries["original_max_position_embeddings"])
            )
        case "yarn":
            factor = float(entries.get("factor") or config.max_position_embeddings / original())
            return spec.YarnScaling(
                factor,
                original(),
                magnitude=_magnitude(entries, factor),
                fast=float(entries.get("beta_fast") or 32),
                slow=float(entries.get("beta_slow") or 1),
                whole=bool(entries.get("truncate", True)),
            )
        case "longrope" | "su":
            factor = float(entries.get("factor") or config.max_position_embeddings / original())
            magnitude = entries.get("attention_factor")
            if magnitude is None:
                magnitude = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original()))
            short, long = (tuple(map(float, entries[name])) for name in ("short_factor", "long_factor"))
            return spec.LongScaling(short, long, original(), float(magnitude))
    raise NotBuiltError(
        f"rope scaling {kind!r} is not built; built are default, linear, dynamic, llama3, yarn and longrope. "
        "Load the model without rope_scaling if its short-context behaviour is enough."
    )


def _magnitude(entries: dict[str, Any], factor: float) -> float:
    """YaRN's factor on cosines and sines (Peng et al. 2023, eq. 22; the ratio of two in DeepSeek-V2)."""
    if entries.get("attention_factor") is not None:
        return float(entries["attention_factor"])

    above, below = entries.get("mscale"), entries.get("mscale_all_dim")
    if above and below:
        return yarn_magnitude(factor, above) / yarn_magnitude(factor, below)
    return yarn_magnitude(factor, 1.0)


def yarn_magnitude(factor: float, weight: float) -> float:
    """`0.1 · weight · ln(factor) + 1`, by which YaRN makes products of queries and keys larger."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0
