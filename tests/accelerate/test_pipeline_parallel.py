"""Layers on two processes, beside a whole model."""

from tests.accelerate import launching


def test_stages_learn_as_a_whole_model():
    assert launching.run(2, "tests.accelerate.stages:stages") == ["done\n"] * 2
