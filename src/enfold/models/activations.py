"""Names that configurations use for activations → the core's."""

from enfold.base.errors import ConfigError
from enfold.nn.spec import Activation

NAMES: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


def activation(name: str) -> Activation:
    """The core's name of a configuration's activation.

    Raises:
        ConfigError: none of that name.
    """
    if name not in NAMES:
        raise ConfigError(f"activation {name!r} is unknown; known are {', '.join(NAMES)}")
    return NAMES[name]
