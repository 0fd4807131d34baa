"""What is hidden of a sound, where it is padded, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from enfold import AutoModelForAudioClassification, AutoModelForCTC, Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2Model
from enfold.base.errors import ArgumentError, ConfigError, NotBuiltError
from enfold.models.speech import spans
from tests.models.pairs import error
from tests.models.sense_kin import LENGTHS, ROWS, SPEECH, Row, frames, fresh, fresh_theirs, inputs, labels, pair

BASES = [row for row in ROWS if row.hears and row.task == "base"]
CTC = next(row for row in ROWS if row.head == "Wav2Vec2ForCTC" and row.variant == "stable")


@pytest.mark.parametrize("row", [row for row in BASES if row.variant != "unmasked"], ids=str)
@torch.no_grad()
def test_frames_that_a_caller_hides(row: Row):
    given = inputs(row, padded=True)
    mask = frames(row, given)
    torch.manual_seed(1)
    chosen = (torch.rand(mask.shape) < 0.3) & mask
    ours, theirs = (model(**given, mask_time_indices=chosen)[0] for model in (pair(row).ours, pair(row).theirs))
    assert error(ours[mask], theirs[mask]) <= 1e-5
    assert error(ours[mask], pair(row).ours(**given)[0][mask]) > 1e-3


@pytest.mark.parametrize("row", [row for row in BASES if row.variant != "group"], ids=str)
@torch.no_grad()
def test_padding_changes_nothing(row: Row):
    """Where norms look at each frame alone; over all of time they see the padding."""
    given = inputs(row, padded=True)
    mask = frames(row, given)
    together = pair(row).ours(**given)[0]
    for number, length in enumerate(LENGTHS):
        alone = pair(row).ours(given["input_values"][number : number + 1, :length])[0]
        assert error(together[number][mask[number]], alone[0]) <= 1e-5
    assert not together[~mask].any()


def test_spans():
    torch.manual_seed(0)
    found = [spans([200, 120, 7, 3], 200, share=0.3, length=5, fewest=2) for _ in range(100)]
    for chosen in found:
        assert not chosen[1, 120:].any()
        assert not chosen[3].any()  # too short for a span
        assert 5 <= int(chosen[2].sum()) <= 7
        runs = chosen[0].int().diff(prepend=torch.zeros(1)).eq(1).sum()
        assert 1 <= runs <= 12
    share = torch.stack(found)[:, 0].float().mean()
    assert 0.22 < share < 0.3  # overlaps make it less than asked for
    assert int(spans([200], 200, share=0.0, length=10, fewest=2).sum()) in range(11, 21)


def test_spans_are_hidden_in_training_only():
    row = next(row for row in BASES if row.variant == "group")
    still = {"layerdrop": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    model, given = fresh(row, **still, mask_time_prob=0.5, mask_feature_prob=0.2, mask_feature_length=3), inputs(row)
    quiet = model(**given)[0]
    model.train()
    assert error(model(**given)[0], quiet) > 1e-2
    model.config.apply_spec_augment = False
    assert error(model(**given)[0], quiet) <= 1e-6
    torch.manual_seed(3)
    model.config.apply_spec_augment = True
    model(**given)[0].sum().backward()
    assert model.stem.hidden.grad.abs().sum() > 0


def test_the_feature_encoder_freezes():
    model, theirs = fresh(CTC), fresh_theirs(CTC)
    for one in (model, theirs):
        one.freeze_feature_encoder()
        one(**inputs(CTC), **labels(CTC)).loss.backward()
    assert all(parameter.grad is None for parameter in model.base.stem.frames.parameters())
    assert error(model.base.stem.project.weight.grad, theirs.wav2vec2.feature_projection.projection.weight.grad) <= 5e-5
    model.freeze_base_model()
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert learning == ["head.weight", "head.bias"]


@pytest.mark.parametrize("head", ["Wav2Vec2ForCTC", "Wav2Vec2Model"])
def test_older_names_of_weight_norm(head: str, tmp_path):
    both = pair(CTC)
    shutil.copytree(both.folder, tmp_path, dirs_exist_ok=True)
    stored = load_file(tmp_path / "model.safetensors")
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in stored.items()
    }
    assert renamed.keys() != stored.keys()
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    kind = {"Wav2Vec2ForCTC": Wav2Vec2ForCTC, "Wav2Vec2Model": Wav2Vec2Model}[head]
    model, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert set(report["unexpected_keys"]) <= {"lm_head.weight", "lm_head.bias"}
    places = (model.base if head == "Wav2Vec2ForCTC" else model).stem.places
    assert torch.equal(places.gain, both.ours.base.stem.places.gain)
    assert torch.equal(places.direction, both.ours.base.stem.places.direction)


def test_what_is_no_sound_of_the_model_is_refused():
    model, given = pair(CTC).ours, inputs(CTC, padded=True)
    with pytest.raises(ArgumentError, match="padded on the right"):
        model(given["input_values"].flip(1), given["attention_mask"].flip(1))
    with pytest.raises(ArgumentError, match="one entry per sample"):
        model(given["input_values"], given["attention_mask"][:, 1:])
    with pytest.raises(ArgumentError, match="the convolutions need 14"):
        model(torch.randn(1, 13))
    assert model(torch.randn(1, 14)).logits.shape == (1, 1, 9)
    with pytest.raises(ArgumentError, match="expected a waveform"):
        model(torch.randn(1, 1, 50))
    with pytest.raises(ArgumentError, match="labels hold 9"):
        model(**given, labels=torch.full((3, 2), 9))
    for entries, message in (
        ({"add_adapter": True}, "add_adapter"),
        ({"adapter_attn_dim": 4}, "adapter_attn_dim"),
        ({"conv_dim": (4, 4)}, "differ in length"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm"),
    ):
        with pytest.raises((NotBuiltError, ConfigError), match=message):
            Wav2Vec2Model(Wav2Vec2Config(**entries))
    with pytest.raises(ArgumentError, match=r"vocab_size=len\(tokenizer\)"):
        Wav2Vec2ForCTC(Wav2Vec2Config(**SPEECH["group"] | {"vocab_size": None}))


def test_numbers_of_frames_and_samples():
    assert Wav2Vec2Config().inputs_to_logits_ratio == 320
    model = pair(CTC).ours
    for samples in (14, 15, 100, 150):
        wanted = pair(CTC).theirs._get_feat_extract_output_lengths(samples)
        assert model.base.frames(samples) == int(wanted)


@torch.no_grad()
def test_a_row_of_nothing_but_padding_disturbs_no_other():
    given = inputs(CTC, padded=True)
    wanted = pair(CTC).ours(**given).logits
    given["attention_mask"][1] = 0
    found = pair(CTC).ours(**given).logits
    assert error(found[[0, 2]], wanted[[0, 2]]) <= 1e-6
    assert not found[1].any()


def test_auto_classes_of_sounds(tmp_path):
    assert type(AutoModelForCTC.from_pretrained(pair(CTC).folder)) is Wav2Vec2ForCTC
    row = next(row for row in ROWS if row.head == "HubertForSequenceClassification")
    assert type(AutoModelForAudioClassification.from_pretrained(pair(row).folder)) is type(pair(row).ours)
    kept = json.loads((pair(CTC).folder / "config.json").read_text())
    pair(CTC).ours.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == kept
