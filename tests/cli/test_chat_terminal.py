"""The chat at a real pseudo-terminal: keys, Ctrl-C, history, the end."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pty = pytest.importorskip("pty")
from .pty_session import Session  # noqa: E402

SCRIPT = str(Path(__file__).with_name("scripted_chat.py"))


@pytest.fixture(params=["prompt_toolkit", "plain"])
def chat(request):
    if request.param == "prompt_toolkit":
        pytest.importorskip("prompt_toolkit")
    with Session([sys.executable, SCRIPT, *(["--plain"] if request.param == "plain" else [])]) as session:
        session.wait("ready")
        session.wait(">")
        yield session


def test_answers_then_leaves(chat):
    chat.type("hello\r")
    chat.wait("[1] you said HELLO")
    chat.wait(">")
    chat.type("again\r")
    chat.wait("[3] you said AGAIN")
    chat.wait(">")
    chat.type("/exit\r")
    chat.wait("bye")
    assert chat.exit_code() == 0


def test_control_c_stops_the_answer_and_not_the_program(chat):
    chat.type("slow\r")
    chat.wait("3 4 5 ")
    chat.interrupt()
    assert "999" not in chat.wait("…")
    chat.wait(">")
    chat.type("hello\r")
    chat.wait("[3] you said HELLO")  # the cut answer is part of the conversation


def test_control_c_before_the_first_word(chat):
    chat.type("stuck\r")
    chat.wait("stuck")
    time.sleep(0.3)
    chat.interrupt()
    chat.wait("(stopped)")
    chat.wait(">")
    chat.type("hello\r")
    chat.wait("[1] you said HELLO")  # nothing of the stopped turn is left


def test_control_c_at_the_prompt(chat):
    chat.type("half a line")
    chat.wait("half a line")
    time.sleep(0.3)  # readline loses a signal that comes between its echo and its next wait, as no hand would send it
    chat.interrupt()
    chat.wait("Ctrl-D or /exit leaves")
    chat.wait(">")
    chat.type("hello\r")
    chat.wait("you said HELLO")


def test_control_d_leaves(chat):
    chat.type("\x04")
    chat.wait("bye")
    assert chat.exit_code() == 0


def test_arrow_up_brings_the_line_back(chat):
    chat.type("hello\r")
    chat.wait("[1] you said HELLO")
    chat.wait(">")
    chat.type("\x1b[A")
    chat.wait("hello")
    chat.type("\r")
    chat.wait("[3] you said HELLO")


def test_an_error_is_one_line_and_the_chat_goes_on(chat):
    chat.type("long\r")
    chat.wait("error: too long")
    chat.wait(">")
    chat.type("hello\r")
    chat.wait("[1] you said HELLO")


def test_a_pipe_has_no_prompt():
    done = subprocess.run(
        [sys.executable, SCRIPT], input="one\ntwo\n", capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "ready\n[1] you said ONE\n[3] you said TWO\nbye\n"


def test_an_error_ends_a_pipe():
    done = subprocess.run([sys.executable, SCRIPT], input="long\ntwo\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "TWO" not in done.stdout
