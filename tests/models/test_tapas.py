"""TAPAS beside the reference: cells, aggregations, and every way to learn them."""

import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError, ConfigError
from enfold.models.tapas import TapasConfig, TapasForQuestionAnswering, TapasModel
from tests.models.pairs import error, randomise
from tests.models.test_families import close

SIZES = [3, 12, 12, 2, 12, 12, 5]
SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 30,
    "type_vocab_sizes": SIZES,
    "max_num_rows": 6,
    "max_num_columns": 4,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "attn_implementation": "eager",
}
WEAK = {"num_aggregation_labels": 4, "use_answer_as_supervision": True, "cell_selection_preference": 0.2}
WAYS = {
    "cells": {},
    "many columns": {"select_one_column": False, "positive_label_weight": 3.0},
    "empty": {"allow_empty_column_selection": True, "temperature": 0.5, "average_logits_per_cell": True},
    "known": {"num_aggregation_labels": 4, "aggregation_loss_weight": 0.3, "reset_position_index_per_cell": False},
    "weak": WEAK | {"huber_loss_delta": 0.7, "aggregation_temperature": 0.6, "answer_loss_importance": 0.4},
    "first order": WEAK | {"average_approximation_function": "first_order", "use_normalized_answer_loss": True},
    "second order": WEAK
    | {"average_approximation_function": "second_order", "huber_loss_delta": 2.0, "answer_loss_cutoff": 1.5},
    "cells unused": WEAK | {"huber_loss_delta": 1.0, "disable_per_token_loss": True, "cell_selection_preference": 0.99},
}


@pytest.fixture(params=WAYS)
def pair(request, tmp_path):
    """A way to learn, and both models of it."""
    torch.manual_seed(len(request.param))
    theirs = transformers.TapasForQuestionAnswering(transformers.TapasConfig(**SMALL, **WAYS[request.param])).eval()
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    ours, report = TapasForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    return request.param, ours, theirs


def table(padding: int = 0) -> dict[str, torch.Tensor]:
    """Three questions of 4 tokens over tables of 3 rows (more than there is room for in the last) and 3 columns."""
    torch.manual_seed(3)
    types = torch.zeros(3, 24, 7, dtype=torch.long)
    for i in range(4, 24):
        cell = (i - 4) // 2
        types[:, i, 0], types[:, i, 1], types[:, i, 2] = 1, cell % 3 + 1, cell // 3
        types[:, i, 4] = cell // 3
    types[2, :, 2] *= 3  # rows 3, 6 and 9 of six
    given = {
        "input_ids": torch.randint(1, 60, (3, 24)),
        "token_type_ids": types,
        "attention_mask": torch.ones(3, 24, dtype=torch.long),
    }
    if padding:
        given["attention_mask"][1, -padding:] = 0
        given["input_ids"][1, -padding:] = 0
        types[1, -padding:] = 0
    return given


def answers(way: str, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    rows, columns = given["token_type_ids"][..., 2], given["token_type_ids"][..., 1]
    wanted = {"labels": ((columns == 2) & (rows > 0) & (rows < 3)).long()}
    wanted["labels"][0, :] = 0  # nothing
    options = WAYS[way]
    if way == "many columns":
        wanted["labels"] = wanted["labels"].float()  # the reference takes no others here
    if options.get("use_answer_as_supervision"):
        numbers = torch.randn(3, 24) * 3
        numbers[rows == 0] = float("nan")
        wanted |= {
            "float_answer": torch.tensor([3.5, float("nan"), -1.0]),
            "numeric_values": numbers,
            "numeric_values_scale": torch.full((3, 24), 2.0),
        }
    elif options.get("num_aggregation_labels"):
        wanted["aggregation_labels"] = torch.tensor([1, 0, 3])
    return wanted


@pytest.mark.parametrize("padding", [0, 5])
def test_cells_aggregations_losses_and_gradients(pair, padding):
    way, ours, theirs = pair
    given = table(padding)
    in_table = (given["token_type_ids"][..., 2] > 0) & (given["attention_mask"] > 0)
    if way != "many columns":  # there the reference answers only with labels
        with torch.no_grad():
            a, b = ours(**given), theirs(**given)
        close(a.logits[in_table].sigmoid(), b.logits[in_table].sigmoid())
        close(a.logits[in_table], b.logits[in_table])
        assert (a.logits[given["attention_mask"] == 0] == -10000).all()
        if not padding:
            close(a.logits, b.logits)
        assert (a.logits_aggregation is None) == (b.logits_aggregation is None)
        if b.logits_aggregation is not None:
            close(a.logits_aggregation, b.logits_aggregation)
    given |= answers(way, given)
    a, b = ours(**given), theirs(**given)
    close(a.logits[in_table], b.logits[in_table])
    if padding and way == "empty":
        return  # padding counts into the column that stands for none, in the reference
    close(a.loss, b.loss)
    a.loss.backward()
    b.loss.backward()
    table_of_names = ours.name_table()
    wanted = dict(theirs.named_parameters())
    largest = max(float(p.grad.abs().max()) for p in wanted.values() if p.grad is not None)
    for name, parameter in ours.named_parameters():
        gradient = wanted[table_of_names.theirs(name)[0]].grad
        if gradient is None:
            assert parameter.grad is None or not parameter.grad.any(), name
        else:
            assert (parameter.grad - gradient).abs().max() <= 5e-5 * gradient.abs().max() + 1e-6 * largest, name


def test_positions_count_anew_in_every_cell(pair):
    _, ours, theirs = pair
    given = table()
    states = ours.base(**given, output_hidden_states=True)
    wanted = theirs.tapas(**given, output_hidden_states=True)
    for a, b in zip(states.hidden_states, wanted.hidden_states, strict=True):
        close(a, b)


def test_relaxed_draws_run():
    config = TapasConfig(**SMALL | WAYS["weak"], use_gumbel_for_cells=True, use_gumbel_for_aggregation=True)
    model = TapasForQuestionAnswering(config)
    given = table()
    loss = model(**given, **answers("weak", given)).loss
    assert loss.isfinite()
    assert error(loss, model(**given, **answers("weak", given)).loss) > 0


def test_fresh_cell_selection():
    zero = TapasForQuestionAnswering(TapasConfig(**SMALL, init_cell_selection_weights_to_zero=True))
    assert not zero.output_weights.any()
    drawn = TapasForQuestionAnswering(TapasConfig(**SMALL))
    assert drawn.output_weights.std() < 0.04
    assert drawn.output_weights.all()
    assert not drawn.output_bias


@torch.no_grad()
def test_what_is_missing_is_named():
    given = table()
    model = TapasForQuestionAnswering(TapasConfig(**SMALL | WAYS["known"]))
    wanted = answers("cells", given)
    with pytest.raises(ArgumentError, match="pass aggregation_labels"):
        model(**given, **wanted)
    model = TapasForQuestionAnswering(TapasConfig(**SMALL | WEAK))
    with pytest.raises(ArgumentError, match="needs float_answer, numeric_values"):
        model(**given, **wanted)
    with pytest.raises(ConfigError, match="huber_loss_delta is None"):
        model(**given, **answers("weak", given))
    with pytest.raises(ArgumentError, match="expected \\[batch, length, 7\\]"):
        TapasModel(TapasConfig(**SMALL))(given["input_ids"], token_type_ids=given["input_ids"])
    given["token_type_ids"][0, 0, 3] = 2
    with pytest.raises(ArgumentError, match="token_type_ids hold 2"):
        model(**given)
