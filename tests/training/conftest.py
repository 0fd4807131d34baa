import pytest

from tests.training import little


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    """A saved BERT with three classes."""
    return little.classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="session")
def writer(tmp_path_factory):
    """A saved GPT-2."""
    return little.writer(tmp_path_factory.mktemp("writer"))
