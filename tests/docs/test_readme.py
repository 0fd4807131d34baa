"""Every example in the README runs with the output it shows, and every local link leads somewhere."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.weights
def test_readme_examples_print_what_they_show():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert results.attempted > 10
    assert results.failed == 0


@pytest.mark.weights
def test_examples_of_generation_print_what_they_show():
    results = doctest.testfile(str(ROOT / "docs" / "generation.md"), module_relative=False)
    assert results.attempted > 5
    assert results.failed == 0


def test_examples_of_datasets_print_what_they_show():
    results = doctest.testfile(str(ROOT / "docs" / "datasets.md"), module_relative=False)
    assert results.attempted > 5
    assert results.failed == 0


def test_examples_of_training_print_what_they_show(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results = doctest.testfile(str(ROOT / "docs" / "training.md"), module_relative=False)
    assert results.attempted > 30
    assert results.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which isn't there"
