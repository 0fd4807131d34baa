import pytest

from . import spm


@pytest.fixture(scope="session")
def spm_models():
    """kind → the bytes of a small sentencepiece model."""
    return {kind: spm.train(kind) for kind in spm.KINDS}
