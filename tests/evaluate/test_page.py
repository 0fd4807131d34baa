"""Each example on the page of scores prints what it shows, and every metric has one."""

import doctest
import re
from pathlib import Path

import pytest

from enfold.evaluate import metrics, registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluate.md"


@pytest.mark.weights
def test_every_example_prints_what_it_shows():
    results = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert results.attempted > 70
    assert results.failed == 0


def test_every_metric_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    for row in registry.ROWS.values():
        shown = row.where.rpartition(":")[2] if ":" in row.where else row.name
        assert re.search(rf'metrics\.{shown}\(|load\("{row.name}"', text), row.name
    for name in metrics._WHERE:
        assert f"metrics.{name}(" in text or name in ("super_glue", "data_perplexity"), name
