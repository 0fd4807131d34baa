"""How near to float64 a result must be."""

import torch

EPS = {torch.float32: 2e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}
DTYPES = list(EPS)


def close(ours, exact, dtype, scale=None):
    """Within rounding of the exact value; `scale` is what was added up on the way."""
    scale = exact.abs() if scale is None else scale
    error = (ours.double() - exact).abs()
    assert (error <= EPS[dtype] * (scale + exact.abs()) + 1e-7).all(), (error / (scale + 1e-30)).max()
