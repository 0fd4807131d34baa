"""Which instruction set the kernels use, and when a kernel may run in place of torch."""

import os

import torch
from torch import Tensor
from torch._C._functorch import maybe_current_level as _transforming
from torch.autograd import forward_ad
from torch.nn import Parameter

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels

# Elements from which torch computes a sum with more than one thread (at::internal::GRAIN_SIZE).
PARALLEL_IN_TORCH = 32768

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}

# Rows up to which the native linear is faster than torch's, measured by benchmarks/kernels.py. fp32 with AVX-512 is at
# the processor's pace for any number of rows; torch has no fast fp16 product at all.
_always = 1 << 60
_worthwhile = {
    "avx512_bf16": {torch.float32: _always, torch.bfloat16: 32, torch.float16: _always},
    "avx512_vnni": {torch.float32: _always, torch.bfloat16: 8, torch.float16: _always},
    "avx512": {torch.float32: _always, torch.bfloat16: 8, torch.float16: _always},
    "avx2": {torch.float32: 32, torch.bfloat16: 8, torch.float16: _always},
    "baseline": {torch.float32: 0, torch.bfloat16: 0, torch.float16: 0},
}
ROWS: dict[torch.dtype, int] = {}
_enabled = os.environ.get("ENFOLD_KERNELS", "1") != "0"

# Looked up once: these checks run on every call, and a decoding step has hundreds.
_grad_enabled = torch.is_grad_enabled
compiling = torch.compiler.is_compiling
_tracing = torch._C._is_tracing
_modes = torch._C._len_torch_dispatch_stack
_autocast = torch._C._is_any_autocast_enabled
threads = torch.get_num_threads


def available() -> str | None:
    """The instruction set of the native kernels in use, or None when torch computes everything."""
    return _kernels.level() if _enabled else None


def use(level: str | None) -> None:
    """Choose the kernels' instruction set for the whole process; None: the best that this processor runs.

    Raises:
        ArgumentError: a name that isn't known, or that this processor can't run.
    """
    try:
        _kernels.use(level or "")
    except ValueError as error:
        raise ArgumentError(f"ENFOLD_CPU or use({level!r}): {error}") from None
    ROWS.update(_worthwhile[_kernels.level()])


use(os.environ.get("ENFOLD_CPU"))


def native(*tensors: Tensor | None) -> bool:
    """Whether a kernel may read these tensors' memory in place of torch."""
    if (
        not _enabled
        or compiling()
        or _tracing()
        or _modes()
        or _transforming() is not None
        or forward_ad._current_level >= 0
        or _autocast()
    ):
        return False
    grad = _grad_enabled()
    for tensor in tensors:
        if tensor is None:
            continue
        kind = type(tensor)
        if (kind is not Tensor and kind is not Parameter) or not tensor.is_cpu or (grad and tensor.requires_grad):
            return False
    return True
