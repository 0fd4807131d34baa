"""Rotary positions as configurations write them, old (`rope_theta`, `rope_scaling`) and new (`rope_parameters`)."""

from enfold.base.errors import ConfigError, NotBuiltError
from enfold.models.config import PreTrainedConfig
from enfold.nn.spec import Rope


def rope(config: PreTrainedConfig, dim: int, *, default_base: float = 10000.0) -> Rope:
    """The core's rotary positions for heads of `dim` rotated dimensions.

    Raises:
        ConfigError: a scaling without the numbers it needs.
        NotBuiltError: a scaling that the core doesn't know.
    """
    entries = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    base = entries.get("rope_theta", config.get("rope_theta", default_base))
    kind = entries.get("rope_type", entries.get("type", "default"))
    partial = entries.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    try:
        match kind:
            case "default":
                scaling: tuple = ("default",)
            case "linear":
                scaling = ("linear", float(entries["factor"]))
            case "llama3":
                scaling = (
                    "llama3",
                    float(entries["factor"]),
                    float(entries["low_freq_factor"]),
                    float(entries["high_freq_factor"]),
                    int(entries["original_max_position_embeddings"]),
                )
            case _:
                raise NotBuiltError(f"rope scaling {kind!r} is not built yet; built are default, linear and llama3")
    except KeyError as error:
        raise ConfigError(
            f"rope scaling {kind!r} needs the entry {error} in config.json, and {entries} lacks it"
        ) from None
    return Rope(int(dim * partial), float(base), scaling)
