"""Texts shared by two processes, beside one."""

from tests.accelerate import launching


def test_shared_texts_give_the_losses_and_gradients_of_whole_ones():
    assert launching.run(2, "tests.accelerate.sharing:texts") == ["done\n"] * 2
