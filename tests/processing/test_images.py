"""Image processors beside the reference's, on photographs, in every form that pictures come in."""

import base64
import io
import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sklearn.datasets import load_sample_images
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from enfold import AutoImageProcessor, DeiTImageProcessor, ViTImageProcessor, ViTImageProcessorFast
from enfold.base.errors import ArgumentError, ConfigError, EntryNotFoundError, NotBuiltError

PHOTOS = [np.ascontiguousarray(photo) for photo in load_sample_images().images]  # [427, 640, 3] bytes
PICTURES = [Image.fromarray(photo) for photo in PHOTOS]


def same(ours, theirs, tolerance: float = 0.0) -> None:
    ours, theirs = (np.asarray(x["pixel_values"]) for x in (ours, theirs))
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert np.abs(ours - theirs).max() <= tolerance


OPTIONS = {
    "plain": {},
    "nearest": {"resample": 0, "size": {"height": 50, "width": 71}},
    "lanczos": {"resample": 1, "size": 33},
    "bicubic": {"resample": 3, "size": [90, 40]},
    "box": {"resample": 4},
    "hamming": {"resample": 5},
    "larger": {"size": {"height": 700, "width": 800}},
    "as large": {"size": {"height": 427, "width": 640}},
    "not resized": {"do_resize": False},
    "not rescaled": {"do_rescale": False},
    "rescaled otherwise": {"rescale_factor": 1 / 127.5},
    "not normalised": {"do_normalize": False},
    "nothing": {"do_resize": False, "do_rescale": False, "do_normalize": False},
    "resized alone": {"do_rescale": False, "do_normalize": False},
    "means": {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "cropped": {"do_center_crop": True, "crop_size": {"height": 101, "width": 90}},
    "cropped beyond": {"do_center_crop": True, "crop_size": 301},
    "shorter edge": {"size": {"shortest_edge": 77}},
    "both edges": {"size": {"shortest_edge": 77, "longest_edge": 99}},
    "within": {"size": {"max_height": 120, "max_width": 100}},
    "padded": {"do_pad": True, "pad_size": {"height": 230, "width": 256}},
    "in RGB": {"do_convert_rgb": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("form", ["pictures", "arrays", "channels first", "torch", "batch", "fractions"])
def test_pixel_values_are_the_reference_s(options, form):
    if form == "fractions":
        given = [(photo / 256).astype(np.float32) for photo in PHOTOS]
    else:
        firsts = [photo.transpose(2, 0, 1) for photo in PHOTOS]
        given = {
            "pictures": PICTURES,
            "arrays": PHOTOS,
            "channels first": firsts,
            "torch": [torch.from_numpy(first.copy()) for first in firsts],
            "batch": np.stack(PHOTOS),
        }[form]
    if form == "batch" and options.get("do_convert_rgb"):
        given = list(given)
    same(ViTImageProcessor()(given, return_tensors="np", **options), ViTImageProcessorPil()(given, **options))
    # Set once is as good as passed each time.
    same(ViTImageProcessor(**options)(given[0], return_tensors="np"), ViTImageProcessorPil(**options)(given[0]))


def test_deit():
    same(DeiTImageProcessor()(PICTURES, return_tensors="np"), DeiTImageProcessorPil()(PICTURES))


@pytest.mark.parametrize("resample", [2, 3], ids=["bilinear", "bicubic"])
def test_near_the_fast_processors(resample):
    """Their fast processors let torch interpolate bytes; Pillow rounds otherwise: one of 255 levels at most here."""
    mode = {2: "bilinear", 3: "bicubic"}[resample]
    for photo, picture in zip(PHOTOS, PICTURES, strict=True):
        tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None]
        theirs = torch.nn.functional.interpolate(tensor, (224, 224), mode=mode, antialias=True)
        ours = ViTImageProcessor(resample=resample)(picture, return_tensors="pt").pixel_values
        difference = (ours - (theirs / 255 - 0.5) / 0.5).abs() * 127.5
        assert difference.max() <= 1.01
        assert difference.mean() < 0.01


def test_modes_of_pictures():
    """Where the reference converts to RGB, so do we; where it fails for want of three channels, we convert too."""
    red, alpha = PICTURES[0], Image.linear_gradient("L").resize(PICTURES[0].size)
    shaded = red.copy()
    shaded.putalpha(alpha)
    palette = red.quantize(17)
    clear = red.quantize(9)
    clear.info["transparency"] = 3
    modes = [shaded, palette, clear, red.convert("L"), red.convert("LA"), red.convert("1"), red.convert("CMYK")]
    for picture in modes:
        theirs = ViTImageProcessorPil(do_convert_rgb=True)(picture)
        same(ViTImageProcessor(do_convert_rgb=True)(picture, return_tensors="np"), theirs)
        same(ViTImageProcessor()(picture, return_tensors="np"), theirs)
    gray = {"image_mean": [0.2], "image_std": [0.3]}
    same(ViTImageProcessor(**gray)(modes[3], return_tensors="np"), ViTImageProcessorPil(**gray)(modes[3]))
    assert ViTImageProcessor(**gray)(PICTURES, return_tensors="np").pixel_values.shape == (2, 1, 224, 224)
    # Arrays of one and of four channels, and of two dimensions.
    single, four = np.asarray(modes[3]), np.asarray(shaded)
    same(ViTImageProcessor()(single, return_tensors="np"), ViTImageProcessorPil(do_convert_rgb=True)(single[None]))
    same(ViTImageProcessor()(four, return_tensors="np"), ViTImageProcessorPil(do_convert_rgb=True)(four), 1e-6)
    fractions = (four / 255).astype(np.float32)
    theirs = ViTImageProcessorPil(do_convert_rgb=True)(fractions)
    same(ViTImageProcessor()(fractions, return_tensors="np"), theirs, 2 / 127)


def test_orders_of_channels():
    processor = ViTImageProcessor()
    first, last = (processor(PICTURES, return_tensors="np", data_format=f"channels_{x}") for x in ("first", "last"))
    assert np.array_equal(first.pixel_values, last.pixel_values.transpose(0, 3, 1, 2))
    narrow = PHOTOS[0][:3, :, :]  # [3, 640, 3]: the first is taken, unless one says the last
    options = {"do_resize": False, "return_tensors": "np"}
    assert processor(narrow, **options).pixel_values.shape == (1, 3, 640, 3)
    assert processor(narrow, **options, input_data_format="channels_last").pixel_values.shape == (1, 3, 3, 640)


def test_kinds_of_tensors_and_nests():
    processor = ViTImageProcessor(size=8)
    made = processor([[PICTURES[0]], [PICTURES[1], PICTURES[0]]], return_tensors="pt")
    assert made.pixel_values.shape == (3, 3, 8, 8)
    assert made["pixel_values"].dtype == torch.float32
    assert made.to(torch.float16).pixel_values.dtype == torch.float16
    assert isinstance(processor(PICTURES).pixel_values, list)
    assert set(made) == {"pixel_values"}
    with pytest.raises(ArgumentError, match="several shapes"):
        ViTImageProcessor(do_resize=False)([PICTURES[0], PICTURES[0].resize((5, 5))], return_tensors="pt")
    with pytest.raises(AttributeError):
        made.input_ids  # noqa: B018


def test_files(tmp_path):
    path = tmp_path / "photo.png"
    PICTURES[0].save(path)
    wanted = ViTImageProcessor()(PICTURES[0], return_tensors="np").pixel_values
    text = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    for source in (str(path), path, text, [str(path)]):
        assert np.array_equal(ViTImageProcessor()(source, return_tensors="np").pixel_values, wanted)
    turned = PICTURES[0].getexif()
    turned[0x0112] = 6
    file = io.BytesIO()
    PICTURES[0].save(file, "jpeg", exif=turned, quality=95)
    (tmp_path / "turned.jpg").write_bytes(file.getvalue())
    source = str(tmp_path / "turned.jpg")
    same(ViTImageProcessor()(source, return_tensors="np"), ViTImageProcessorPil()(source))


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("https://example.com/cat.png", {}, "nothing is downloaded"),
        ("nowhere.png", {}, "there is no image"),
        ("data:image/png;base64,!!", {}, "no base64"),
        ("data:image/png;base64,aGFsbG8=", {}, "can't be read"),
        ([], {}, "empty"),
        (7, {}, "expected a PIL image"),
        (np.zeros((1, 2, 3, 4, 5)), {}, "four with the batch"),
        (np.zeros((9, 9, 7), np.uint8), {}, "input_data_format"),
        (np.full((9, 9, 3), 300.0), {}, "expected 0 … 255"),
        (np.full((9, 9, 3), -0.5), {}, "expected 0 … 255"),
        (PHOTOS[0], {"image_mean": [0.5], "image_std": [0.5]}, "one a channel"),
        (PHOTOS[0], {"size": {"width": 3}}, "expected a number"),
        (PHOTOS[0], {"size": 0}, "expected a number"),
        (PHOTOS[0], {"do_center_crop": True}, "needs crop_size"),
        (PHOTOS[0], {"data_format": "channels"}, "data_format"),
        (PHOTOS[0], {"sizes": 3}, "has no option 'sizes'"),
        (PHOTOS[0], {"return_tensors": "tf"}, "expected 'pt' or 'np'"),
        (PHOTOS[0], {"do_pad": True, "pad_size": 9}, "larger than pad_size"),
    ],
)
def test_what_is_refused(given, options, message):
    with pytest.raises(ArgumentError, match=message):
        ViTImageProcessor()(given, **options)


# Files


def test_what_they_save_we_read_and_write_and_back(tmp_path):
    for theirs in (ViTImageProcessorPil(size=30), DeiTImageProcessorPil(do_convert_rgb=True), ViTImageProcessorPil()):
        theirs.save_pretrained(tmp_path / "theirs")
        ours = AutoImageProcessor.from_pretrained(tmp_path / "theirs")
        same(ours(PICTURES, return_tensors="np"), theirs(PICTURES))
        ours.save_pretrained(tmp_path / "ours")
        written = (tmp_path / "ours" / "preprocessor_config.json").read_text()
        assert written == (tmp_path / "theirs" / "preprocessor_config.json").read_text()
        # The same class made here writes the same file.
        kind = ViTImageProcessor if isinstance(theirs, ViTImageProcessorPil) else DeiTImageProcessor
        if kind is ViTImageProcessor:
            assert kind(size=theirs.size["height"]).to_json_string() == written
        again = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours", backend="pil")
        assert again.to_dict() == theirs.to_dict()


def test_unknown_entries_stay(tmp_path):
    entries = {"feature_extractor_type": "ViTFeatureExtractor", "size": 20, "do_normalize": True, "resample": 2}
    entries |= {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1], "do_resize": True, "note": {"by": ["us"]}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(entries))
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor) is ViTImageProcessor
    assert processor(PICTURES[0], return_tensors="np").pixel_values.shape == (1, 3, 20, 20)
    processor.do_resize = False
    processor.save_pretrained(tmp_path)
    found = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert found == entries | {"do_resize": False, "image_processor_type": "ViTImageProcessor"}
    assert AutoImageProcessor.from_pretrained(tmp_path, size=9).size == 9


def test_how_the_class_is_found(tmp_path):
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({"image_processor_type": "ViTImageProcessorFast", "size": {"height": 5, "width": 6}}))
    assert type(AutoImageProcessor.from_pretrained(tmp_path, use_fast=True)) is ViTImageProcessorFast
    file.write_text(json.dumps({"size": 5}))
    with pytest.raises(ConfigError, match="image_processor_type"):
        AutoImageProcessor.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "deit"}))
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is DeiTImageProcessor
    nested = {"image_processor": {"image_processor_type": "ViTImageProcessor", "size": 7}}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    assert AutoImageProcessor.from_pretrained(tmp_path).size == 7
    (tmp_path / "processor_config.json").unlink()
    CLIPImageProcessorPil().save_pretrained(tmp_path)
    with pytest.raises(NotBuiltError, match="CLIPImageProcessor"):
        AutoImageProcessor.from_pretrained(tmp_path)
    file.write_text("{")
    with pytest.raises(ConfigError, match="torn"):
        AutoImageProcessor.from_pretrained(tmp_path)
    file.unlink()
    with pytest.raises(EntryNotFoundError, match=r"preprocessor_config\.json"):
        AutoImageProcessor.from_pretrained(tmp_path)
