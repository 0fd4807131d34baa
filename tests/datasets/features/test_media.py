"""Images and sounds: in as people have them, stored as the reference stores them, out as people use them."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import soundfile
import torch

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError, NotBuiltError
from enfold.datasets.features import (
    Audio,
    AudioDecoder,
    Features,
    Image,
    Json,
    List,
    Pdf,
    Value,
    Video,
    cast_array,
    embed_table,
    infer,
    sounds,
    to_array,
    to_table,
)
from enfold.datasets.formats import formatter


def picture(mode="RGB", size=(5, 3)) -> PIL.Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    return PIL.Image.fromarray(pixels, "RGBA").convert(mode)


def file_of(image, form="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


IMAGES = {
    "pillow": picture(),
    "grey": picture("L"),
    "palette": picture("P"),
    "black and white": picture("1"),
    "cmyk": picture("CMYK"),
    "uint8": np.asarray(picture()),
    "uint8 grey": np.asarray(picture("L")),
    "bool": np.asarray(picture("L")) > 100,
    "uint16": np.arange(15, dtype=np.uint16).reshape(3, 5),
    "float32": np.linspace(0, 1, 15, dtype=np.float32).reshape(3, 5),
    "bytes": file_of(picture()),
    "jpeg": file_of(picture(), "JPEG"),
    "dict": {"bytes": file_of(picture()), "path": "somewhere/x.png"},
    "only bytes": {"bytes": file_of(picture())},
    "nested lists": np.asarray(picture()).tolist(),
}


@pytest.mark.filterwarnings("ignore:.*'mode' parameter is deprecated")
@pytest.mark.parametrize("kind", IMAGES)
def test_images_are_stored_and_shown_as_in_the_reference(kind):
    given = IMAGES[kind]
    if kind == "nested lists":
        given = np.asarray(given, np.uint8)
    theirs = reference.Dataset.from_dict({"x": [given, None]}, features=reference.Features({"x": reference.Image()}))
    ours = to_table({"x": [given, None]}, Features({"x": Image()}))
    assert ours.equals(theirs.data.table)
    mine, other = formatter(None).batch(ours)["x"], theirs[:]["x"]
    assert mine[1] is None
    assert mine[0].mode == other[0].mode
    np.testing.assert_array_equal(np.asarray(mine[0]), np.asarray(other[0]))
    for name in ("numpy", "torch"):
        shown, wanted = formatter(name).batch(ours.slice(0, 1))["x"], theirs.with_format(name)[:1]["x"]
        assert shown.dtype == wanted.dtype
        assert shown.shape == wanted.shape
        assert bool((shown == wanted).all())


def test_wider_arrays_are_narrowed_and_say_so():
    wide = np.ones((2, 3, 3), np.int64)
    with pytest.warns(UserWarning, match="narrowed to uint8"):
        assert Image().encode_example(wide) == reference.Image().encode_example(wide)
    with pytest.warns(UserWarning, match="narrowed to int32"):
        Image().encode_example(np.ones((2, 3), np.int64))
    with pytest.raises(DatasetError, match="uint8, not in float64"):
        Image().encode_example(np.ones((2, 3, 3)))


def test_images_by_path(tmp_path):
    (tmp_path / "a.png").write_bytes(file_of(picture()))
    paths = [str(tmp_path / "a.png"), tmp_path / "a.png", {"path": str(tmp_path / "a.png"), "bytes": b"old"}]
    table = to_table({"x": paths}, Features({"x": Image()}))
    assert table["x"].to_pylist() == [{"bytes": None, "path": str(tmp_path / "a.png")}] * 3
    assert formatter(None).row(table.slice(0, 1))["x"].size == (5, 3)
    embedded = embed_table(table)
    assert embedded["x"].to_pylist() == [{"bytes": file_of(picture()), "path": "a.png"}] * 3
    assert embed_table(table, local_files=False).equals(table)
    nested = to_table({"y": [[{"i": paths[0]}], None]}, Features({"y": List({"i": Image()})}))
    assert embed_table(nested)["y"].to_pylist() == [[{"i": {"bytes": file_of(picture()), "path": "a.png"}}], None]
    opened = PIL.Image.open(tmp_path / "a.png")
    assert Image().encode_example(opened) == {"bytes": None, "path": str(tmp_path / "a.png")}
    missing = to_table({"x": [str(tmp_path / "b.png")]}, Features({"x": Image()}))
    with pytest.raises(DatasetError, match=r"'x': .*b\.png can't be read"):
        formatter(None).batch(missing)


def test_images_are_inferred():
    array, feature = infer([None, picture(), picture()])
    assert feature == Image()
    assert array[0].as_py() is None
    assert infer([[picture()], [], None])[1] == List(Image())
    theirs = reference.Dataset.from_dict({"x": [[picture()], []]})
    assert infer([[picture()], []])[0].equals(theirs.data.table["x"].chunk(0))


def test_modes_and_orientation():
    table = to_table({"x": [picture("RGBA")]}, Features({"x": Image(mode="L")}))
    assert formatter(None).batch(table)["x"][0].mode == "L"
    exif = PIL.Image.Exif()
    exif[PIL.Image.ExifTags.Base.Orientation] = 6
    turned = {"bytes": file_of(picture(), "JPEG", exif=exif), "path": None}
    mine, other = Image().decode_example(turned), reference.Image().decode_example(turned)
    assert mine.size == other.size == (3, 5)
    assert Image(decode=False).flatten() == {"bytes": Value("binary"), "path": Value("string")}
    stored = to_table({"x": [picture()]}, Features({"x": Image(decode=False)}))
    assert set(formatter(None).batch(stored)["x"][0]) == {"bytes", "path"}


def bomb() -> bytes:
    """A small file that says it is 30000 pixels wide and high."""

    def part(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 3751 * 10)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", data) + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"not an image", "can't be decoded"), (file_of(picture())[:60], "can't be decoded"), (bomb(), "bomb")],
)
def test_broken_images_name_the_row(content, reason):
    table = to_table({"pic": [picture(), {"bytes": content, "path": "in/x.png"}]}, Features({"pic": Image()}))
    for name in (None, "numpy", "torch", "pandas"):
        with pytest.raises(DatasetError, match=rf"Column 'pic', row 1 of 2: the image in/x\.png .*{reason}"):
            formatter(name).batch(table)


def test_what_is_no_image():
    with pytest.raises(DatasetError, match=r"'x', row 1: .*int"):
        to_table({"x": [picture(), 3]}, Features({"x": Image()}))
    with pytest.raises(DatasetError, match="neither bytes nor a path"):
        to_array([{"bytes": None, "path": None}], Image())


CASTS = [
    pa.array(["a.png", None]),
    pa.array(["a.png", None], pa.large_string()),
    pa.array([b"xx", None]),
    pa.array([b"xx", None], pa.large_binary()),
    pa.array([{"bytes": b"xx"}, None]),
    pa.array([{"path": "a"}, None]),
    pa.array([{"path": "a", "bytes": b"xx"}, None]),
    pa.array([None, None]),
]


@pytest.mark.parametrize("array", CASTS, ids=lambda array: str(array.type))
@pytest.mark.parametrize(
    ("ours", "theirs"), [(Image(), reference.Image()), (Audio(), reference.Audio())], ids=["image", "audio"]
)
def test_arrow_is_cast_to_files(array, ours, theirs):
    cast = cast_array(array, ours)
    wanted = theirs.cast_storage(array.cast(pa.string()) if pa.types.is_large_string(array.type) else array)
    assert cast.type == wanted.type
    assert cast.to_pylist() == wanted.to_pylist()


def test_arrow_that_is_no_file():
    with pytest.raises(DatasetError, match="int64"):
        cast_array(pa.array([1]), Image())


def test_pixels_in_arrow_are_cast_to_images():
    pixels = np.asarray(picture("L"), np.uint8)
    cast = cast_array(pa.array([pixels.tolist(), None], pa.list_(pa.list_(pa.uint8()))), Image())
    assert cast[1].as_py() is None
    shown = np.asarray(Image().decode_example(cast[0].as_py()))
    np.testing.assert_array_equal(shown, pixels)


# sounds


def tone(rate=8000, channels=1, seconds=0.25) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    waves = [0.5 * np.sin(2 * np.pi * 440 * (channel + 1) * time) for channel in range(channels)]
    return np.stack(waves).astype(np.float32)


def wav(samples: np.ndarray, rate=8000, form="WAV", subtype=None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, format=form, subtype=subtype)
    return file.getvalue()


def test_sounds_as_arrays():
    for samples in (tone()[0], tone(channels=2)):
        table = to_table({"x": [{"array": samples, "sampling_rate": 8000}, None]}, Features({"x": Audio()}))
        sound, missing = formatter(None).batch(table)["x"]
        assert missing is None
        np.testing.assert_array_equal(sound["array"], samples if samples.ndim == 1 else samples.mean(axis=0))
        assert (sound["sampling_rate"], sound["path"]) == (8000, None)
        all_samples = sound.get_all_samples()
        assert all_samples.data.shape == np.atleast_2d(samples).shape
        np.testing.assert_array_equal(all_samples.data.numpy(), np.atleast_2d(samples))
        assert (all_samples.sample_rate, all_samples.duration_seconds) == (8000, 0.25)
        part = sound.get_samples_played_in_range(0.1, 0.2)
        assert part.data.shape[1] == 800
        assert part.pts_seconds == pytest.approx(0.1)
        assert torch.equal(part.data, all_samples.data[:, 800:1600])
    with pytest.raises(DatasetError, match=r"'x', row 0: .*sampling_rate"):
        to_table({"x": [{"array": samples}]}, Features({"x": Audio()}))
    with pytest.raises(DatasetError, match=r"\[channels, samples\]"):
        to_array([{"array": np.zeros((1, 2, 3)), "sampling_rate": 1}], Audio())


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_sounds_as_files(form, tmp_path):
    content = wav(tone(), form=form)
    path = tmp_path / f"a.{form.lower()}"
    path.write_bytes(content)
    rows = [content, str(path), path, {"bytes": content, "path": "a/b"}, {"path": str(path)}]
    table = to_table({"x": rows}, Features({"x": Audio()}))
    shown = formatter(None).batch(table)["x"]
    wanted = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    for sound in shown:
        np.testing.assert_array_equal(sound["array"], wanted)
    assert [sound["path"] for sound in shown] == [None, str(path), str(path), "a/b", str(path)]
    assert to_table({"x": shown}, Features({"x": Audio()})).equals(table)
    assert embed_table(table)["x"][1].as_py() == {"bytes": content, "path": path.name}
    assert isinstance(formatter("torch").batch(table)["x"][0], AudioDecoder)


def test_rates_and_channels():
    content = wav(tone(8000, channels=2))
    stereo = Audio(sampling_rate=16000).decode_example({"bytes": content, "path": None})
    assert stereo.sampling_rate == 16000
    assert stereo.samples().shape == (2, 4000)
    # a tone stays that tone
    np.testing.assert_allclose(stereo.samples()[0, 200:-200], tone(16000)[0, 200:-200], atol=2e-2)
    assert stereo.metadata.sample_rate == 8000
    mono = Audio(num_channels=1).decode_example({"bytes": content, "path": None})
    assert mono.get_all_samples().data.shape == (1, 2000)
    two = Audio(num_channels=2).decode_example({"bytes": wav(tone()), "path": None})
    assert two.samples().shape == (2, 2000)
    with pytest.raises(ArgumentError, match="2 channels"):
        Audio(num_channels=5).decode_example({"bytes": content, "path": None})["array"]
    with pytest.raises(NotBuiltError, match="stream"):
        Audio(stream_index=1).decode_example({"bytes": content, "path": None})


def test_bare_samples(tmp_path):
    path = tmp_path / "a.pcm"
    path.write_bytes((tone()[0] * 32767).astype("<i2").tobytes())
    stored = Audio().encode_example({"path": str(path), "sampling_rate": 8000})
    np.testing.assert_allclose(Audio().decode_example(stored)["array"], tone()[0], atol=1e-4)
    with pytest.raises(DatasetError, match="sampling_rate"):
        Audio().encode_example({"path": str(path)})


def test_broken_sounds_name_the_row(monkeypatch):
    table = to_table({"s": [wav(tone()), {"bytes": b"noise", "path": "b.wav"}]}, Features({"s": Audio()}))
    with pytest.raises(DatasetError, match=r"Column 's', row 1 of 2: the audio b\.wav can't be decoded"):
        formatter(None).batch(table)
    monkeypatch.setattr(sounds, "MAX_SAMPLES", 100)
    with pytest.raises(DatasetError, match=r"row 0 of 2: .*2000 samples"):
        formatter("numpy").batch(table)


def test_sounds_stay_encoded_without_decoding():
    table = to_table({"s": [wav(tone())]}, Features({"s": Audio(decode=False)}))
    assert formatter(None).batch(table)["s"][0]["bytes"] == wav(tone())
    assert Features({"s": Audio(decode=False)}).flatten() == Features(
        {"s.bytes": Value("binary"), "s.path": Value("string")}
    )
    with pytest.raises(DatasetError, match="flattened"):
        Features({"s": Audio()}).flatten()


def test_sounds_in_arrow_arrays():
    array = pa.array([{"array": tone()[0].tolist(), "sampling_rate": 8000}, None])
    cast = cast_array(array, Audio())
    assert cast[1].as_py() is None
    np.testing.assert_array_equal(Audio().decode_example(cast[0].as_py())["array"], tone()[0])


def test_what_is_only_carried():
    table = to_table({"v": ["a.mp4"], "p": [b"%PDF"]}, Features({"v": Video(), "p": Pdf(decode=False)}))
    with pytest.raises(NotBuiltError, match=r"Video\(decode=False\)"):
        formatter(None).batch(table)
    assert formatter(None).column(table, "p") == [{"bytes": b"%PDF", "path": None}]


def test_nested_media_are_decoded():
    features = Features({"x": List({"image": Image(), "note": Json(), "n": Value("int8")})})
    table = to_table({"x": [[{"image": picture(), "note": [1], "n": 2}], None, []]}, features)
    shown = formatter(None).batch(table)["x"]
    assert shown[0][0]["image"].size == (5, 3)
    assert (shown[0][0]["note"], shown[0][0]["n"], shown[1], shown[2]) == ([1], 2, None, [])
    assert features.decode_example(table.to_pylist()[0])["x"][0]["note"] == [1]
