"""Models whose matrix products run in a narrower type."""

from typing import Any

import torch
from torch import Tensor, nn

from enfold.accelerate.operations import nested


class Autocast:
    """Runs a module's forward under autocast, and gives its answers back in fp32.

    Args:
        module: gets the hooks; nothing happens to one that has them already.
        device: the kind, such as "cpu".
        dtype: bf16 or fp16.
    """

    def __init__(self, module: nn.Module, device: str, dtype: torch.dtype):
        self.device, self.dtype = device, dtype
        self.entered: list[Any] = []
        if any(isinstance(getattr(hook, "__self__", None), Autocast) for hook in module._forward_pre_hooks.values()):
            return
        module.register_forward_pre_hook(self._enter, prepend=True)
        module.register_forward_hook(self._leave, always_call=True)

    def _enter(self, module: nn.Module, args: Any) -> None:
        context = torch.autocast(self.device, dtype=self.dtype)
        context.__enter__()
        self.entered.append(context)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        self.entered.pop().__exit__(None, None, None)
        return nested(_widened, output)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
