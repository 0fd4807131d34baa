"""`enfold chat` with a real model, at a pseudo-terminal and through a pipe."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pty")
from enfold.cli.chat import DEFAULT_MODEL
from enfold.hub.cache import cached_snapshots, default_cache_dir

from .pty_session import Session

pytestmark = pytest.mark.weights
COMMAND = [sys.executable, "-m", "enfold.cli.main", "chat"]
OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.fixture(autouse=True, scope="module")
def _weights():
    if not any(cached_snapshots(DEFAULT_MODEL, "main", default_cache_dir())):
        pytest.skip(f"{DEFAULT_MODEL} is not in the cache (make weights fetches it)")


def test_a_conversation(tmp_path: Path):
    with Session([*COMMAND, "--max-new-tokens", "60"], OFFLINE) as chat:
        chat.wait("/help shows", seconds=120)
        chat.wait(">")
        chat.type("What is the capital of France?\r")
        chat.wait("Paris", seconds=60)
        chat.wait(">", seconds=60)
        chat.type("Write a long story about a fox.\r")
        chat.wait("fox.")  # the question itself
        chat.wait(" the ", seconds=60)
        chat.interrupt()
        chat.wait("…", seconds=10)
        chat.wait(">")
        path = tmp_path / "chat.md"
        chat.type(f"/save {path}\r")
        chat.wait("(saved to")
        chat.wait(">")
        chat.type("\x04")
        assert chat.exit_code() == 0
    text = path.read_text()
    assert text.count("**user**") == 2
    assert "Paris" in text.split("**assistant**")[1]


def test_through_a_pipe():
    done = subprocess.run(
        [*COMMAND, "--max-new-tokens", "20", "--temperature", "0"],
        input="What is the capital of France?\n",
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert ">" not in done.stdout


def test_a_model_that_is_not_there():
    done = subprocess.run([*COMMAND, "./nowhere"], capture_output=True, text=True, timeout=60, input="hi\n")
    assert done.returncode == 1
    assert done.stderr.startswith("enfold: error: There is no folder './nowhere'")
