"""Native CPU kernels for inference, as functions of tensors.

Each function is a plain torch expression (written out in its docstring) that a native kernel computes when it can: CPU
tensors of fp32, bf16 or fp16 with contiguous rows, nothing that needs gradients, and no tracing, compiling, autocasting
or transforming under way. Otherwise torch computes it (`plain`), with equal results up to rounding. `ENFOLD_KERNELS=0`
turns the native kernels off, `ENFOLD_CPU` (baseline, avx2, avx512, avx512_vnni, avx512_bf16) picks the instruction set.
"""

from enfold.nn.kernels.attention import attend_decode, attend_packed
from enfold.nn.kernels.dispatch import available, use
from enfold.nn.kernels.memory import rope_store
from enfold.nn.kernels.products import linear, linear_int8
from enfold.nn.kernels.recurrent import selective_scan
from enfold.nn.kernels.rows import add, gated, layer_norm, rms_norm, swiglu

__all__ = [
    "add",
    "attend_decode",
    "attend_packed",
    "available",
    "gated",
    "layer_norm",
    "linear",
    "linear_int8",
    "rms_norm",
    "rope_store",
    "selective_scan",
    "swiglu",
    "use",
]
