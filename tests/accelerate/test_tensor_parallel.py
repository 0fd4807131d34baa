"""Models split over two processes, beside whole ones."""

import pytest
import torch

from enfold.nn.split import Cut
from tests.accelerate import launching


def test_every_family_split_in_two_answers_as_a_whole():
    assert launching.run(2, "tests.accelerate.splitting:families") == ["done\n"] * 2


def test_a_split_model_learns_and_writes_as_a_whole():
    assert launching.run(2, "tests.accelerate.splitting:training") == ["done\n"] * 2


def test_each_process_reads_its_part_and_one_writes_all(tmp_path):
    assert launching.run(2, "tests.accelerate.splitting:loading", str(tmp_path)) == ["done\n"] * 2


def test_copies_of_split_models_read_different_data_and_learn_as_one(tmp_path):
    assert launching.run(4, "tests.accelerate.splitting:composed", str(tmp_path)) == ["done\n"] * 4


def test_a_trainer_over_a_split_model(tmp_path):
    assert launching.run(2, "tests.accelerate.splitting:trainer", str(tmp_path)) == ["done\n"] * 2


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_cuts_put_together_are_the_whole(ranks):
    whole = torch.arange(8 * 3 + 8 * 2 + 8).float()[:, None] * torch.ones(2)
    cut = Cut(((8, 3), (8, 2), (8, 1)))
    gathered = torch.cat([cut.take(whole, rank, ranks) for rank in range(ranks)])
    assert torch.equal(cut.ordered(gathered, ranks), whole)
    assert (cut.fits(ranks), cut.shared(ranks)) == (True, False)


def test_few_heads_are_repeated():
    cut = Cut(((2, 4),))
    assert (cut.fits(8), cut.shared(8), cut.fits(3)) == (True, True, False)
    assert [cut.ranges(rank, 8)[0] for rank in (0, 3, 4, 7)] == [(0, 4), (0, 4), (4, 8), (4, 8)]
