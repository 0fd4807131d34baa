"""Models that read images and sounds: rows of classes and configurations, built in both libraries."""

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from enfold.models.registry import class_by_name, config_class
from tests.models.pairs import Pair, randomise

COMMON = {"num_labels": 3, "attn_implementation": "eager"}
VISION: dict[str, dict[str, Any]] = {
    "plain": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "image_size": 12,
        "patch_size": 4,
        "encoder_stride": 4,
    },
    "odd": {
        "hidden_size": 33,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 29,
        "image_size": 13,
        "patch_size": 3,
        "encoder_stride": 3,
        "num_channels": 1,
        "qkv_bias": False,
        "hidden_act": "relu",
        "layer_norm_eps": 1e-5,
        "pooler_act": "gelu",
        "pooler_output_size": 7,
        "problem_type": "multi_label_classification",
    },
    "one": {
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 96,
        "image_size": 8,
        "patch_size": 2,
        "encoder_stride": 2,
        "hidden_act": "gelu_new",
    },
}
SPEECH: dict[str, dict[str, Any]] = {
    "group": {
        "vocab_size": 12,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": (8, 8, 12),
        "conv_kernel": (6, 3, 2),
        "conv_stride": (4, 2, 2),
        "num_conv_pos_embeddings": 6,
        "num_conv_pos_embedding_groups": 4,
        "mask_time_length": 2,
    },
    "stable": {
        "vocab_size": 9,
        "hidden_size": 33,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 29,
        "conv_dim": (7, 9),
        "conv_kernel": (5, 4),
        "conv_stride": (3, 2),
        "num_conv_pos_embeddings": 5,
        "num_conv_pos_embedding_groups": 3,
        "conv_bias": True,
        "do_stable_layer_norm": True,
        "feat_extract_norm": "layer",
        "feat_extract_activation": "relu",
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-3,
        "use_weighted_layer_sum": True,
        "classifier_proj_size": 5,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
        "mask_time_length": 3,
    },
    "unmasked": {
        "vocab_size": 7,
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 96,
        "conv_dim": (6,),
        "conv_kernel": (8,),
        "conv_stride": (5,),
        "num_conv_pos_embeddings": 3,
        "num_conv_pos_embedding_groups": 1,
        "feat_extract_norm": "layer",
        "mask_time_prob": 0.0,
        "pad_token_id": 4,
    },
}
HEADS = {
    "ViTModel": "base",
    "ViTForImageClassification": "class",
    "ViTForMaskedImageModeling": "pixels",
    "DeiTModel": "base",
    "DeiTForImageClassification": "class",
    "DeiTForImageClassificationWithTeacher": "teacher",
    "DeiTForMaskedImageModeling": "pixels",
    "Wav2Vec2Model": "base",
    "Wav2Vec2ForCTC": "ctc",
    "Wav2Vec2ForSequenceClassification": "class",
    "HubertModel": "base",
    "HubertForCTC": "ctc",
    "HubertForSequenceClassification": "class",
}
# DistilHuBERT's files project without a norm.
HUBERT = {**SPEECH, "stable": SPEECH["stable"] | {"feat_proj_layer_norm": False}}


@dataclass(frozen=True)
class Row:
    """A class of one name in both libraries, built from one random configuration."""

    family: str
    head: str
    task: str
    variant: str
    entries: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        return f"{self.head}-{self.variant}"

    @property
    def hears(self) -> bool:
        return self.family in ("wav2vec2", "hubert")


def _rows() -> list[Row]:
    rows = []
    for head, task in HEADS.items():
        family = head.split("For")[0].removesuffix("Model").lower()
        variants = {"wav2vec2": SPEECH, "hubert": HUBERT}.get(family, VISION)
        kin = family in ("deit", "hubert")  # the same code below: the heads take turns
        chosen = [list(variants)[len(rows) % 3]] if kin and task not in ("base", "ctc") else list(variants)
        for variant in chosen:
            # Pixels can be compared where patches fill the image.
            fitted = {"image_size": 12} if task == "pixels" else {}
            rows.append(Row(family, head, task, variant, COMMON | variants[variant] | fitted))
    return rows


ROWS = _rows()
ONE_EACH = [row for row in ROWS if row.task in ("class", "ctc") and row.family in ("vit", "wav2vec2")]


def their_config(row: Row) -> Any:
    return getattr(transformers, config_class(row.family).__name__)(**row.entries)


@functools.cache
def pair(row: Row) -> Pair:
    """Both models, from a folder that the reference wrote; tests must leave them as they are."""
    torch.manual_seed(sum(map(ord, str(row))))
    theirs = getattr(transformers, row.head)(their_config(row)).eval()
    randomise(theirs)
    folder = Path(tempfile.mkdtemp(prefix="enfold-sense-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    theirs.save_pretrained(folder)
    return Pair(row, folder, theirs, class_by_name(row.head).from_pretrained(folder))  # type: ignore[arg-type]


def fresh(row: Row, **options: Any) -> Any:
    """Our model of a row, loaded anew."""
    return class_by_name(row.head).from_pretrained(pair(row).folder, **options)


def fresh_theirs(row: Row) -> Any:
    """The reference's, loaded anew."""
    model = getattr(transformers, row.head)(their_config(row)).eval()
    model.load_state_dict(pair(row).theirs.state_dict())
    return model


SAMPLES, LENGTHS = 150, (150, 117, 61)


def inputs(row: Row, *, padded: bool = False) -> dict[str, Tensor]:
    """Three images, or three sounds; padded ones end in zeros."""
    torch.manual_seed(len(row.head))
    if not row.hears:
        size, channels = row.entries["image_size"], row.entries.get("num_channels", 3)
        return {"pixel_values": torch.randn(3, channels, size, size)}
    waves = torch.randn(3, SAMPLES)
    if not padded:
        return {"input_values": waves}
    mask = (torch.arange(SAMPLES) < torch.tensor(LENGTHS)[:, None]).long()
    return {"input_values": waves * mask, "attention_mask": mask}


def labels(row: Row) -> dict[str, Tensor]:
    """What makes the task return a loss."""
    torch.manual_seed(7)
    match row.task:
        case "ctc":
            wanted = torch.randint(0, row.entries["vocab_size"], (3, 2))
            wanted[1, 1] = -100
            wanted[2, 0] = row.entries.get("pad_token_id", 0)  # the blank doesn't count
            return {"labels": wanted}
        case "class":
            several = row.entries.get("problem_type") == "multi_label_classification"
            return {"labels": torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1]]) if several else torch.tensor([2, 0, 1])}
        case "pixels":
            side = row.entries["image_size"] // row.entries["patch_size"]
            return {"bool_masked_pos": torch.rand(3, side * side) < 0.4}
    return {}


def frames(row: Row, given: dict[str, Tensor]) -> Tensor | None:
    """[B, T] which frames are there; None where all are."""
    mask = given.get("attention_mask")
    if mask is None:
        return None
    lengths = mask.sum(1)
    for kernel, stride in zip(row.entries["conv_kernel"], row.entries["conv_stride"], strict=True):
        lengths = (lengths - kernel) // stride + 1
    return torch.arange(int(lengths.max())) < lengths[:, None]


def at_frames(value: Tensor, mask: Tensor | None) -> Tensor:
    """The part of an output that stands at real frames."""
    return value[mask] if mask is not None and value.shape[:2] == mask.shape else value
