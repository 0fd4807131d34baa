"""Every instruction set that this processor runs, and which kernels ran."""

import functools

import pytest

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels, kernels
from enfold.nn.kernels import dispatch
from tests.nn.kernels.exact import DTYPES


def levels():
    found = []
    for name in ("baseline", "avx2", "avx512", "avx512_bf16"):
        try:
            kernels.use(name)
        except ArgumentError:
            continue
        found.append(name)
    kernels.use(None)
    return found


@pytest.fixture(params=levels())
def level(request, monkeypatch):
    kernels.use(request.param)
    for dtype in DTYPES:  # every number of rows runs natively here, whatever is fastest
        monkeypatch.setitem(dispatch.ROWS, dtype, 1 << 60)
    yield request.param
    kernels.use(None)


@pytest.fixture
def native(monkeypatch):
    """Names of the kernels that ran, so that a test can't pass on the fallback by accident."""
    called = []
    for name in (
        "linear",
        "attend_decode",
        "attend_packed",
        "add",
        "rms_norm",
        "layer_norm",
        "gated",
        "rope_store",
        "selective_scan",
    ):
        monkeypatch.setattr(_kernels, name, functools.partial(watch, called, name, getattr(_kernels, name)))
    return called


def watch(called, name, kernel, *args):
    called.append(name)
    return kernel(*args)
