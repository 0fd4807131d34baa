"""LED's own: marked tokens, long texts in blocks, generation."""

import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError, ConfigError, LengthError
from enfold.models.led import FEW, LEDConfig, LEDForConditionalGeneration, LEDForQuestionAnswering, LEDModel
from tests.models.pairs import error, randomise
from tests.models.seq2seq_kin import LED

ENTRIES = LED["plain"] | {"max_encoder_position_embeddings": 256}
LENGTH = 90  # more than what is computed at once


def close(ours, theirs, tolerance: float = 1e-5) -> None:
    assert error(ours, theirs) <= tolerance


def gradients(model) -> dict:
    """Ours, under the checkpoint's names."""
    table = model.name_table()
    return {
        piece.theirs: p.grad for name, p in model.named_parameters() for piece in table.pieces(name, tuple(p.shape))
    }


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("led")
    theirs = transformers.LEDForConditionalGeneration(transformers.LEDConfig(**ENTRIES)).eval()
    randomise(theirs)
    theirs.save_pretrained(folder)
    return LEDForConditionalGeneration.from_pretrained(folder), theirs


def batch(length: int = LENGTH, marks: str = "some"):
    torch.manual_seed(length)
    ids, mask = torch.randint(3, 99, (3, length)), torch.ones(3, length, dtype=torch.long)
    for row, end in enumerate((length, length - 7, length // 2)):
        ids[row, end:], mask[row, end:] = 1, 0
    seen = torch.zeros_like(mask)
    seen[:, 0] = marks in ("first", "some")
    if marks == "some":
        seen[0, length // 2], seen[0, length - 1], seen[2, 5] = 1, 1, 1
    return {"input_ids": ids, "attention_mask": mask, "global_attention_mask": seen * mask}


@pytest.mark.parametrize("length", [12, LENGTH], ids=["short", "long"])
@pytest.mark.parametrize("marks", ["none", "first", "some"])
@torch.no_grad()
def test_marked_tokens(pair, length, marks):
    ours, _ = pair
    given = batch(length, marks) | {"decoder_input_ids": torch.randint(3, 99, (3, 6))}
    a, b = (model(**given, output_hidden_states=True) for model in pair)
    close(a.logits, b.logits)
    real = given["attention_mask"] != 0
    for ours_states, their_states in zip(a.encoder_hidden_states, b.encoder_hidden_states, strict=True):
        close(ours_states[real], their_states[real])
    dense = ours(**given, output_attentions=True)
    close(dense.logits, a.logits, 2e-6)
    for weights in dense.encoder_attentions:
        close(weights.sum(-1)[real[:, None].expand(-1, 4, -1)], torch.ones(int(real.sum()) * 4), 1e-5)
    single = {"input_ids": given["input_ids"], "attention_mask": real * (1 + given["global_attention_mask"])}
    again = ours(**single, decoder_input_ids=given["decoder_input_ids"])  # as a mask of 0, 1 and 2
    assert torch.equal(again.logits, a.logits)


def test_blocks_are_used_for_long_texts_only():
    window = LEDConfig(**ENTRIES).windows[-1]
    assert FEW * 2 * (window // 2 + 1) < LENGTH


@pytest.mark.parametrize("length", [12, LENGTH], ids=["short", "long"])
@pytest.mark.parametrize("marks", ["none", "some"])
def test_gradients(pair, tmp_path, length, marks):
    _, theirs = pair
    given = batch(length, marks) | {"labels": torch.randint(3, 99, (3, 6))}
    theirs.save_pretrained(tmp_path)
    found = LEDForConditionalGeneration.from_pretrained(tmp_path)
    wanted = type(theirs).from_pretrained(tmp_path, attn_implementation="eager")
    for model in (found, wanted):
        model(**given).loss.backward()
    given_by_name = gradients(found)
    # A key's bias has no gradient but rounding, which is measured by the largest of all.
    rounding = 1e-6 * max(float(p.grad.abs().max()) for p in wanted.parameters() if p.grad is not None)
    for name, parameter in wanted.named_parameters():
        if parameter.grad is not None:
            ours = given_by_name[name] if given_by_name[name] is not None else torch.zeros(())
            assert (ours - parameter.grad).abs().max() <= 5e-5 * parameter.grad.abs().max() + rounding, name
    found.zero_grad()
    found.train()
    found.gradient_checkpointing_enable()
    found(**given).loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in found.parameters() if p.grad is not None)


@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 3}], ids=str)
def test_generation(pair, options):
    ours, theirs = pair
    given = batch() | {"max_new_tokens": 12, **options}
    assert torch.equal(ours.generate(**given), theirs.generate(**given))
    unmarked = {name: value for name, value in given.items() if name != "global_attention_mask"}
    assert torch.equal(ours.generate(**unmarked), theirs.generate(**unmarked))


def test_long_sources_and_short_targets(pair):
    ours, _ = pair
    assert ours.max_positions() == LEDForQuestionAnswering(ours.config).max_positions() == 256
    with pytest.raises(LengthError, match="knows the 256 positions"):
        ours(input_ids=torch.full((1, 257), 5), decoder_input_ids=torch.full((1, 2), 5))
    with pytest.raises(LengthError, match="knows the 40 positions"):
        ours(input_ids=torch.full((1, 9), 5), decoder_input_ids=torch.full((1, 41), 5))


def test_refused(pair):
    for window in (3, 0, [4], [4, 4, 4]):
        with pytest.raises(ConfigError, match="an even number, 2 or more, or 2 of them"):
            LEDModel(LEDConfig(**{**ENTRIES, "attention_window": window}))
    given = batch() | {"decoder_input_ids": torch.full((3, 2), 5)}
    with pytest.raises(ArgumentError, match=r"global_attention_mask has shape \(3, 1\)"):
        pair[0](**given | {"global_attention_mask": torch.ones(3, 1)})
