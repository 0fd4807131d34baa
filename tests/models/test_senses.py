"""What every model that reads images or sounds must do, beside the reference (rows: `sense_kin.py`)."""

import pytest
import torch
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

import enfold
from enfold.base.errors import ArgumentError
from enfold.models.registry import AUTO_TASKS, FAMILIES, class_by_name
from tests.models.pairs import error
from tests.models.sense_kin import (
    ONE_EACH,
    ROWS,
    Row,
    at_frames,
    frames,
    fresh,
    fresh_theirs,
    inputs,
    labels,
    pair,
    their_config,
)
from tests.models.test_families import by_their_names

every_row = pytest.mark.parametrize("row", ROWS, ids=str)
some_rows = pytest.mark.parametrize("row", ONE_EACH, ids=str)


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    assert error(ours, theirs) <= tolerance


def as_stored(theirs, what) -> dict[str, Tensor]:
    """`what(parameter)` of the reference's weights under the names that it saves."""
    values = {name: what(parameter) for name, parameter in theirs.named_parameters()}
    none = [name for name, value in values.items() if value is None]
    return revert_weight_conversion(theirs, {n: v for n, v in values.items() if n not in none}) | dict.fromkeys(none)


@every_row
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@torch.no_grad()
def test_same_answers_states_attentions_and_loss(row: Row, padded: bool):
    if padded and not row.hears:
        return
    both, given = pair(row), inputs(row, padded=padded)
    options = given | labels(row) | {"output_hidden_states": True, "output_attentions": True}
    ours, theirs = both.ours(**options), both.theirs(**options)
    mask = frames(row, given)
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        if name not in ("hidden_states", "attentions"):
            close(at_frames(ours[name], mask), at_frames(value, mask))
    for a, b in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        close(at_frames(a, mask), at_frames(b, mask))
    for a, b in zip(ours.attentions, theirs.attentions, strict=True):
        close(at_frames(a.transpose(1, 2), mask), at_frames(b.transpose(1, 2), mask))


@every_row
def test_what_we_save_they_load_and_back(row: Row, tmp_path):
    both = pair(row)
    both.ours.save_pretrained(tmp_path)
    loaded, report = type(both.theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    wanted, found = both.theirs.state_dict(), loaded.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    again, report = type(both.ours).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    mine = dict(both.ours.named_parameters())
    assert all(torch.equal(parameter, mine[name]) for name, parameter in again.named_parameters())
    assert again.num_parameters() == both.theirs.num_parameters()


@every_row
def test_gradients_and_a_step_of_training(row: Row):
    given = inputs(row, padded=row.hears) | labels(row)
    mask, ours, theirs = frames(row, given), fresh(row), fresh_theirs(row)
    for model in (ours, theirs):
        output = model(**given)
        loss = output["loss"] if "loss" in output else at_frames(output[0], mask).sin().sum()
        loss.backward()
    wanted = as_stored(theirs, lambda parameter: parameter.grad)
    found = by_their_names(ours, lambda parameter: parameter.grad)
    assert found.keys() == wanted.keys()
    rounding = 1e-6 * max(float(g.abs().max()) for g in wanted.values() if g is not None)
    for name, gradient in wanted.items():
        if gradient is None:
            assert found[name] is None or not found[name].any(), name
        else:
            assert (found[name] - gradient).abs().max() <= 5e-5 * gradient.abs().max() + rounding, name
    for model in (ours, theirs):
        torch.optim.SGD(model.parameters(), lr=0.01).step()
    with torch.no_grad():
        a, b = (model(**given) for model in (ours, theirs))
        name = "loss" if "loss" in b else next(iter(b))
        close(at_frames(a[name], mask), at_frames(b[name], mask), 5e-5)


@some_rows
@torch.no_grad()
def test_bfloat16_is_as_near_as_the_reference(row: Row):
    given = inputs(row)
    exact = pair(row).theirs(**given).logits
    name = next(iter(given))
    ours = fresh(row, dtype="bfloat16")(**given).logits
    theirs = fresh_theirs(row).bfloat16()(**{name: given[name].bfloat16()}).logits
    assert ours.dtype == torch.bfloat16
    distances = [(answer.float() - exact).square().mean().sqrt() for answer in (ours, theirs)]
    assert distances[0] <= 1.5 * distances[1] + 5e-3 * exact.abs().max()


@some_rows
def test_gradient_checkpointing_changes_no_gradient(row: Row):
    given, gradients = inputs(row, padded=row.hears) | labels(row), []
    for checkpointing in (False, True):
        model = fresh(row).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        torch.manual_seed(5)
        model(**given).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        if gradient is not None:
            close(gradients[1][name], gradient, 1e-6)


@some_rows
@torch.no_grad()
def test_dropout_is_active_in_training_only(row: Row):
    names = ("hidden_dropout_prob", "hidden_dropout")
    given = inputs(row)
    model = fresh(row, **dict.fromkeys([n for n in names if n in fresh(row).config.defaults], 0.5))
    close(model(**given).logits, pair(row).ours(**given).logits, 1e-6)
    model.train()
    assert not torch.equal(model(**given).logits, model(**given).logits)


@pytest.mark.parametrize("row", [row for row in ROWS if row.family != "hubert"], ids=str)
def test_fresh_weights_are_drawn_as_the_reference_draws_them(row: Row):
    torch.manual_seed(0)
    theirs = type(pair(row).theirs)(their_config(row))
    ours = class_by_name(row.head)(pair(row).ours.config)
    assert not ours.training
    assert ours.num_parameters() == theirs.num_parameters()
    found = by_their_names(ours, lambda parameter: parameter.detach())
    for name, b in as_stored(theirs, lambda parameter: parameter.detach()).items():
        a = found[name]
        # Theirs leaves the weight-normed convolution as torch draws it: what they draw goes to a copy.
        if torch.equal(a, b) or "parametrizations" in name:
            continue
        assert abs(a.mean() - b.mean()) < 6 * b.std() / b.numel() ** 0.5, name
        assert a.std() / b.std() == pytest.approx(1, abs=6 / b.numel() ** 0.5), name


@pytest.mark.parametrize("name", ["AutoModelForImageClassification", "AutoModelForCTC", "AutoModel"])
def test_auto_classes(name: str):
    for row in ROWS:
        if FAMILIES[row.family][2].get(AUTO_TASKS[name]) == row.head:
            assert type(getattr(enfold, name).from_pretrained(pair(row).folder)) is type(pair(row).ours)


@some_rows
def test_what_reads_no_tokens_says_so(row: Row):
    with pytest.raises(ArgumentError, match="no tokens"):
        pair(row).ours.get_input_embeddings()
    with pytest.raises(ArgumentError, match="no tokens"):
        pair(row).ours.base_model.get_input_embeddings()
    assert pair(row).ours.max_positions() is None


@some_rows
@torch.no_grad()
def test_tuples_on_request(row: Row):
    given = inputs(row)
    output = pair(row).ours(**given)
    assert torch.equal(pair(row).ours(**given, return_dict=False)[0], output[0])
