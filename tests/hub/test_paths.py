from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfold.base.errors import UnsafePathError
from enfold.hub import safe_relative_path


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "./", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "//host/share", "\\\\host\\share", "a\\b"),
        *("C:", "C:/x", "c:x", "a/D:x", "nul\0.json", "line\nbreak", "bell\a", "\x7f", None, 3, Path("a")),
    ],
)
def test_refused(name):
    with pytest.raises(UnsafePathError, match="name"):
        safe_relative_path(name)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("config.json", "config.json"),
        ("onnx/model.onnx", "onnx/model.onnx"),
        ("a//b", "a/b"),
        ("./a", "a"),
        ("..a/b..", "..a/b.."),
        ("...", "..."),
        ("日本/モデル.txt", "日本/モデル.txt"),
        ("with space.txt", "with space.txt"),
        ("time 12:30.txt", "time 12:30.txt"),
    ],
)
def test_accepted(name, path):
    assert safe_relative_path(name) == PurePosixPath(path)


@given(st.text(alphabet="ab.:/\\C\0\n ", max_size=12))
def test_what_is_accepted_stays_inside_on_every_system(name):
    try:
        path = safe_relative_path(name)
    except UnsafePathError:
        return
    assert ".." not in path.parts
    assert not path.is_absolute()
    windows = PureWindowsPath(str(path))
    assert not windows.drive
    assert not windows.root
    assert (Path("/base") / path).is_relative_to("/base")
