"""Images of other sizes than a model was made for, and what it refuses."""

import pytest
import torch
import transformers

from enfold import ViTConfig, ViTForImageClassification, ViTModel
from enfold.base.errors import ArgumentError
from tests.models.pairs import error
from tests.models.sense_kin import ROWS, VISION, Row, inputs, pair

STRETCHED = [row for row in ROWS if row.family in ("vit", "deit") and row.variant != "odd"]


@pytest.mark.parametrize("row", STRETCHED, ids=str)
@torch.no_grad()
def test_positions_stretch_over_larger_images(row: Row):
    size = row.entries["image_size"] * 2
    for shape in ((size, size), (size, size * 2)):
        if "Masked" in row.head and shape[0] != shape[1]:
            continue  # theirs puts patches into a square
        images = torch.randn(2, 3, *shape)
        ours, theirs = (model(images, interpolate_pos_encoding=True)[0] for model in (pair(row).ours, pair(row).theirs))
        assert error(ours, theirs) <= 1e-5


def test_sizes_of_two_numbers():
    torch.manual_seed(0)
    entries = VISION["plain"] | {"image_size": [8, 12], "patch_size": [4, 3]}
    theirs = transformers.ViTModel(transformers.ViTConfig(**entries)).eval()
    ours = ViTModel(ViTConfig(**entries))
    assert ours.stem.positions.shape == theirs.embeddings.position_embeddings.shape == (1, 9, 32)
    assert ours(torch.randn(2, 3, 8, 12)).last_hidden_state.shape == (2, 9, 32)
    assert ours(torch.randn(2, 3, 16, 12), interpolate_pos_encoding=True).last_hidden_state.shape == (2, 17, 32)


def test_what_is_no_image_of_the_model_is_refused():
    row = next(row for row in ROWS if row.head == "ViTForImageClassification")
    model = pair(row).ours
    with pytest.raises(ArgumentError, match="interpolate_pos_encoding"):
        model(torch.randn(1, 3, 16, 16))
    with pytest.raises(ArgumentError, match="expected \\[batch, 3, height, width\\]"):
        model(torch.randn(1, 1, 12, 12))
    with pytest.raises(ArgumentError, match="needs pixel_values"):
        model()
    with pytest.raises(ArgumentError, match="no vector for hidden patches"):
        model(**inputs(row), bool_masked_pos=torch.zeros(3, 9, dtype=torch.bool))
    row = next(row for row in ROWS if row.head == "ViTForMaskedImageModeling")
    model = type(pair(row).ours)(ViTConfig(**VISION["plain"] | {"encoder_stride": 2}))
    with pytest.raises(ArgumentError, match="encoder_stride"):
        model(**inputs(row), bool_masked_pos=torch.zeros(3, 9, dtype=torch.bool))


def test_a_head_for_other_classes_is_drawn_anew():
    row = next(row for row in ROWS if row.head == "ViTForImageClassification")
    model = ViTForImageClassification.from_pretrained(pair(row).folder, num_labels=5, ignore_mismatched_sizes=True)
    assert model(**inputs(row)).logits.shape == (3, 5)
