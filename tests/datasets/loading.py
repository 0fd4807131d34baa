"""Folders of data files to load, by enfold and by the reference."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pytest

import datasets as reference
from enfold.datasets import (
    load_dataset,
)

reference.disable_progress_bars()
ROWS = "a,b\n1,x\n2,y\n"


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("ENFOLD_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """A function that writes files into a new folder."""
    made = iter(range(100))

    def write(files: dict[str, str | bytes]) -> str:
        root = tmp_path / f"data{next(made)}"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(root)

    return write


def plain(data):
    """Features and rows, media as the first bytes of their content and their names."""
    if isinstance(data, dict):
        return {str(split): plain(part) for split, part in data.items()}
    table = data.data if isinstance(data.data, pa.Table) else data.data.table
    return data.features.to_dict(), [_plain_value(row) for row in table.to_pylist()]


def _plain_value(value):
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"bytes", "path"}:
        return os.path.basename(value["path"]), value["bytes"] or Path(value["path"]).read_bytes()
    return {name: _plain_value(item) for name, item in value.items()}


def same(tmp_path, *arguments, **options):
    ours = plain(load_dataset(*arguments, **options))
    theirs = plain(reference.load_dataset(*arguments, cache_dir=str(tmp_path / "theirs"), **options))
    assert ours == theirs
    assert list(ours) == list(theirs)


def zipped(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, str | bytes], mode: str = "w", **more) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def picture(shade: int) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("L", (2, 2), shade).save(out, "png")
    return out.getvalue()
