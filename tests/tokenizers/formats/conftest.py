import pytest

from . import ranks, spm


@pytest.fixture(scope="session")
def spm_models():
    """kind → the bytes of a small sentencepiece model."""
    return {kind: spm.train(kind) for kind in spm.KINDS}


@pytest.fixture(scope="session")
def small_ranks():
    """token → rank of a small byte-level vocabulary."""
    return ranks.train()
