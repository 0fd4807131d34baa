"""What every family must do, beside the reference library on checkpoints that it wrote (rows: `rows.py`)."""

import copy

import pytest
import torch
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.nn.cache import Cache, FixedCache
from tests.models import bert_kin, moe_kin, seq2seq_kin
from tests.models.pairs import (
    ANSWERS,
    ATTENTIONS,
    HIDDEN,
    at_tokens,
    error,
    fresh,
    fresh_theirs,
    inputs,
    labels,
    ours_class,
    pair,
    right_mask,
    theirs_class,
)
from tests.models.rows import DECODERS, ONE_EACH, ROWS, Row

every_row = pytest.mark.parametrize("row", ROWS, ids=str)
every_decoder = pytest.mark.parametrize("row", DECODERS, ids=str)
every_family = pytest.mark.parametrize("row", ONE_EACH, ids=str)
# Their span heads count scores at padding into the loss.
LOSS_SEES_PADDING = ("span", "seq2seq-span")


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    assert error(ours, theirs) <= tolerance


def as_listed(row: Row, name: str, ours: Tensor, theirs: Tensor) -> Tensor:
    """LED's reference lists the weights of an encoder's token by distance, within its window; here all [T, T] stand."""
    if row.family != "led" or name != "encoder_attentions":
        return ours
    half, length = theirs.shape[-1] // 2, ours.shape[-1]
    place = torch.arange(length)[:, None] + torch.arange(-half, half + 1)
    listed = ours.gather(-1, place.clamp(0, length - 1).expand(*ours.shape[:2], -1, -1))
    return listed * ((place >= 0) & (place < length))


@every_row
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@torch.no_grad()
def test_same_answers_states_attentions_and_loss(row: Row, padded: bool):
    both = pair(row)
    given = inputs(row, right_mask() if padded else None)
    options = given | labels(row, given) | {"output_hidden_states": True}
    options["output_attentions"] = not row.entries.get("alibi")  # theirs then takes a path that counts ALiBi twice
    ours, theirs = both.ours(**options), both.theirs(**options)
    answers = [name for name in ANSWERS if name in theirs]
    assert answers == [name for name in ANSWERS if name in ours]
    for name in answers:
        close(at_tokens(name, ours[name], given), at_tokens(name, theirs[name], given))
    for name in HIDDEN:
        assert len(ours.get(name, ())) == len(theirs.get(name, ()))
        for a, b in zip(ours.get(name, ()), theirs.get(name, ()), strict=True):
            b = b.reshape(a.shape)  # with several choices theirs unflattens the last state only
            close(at_tokens(name, a, given), at_tokens(name, b, given))
    for name in ATTENTIONS:
        assert len(ours.get(name) or ()) == len(theirs.get(name) or ())
        for a, b in zip(ours.get(name) or (), theirs.get(name) or (), strict=True):
            a = as_listed(row, name, a, b)
            close(at_tokens(name, a.transpose(1, 2), given), at_tokens(name, b.transpose(1, 2), given))
    assert ("loss" in ours) == ("loss" in theirs)
    if "loss" in theirs and not (padded and row.task in LOSS_SEES_PADDING):
        close(ours.loss, theirs.loss)


@pytest.mark.parametrize("row", [row for row in ROWS if row.task == "seq2seq-lm"], ids=str)
@torch.no_grad()
def test_labels_alone_make_the_decoder_inputs(row: Row):
    both, given = pair(row), inputs(row, right_mask())
    del given["decoder_input_ids"]
    given |= labels(row, given)
    ours, theirs = both.ours(**given), both.theirs(**given)
    close(ours.logits, theirs.logits)
    close(ours.loss, theirs.loss)


@every_row
@torch.no_grad()
def test_bfloat16_is_as_near_as_the_reference(row: Row):
    given = inputs(row, right_mask())
    exact = pair(row).theirs(**given)
    ours, theirs = fresh(row, dtype="bfloat16"), fresh_theirs(row, dtype=torch.bfloat16)
    if "encoder_hidden_states" in given:
        given["encoder_hidden_states"] = given["encoder_hidden_states"].bfloat16()
    ours, theirs = ours(**given), theirs(**given)
    for name in ANSWERS:
        if name in exact:
            assert ours[name].dtype == torch.bfloat16
            wanted, theirs_at, ours_at = (at_tokens(name, x[name], given).float() for x in (exact, theirs, ours))
            finite = wanted.isfinite()
            distance = (ours_at - wanted)[finite].square().mean().sqrt()
            allowed = (theirs_at - wanted)[finite].square().mean().sqrt()
            times = 3 if row.family in moe_kin.CONFIGURATIONS else 1.5  # a rounded router may choose another expert
            assert distance <= times * allowed + 5e-3 * wanted[finite].abs().max()


MASKS = {
    "right": right_mask(),
    "left": right_mask().flip(1),
    "both sides": torch.tensor([[0, 0, 1, 1, 1, 1, 1, 0, 0], [1] * 9, [0, 1, 1, 1, 0, 0, 0, 0, 0]]),
    "holes": torch.tensor([[1, 0, 1, 1, 0, 0, 1, 1, 1], [1, 1, 0, 1, 1, 0, 1, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1, 1]]),
}


@pytest.mark.parametrize("row", [row for row in ROWS if row.seq2seq], ids=str)
@torch.no_grad()
def test_a_source_encoded_before(row: Row):
    """By either library: what their encoder returns is read by index, as a tuple's first."""
    both, given = pair(row), inputs(row, right_mask())
    wanted = both.ours(**given)
    states = wanted.encoder_last_hidden_state
    again = both.ours(**given, encoder_outputs=(states,))
    assert torch.equal(again[0], wanted[0])
    encoder = both.theirs.get_encoder()
    encoded = encoder(given["input_ids"], attention_mask=given["attention_mask"])
    close(both.ours(**given, encoder_outputs=encoded)[0], wanted[0])


@every_family
@pytest.mark.parametrize("kind", MASKS)
@torch.no_grad()
def test_any_mask_gives_the_reference_s_states(row: Row, kind: str):
    if kind == "holes" and (row.recurs or row.windowed):
        return  # a window counts tokens here, and in the reference the padding between them; its states decay there
    both, given = pair(row), inputs(row, MASKS[kind])
    ours, theirs = (m(**given, output_hidden_states=True, output_attentions=True) for m in (both.ours, both.theirs))
    close(at_tokens("logits", ours.logits, given), at_tokens("logits", theirs.logits, given))
    for name in (*HIDDEN, *ATTENTIONS):
        for a, b in zip(ours.get(name) or (), theirs.get(name) or (), strict=True):
            if name in ATTENTIONS:
                a, b = as_listed(row, name, a, b).transpose(1, 2), b.transpose(1, 2)
            close(at_tokens(name, a, given), at_tokens(name, b, given))


BY_COLUMN = [r for r in ROWS if r.task in ("base", "masked-lm", "causal-lm", "token") and not r.counts_tokens]


@pytest.mark.parametrize("row", BY_COLUMN, ids=str)
@pytest.mark.parametrize("side", ["right", "left"])
@torch.no_grad()
def test_padding_changes_nothing(row: Row, side: str):
    model, mask = pair(row).ours, MASKS[side]
    given = inputs(row, mask)
    together = model(**given)[0]
    for i, keep in enumerate(mask.bool()):
        # T5 has no positions, and RoBERTa counts tokens, not columns.
        columns = row.family not in (*seq2seq_kin.NO_COLUMNS, *bert_kin.COUNTS_TOKENS)
        columns = columns and row.entries.get("position_biased_input", True) and (row.placed or row.seq2seq)
        positions = {"position_ids": torch.arange(9)[None, keep]} if columns else {}
        alone = model(input_ids=given["input_ids"][i : i + 1, keep], **positions)[0]
        close(together[i : i + 1, keep], alone)
    assert not together[mask == 0].any()


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "choice" not in row.task and row.task != "double-heads"], ids=str
)
@pytest.mark.parametrize("empty", [0, 2])
@torch.no_grad()
def test_a_row_of_nothing_but_padding_disturbs_no_other(row: Row, empty: int):
    model, mask = pair(row).ours, right_mask()
    given = inputs(row, mask)
    kept = [i for i in range(3) if i != empty]
    alone = model(**{name: value[kept] for name, value in given.items()})
    mask[empty] = 0
    together = model(**given)
    for name in ANSWERS:
        if name in together:
            close(together[name][kept].nan_to_num(neginf=0), alone[name].nan_to_num(neginf=0))
            assert not together[name].isnan().any()
    mask[:] = 0
    assert not model(**given)[0].isnan().any()
    with torch.enable_grad():
        assert not model(**given)[0].isnan().any()


# Caches


@every_decoder
@pytest.mark.parametrize("make", [Cache, lambda: FixedCache(16)], ids=["growing", "fixed"])
@pytest.mark.parametrize("side", ["full", "right", "left", "holes"])
@torch.no_grad()
def test_cached_equals_uncached(row: Row, make, side: str):
    model = pair(row).ours
    given = inputs(row, None if side == "full" else MASKS[side])
    decoder = "decoder_" if row.seq2seq else ""
    ids, mask = given.pop(f"{decoder}input_ids"), given.pop("attention_mask", None)
    if decoder:  # the mask is the source's; the target is padded only here
        given["attention_mask"] = mask
        mask = None if mask is None else mask[:, : ids.shape[1]]
    name = f"{decoder}attention_mask"
    if row.family in seq2seq_kin.NO_COLUMNS and side == "holes":
        cache = model(**given, decoder_input_ids=ids[:, :3], past_key_values=make()).past_key_values
        with pytest.raises(NotBuiltError, match="use_cache=False"):
            model(**given, decoder_input_ids=ids[:, 3:], decoder_attention_mask=mask, past_key_values=cache)
        return
    whole = model(**{**given, f"{decoder}input_ids": ids}, **({} if mask is None else {name: mask})).logits
    cache, columns, parts = make(), ids.shape[1], []
    for start, end in [(0, 3), (3, 5), *((i, i + 1) for i in range(5, columns))]:
        step = {f"{decoder}input_ids": ids[:, start:end], "past_key_values": cache}
        if mask is not None:
            step[name] = mask[:, :end]
        parts.append(model(**given, **step).logits)
        assert cache.get_seq_length() == end
    close(torch.cat(parts, dim=1), whole)


@every_decoder
@torch.no_grad()
def test_the_cache_continues_as_the_reference_s(row: Row):
    if row.recurs:
        return  # several tokens more than it has seen make the reference begin a new state
    both, given = pair(row), inputs(row)
    name = "decoder_input_ids" if row.seq2seq else "input_ids"
    ids = given.pop(name)
    results = []
    for model in (both.ours, both.theirs):
        first = model(**given, **{name: ids[:, :4]}, use_cache=True)
        results.append(model(**given, **{name: ids[:, 4:]}, past_key_values=first.past_key_values).logits)
    close(*results)


@every_decoder
@torch.no_grad()
def test_rows_of_a_cache_can_be_selected_and_cropped(row: Row):
    model, given = pair(row).ours, inputs(row)
    name = "decoder_input_ids" if row.seq2seq else "input_ids"
    ids = given.pop(name)
    whole = model(**given, **{name: ids}).logits
    cache = model(**given, **{name: ids}, use_cache=True).past_key_values
    if row.recurs:
        with pytest.raises(ArgumentError, match="no token can be taken back"):
            cache.crop(4)
        cache = model(**given, **{name: ids[:, :4]}, use_cache=True).past_key_values
    cache.crop(4)
    cache.reorder_cache(torch.tensor([2, 0, 0]))
    given = {key: value[[2, 0, 0]] for key, value in given.items()}
    again = model(**given, **{name: ids[[2, 0, 0], 4:]}, past_key_values=cache).logits
    close(again, whole[[2, 0, 0], 4:])


# Files


@every_row
def test_what_we_save_they_load_bit_for_bit(row: Row, tmp_path):
    both = pair(row)
    both.ours.save_pretrained(tmp_path)
    loaded, report = theirs_class(row).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    wanted = both.theirs.state_dict()
    found = loaded.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype


@every_row
def test_what_they_save_we_load_and_save_again(row: Row, tmp_path):
    both = pair(row)
    loaded, report = ours_class(row).from_pretrained(both.folder, output_loading_info=True)
    assert not any(report.values()), report
    loaded.save_pretrained(tmp_path)
    again = ours_class(row).from_pretrained(tmp_path)
    for (name, a), (other, b) in zip(both.ours.named_parameters(), again.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a, b)
    assert again.num_parameters() == both.theirs.num_parameters()


# Training


def stored_name(theirs, name: str) -> str:
    """What a parameter of the reference is saved as: for a tied one its source, whichever the model lists first."""
    tied = theirs._tied_weights_keys or {}
    return tied.get(name, name) if theirs.config.tie_word_embeddings else name


def by_their_names(model, what) -> dict[str, Tensor]:
    """`what(parameter)` of every weight of ours under its checkpoint name and in its storage."""
    from enfold.weights import names

    table, found = model.name_table(), {}
    for name, parameter in model.named_parameters():
        value = what(parameter)
        for piece in table.pieces(name, tuple(parameter.shape)):
            found[piece.theirs] = None if value is None else names.as_stored(value[piece.index], piece.storage)
    return found


def as_stored(theirs, what) -> dict[str, Tensor]:
    """The same of the reference's model, whose experts it saves one by one."""
    values = {stored_name(theirs, name): what(parameter) for name, parameter in theirs.named_parameters()}
    present = {name: value for name, value in values.items() if value is not None}
    return dict.fromkeys(values.keys() - present.keys()) | revert_weight_conversion(theirs, present)


@every_row
def test_gradients_and_a_step_of_training(row: Row):
    given = inputs(row, None if row.task in LOSS_SEES_PADDING else right_mask())
    pad = given["input_ids"].new_tensor(row.entries.get("pad_token_id") or 0)
    given["input_ids"][..., 1] = pad  # a padding token that isn't masked: its embedding learns nothing
    given |= labels(row, given)
    ours, theirs = fresh(row), fresh_theirs(row)
    for model in (ours, theirs):
        output = model(**given)
        loss = output["loss"] if "loss" in output else output[0].sin().sum()
        if "attention_mask" in given and "loss" not in output and not row.seq2seq:
            loss = output[0][given["attention_mask"] != 0].sin().sum()
        if "mc_loss" in output:
            loss = loss + output["mc_loss"]
        loss.backward()
    wanted = as_stored(theirs, lambda parameter: parameter.grad)
    found = by_their_names(ours, lambda parameter: parameter.grad)
    assert found.keys() == wanted.keys()
    # Some gradients are zero but for rounding (that of a key's bias), so rounding is measured by the largest of all.
    rounding = 1e-6 * max(float(g.abs().max()) for g in wanted.values() if g is not None)
    for name, gradient in wanted.items():
        if gradient is None:
            assert found[name] is None or not found[name].any(), name
        else:
            assert (found[name] - gradient).abs().max() <= 5e-5 * gradient.abs().max() + rounding, name
    for model in (ours, theirs):
        torch.optim.SGD(model.parameters(), lr=0.1).step()
    stepped = by_their_names(ours, lambda parameter: parameter.detach())
    for name, parameter in as_stored(theirs, lambda parameter: parameter.detach()).items():
        assert error(stepped[name], parameter) <= 1e-5, name
    with torch.no_grad():  # the step is seen by what runs without gradients, too
        ours_after, theirs_after = ours(**given), theirs(**given)
        answer = next(name for name in ANSWERS if name in theirs_after)
        close(at_tokens(answer, ours_after[answer], given), at_tokens(answer, theirs_after[answer], given), 5e-5)


@every_family
def test_gradient_checkpointing_changes_no_gradient(row: Row):
    given = inputs(row, right_mask())
    given |= labels(row, given)
    gradients = []
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


@every_family
def test_dropout_is_active_in_training_only(row: Row):
    given = inputs(row, right_mask())
    rates = [n for n in ("attention_dropout", "attention_probs_dropout_prob") if n in fresh(row).config.defaults]
    if not rates and row.recurs:
        return
    model = fresh(row, **dict.fromkeys(rates, 0.5))
    assert not model.training
    with torch.no_grad():
        assert torch.equal(model(**given).logits, model(**given).logits)
        model.train()
        assert not torch.equal(model(**given).logits, model(**given).logits)
        model.eval()
        close(model(**given).logits, pair(row).ours(**given).logits, 1e-6)


# Fresh models


def their_names(model) -> dict[str, Tensor]:
    return by_their_names(model, lambda parameter: parameter.detach())


@every_family
def test_fresh_weights_are_drawn_as_the_reference_draws_them(row: Row):
    torch.manual_seed(0)
    config = copy.deepcopy(pair(row).theirs.config)
    theirs = theirs_class(row)(config)
    ours = ours_class(row)(pair(row).ours.config)
    found = their_names(ours)
    for name, b in as_stored(theirs, lambda parameter: parameter.detach()).items():
        a = found[name]
        assert a.shape == b.shape
        if torch.equal(a, b):
            continue  # biases zero, norms one, positions computed
        assert abs(a.mean() - b.mean()) < 6 * b.std() / b.numel() ** 0.5, name
        assert a.std() / b.std() == pytest.approx(1, abs=5 / b.numel() ** 0.5), name
        assert torch.equal((a == 0).all(-1), (b == 0).all(-1)), name  # padding rows


@every_row
def test_a_model_from_a_configuration_has_the_reference_s_size(row: Row):
    ours = ours_class(row)(type(pair(row).ours.config)(**row.entries))
    assert ours.num_parameters() == pair(row).theirs.num_parameters()
    assert not ours.training


# Ways of calling


@every_row
@torch.no_grad()
def test_tuples_on_request(row: Row):
    both, given = pair(row), inputs(row)
    output = both.ours(**given)
    values = both.ours(**given, return_dict=False)
    assert isinstance(values, tuple)
    assert len(values) == len(output)
    theirs = both.theirs(**given, return_dict=False)
    close(values[0], theirs[0])
    assert torch.equal(output[0], values[0])
    assert list(output) == list(output.keys())


@every_family
@torch.no_grad()
def test_vectors_in_place_of_ids(row: Row):
    both, given = pair(row), inputs(row, right_mask())
    wanted = both.ours(**given).logits
    vectors = both.ours.get_input_embeddings()(given.pop("input_ids"))
    close(both.ours(**given, inputs_embeds=vectors).logits, wanted, 1e-6)


@pytest.mark.parametrize("row", [row for row in ONE_EACH if row.placed], ids=str)
@torch.no_grad()
def test_positions_given_by_the_caller(row: Row):
    if row.family == "bloom":
        return  # it has none, and theirs ignores them
    both, given = pair(row), inputs(row, right_mask())
    for positions in (torch.randint(0, 20, (3, 9)), torch.arange(5, 14)[None]):
        ours, theirs = (m(**given, position_ids=positions).logits for m in (both.ours, both.theirs))
        close(at_tokens("logits", ours, given), at_tokens("logits", theirs, given))


@pytest.mark.parametrize("row", [r for r in ROWS if r.head in ("BertModel", "GPT2Model", "GPT2LMHeadModel")], ids=str)
@torch.no_grad()
def test_token_types(row: Row):
    both, given = pair(row), inputs(row, right_mask())
    types = row.entries.get("type_vocab_size", 2)
    given["token_type_ids"] = torch.randint(0, types, (3, 9))
    ours, theirs = both.ours(**given)[0], both.theirs(**given)[0]
    close(at_tokens("logits", ours, given), at_tokens("logits", theirs, given))


@pytest.mark.parametrize("row", [row for row in DECODERS if row.task == "causal-lm"], ids=str)
@torch.no_grad()
def test_only_the_last_columns_of_the_logits(row: Row):
    model, given = pair(row).ours, inputs(row, right_mask())
    whole = model(**given).logits
    for keep in (1, 4):
        close(model(**given, logits_to_keep=keep).logits, whole[:, -keep:])
