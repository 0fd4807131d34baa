"""Commands and bookkeeping of the chat loop."""

import io
import json

import pytest

from enfold.base.errors import LengthError
from enfold.cli.conversation import Chat
from enfold.cli.show import printable


def talk(lines, answer=None, **more):
    """Run a chat over `lines`; an exception among them is raised where it stands. Returns (chat, output)."""
    lines = iter(lines)

    def read_line(prompt):
        line = next(lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    out = io.StringIO()
    chat = Chat(answer or (lambda messages: [f"<{messages[-1]['content']}>"]), read_line=read_line, out=out, **more)
    chat.talk()
    return chat, out.getvalue()


def roles(chat):
    return [(message["role"], message["content"]) for message in chat.conversation()]


def test_turns_are_remembered():
    chat, out = talk(["a", "", "   ", "b"])
    assert out == "<a>\n<b>\n"
    assert roles(chat) == [("user", "a"), ("assistant", "<a>"), ("user", "b"), ("assistant", "<b>")]


def test_system_prompt_comes_first():
    seen = []

    def answer(messages):
        seen.append([message["role"] for message in messages])
        return ["x"]

    chat, out = talk(["a", "/system", "/system be brief", "/system", "b"], answer)
    assert seen == [["user"], ["system", "user", "assistant", "user"]]
    assert "(no system prompt)" in out
    assert out.count("be brief") == 1
    chat, _ = talk(["/reset"], system="given")
    assert roles(chat) == [("system", "given")]


def test_reset_exit_help_and_unknown():
    chat, out = talk(["a", "/reset", "b", "/help", "/nonsense", "/exit", "never"])
    assert roles(chat) == [("user", "b"), ("assistant", "<b>")]
    assert "no command /nonsense" in out
    assert "/save FILE" in out
    assert "never" not in out


def test_slashes_and_continued_lines():
    chat, _ = talk(["//etc/hosts", "one\\", "two"])
    assert [text for role, text in roles(chat) if role == "user"] == ["/etc/hosts", "one\ntwo"]


@pytest.mark.parametrize("name", ["chat.json", "chat.md"])
def test_save(tmp_path, name):
    path = tmp_path / name
    chat, out = talk(["a", f"/save {path}", f"/save {path}", "/save", f"/save {tmp_path}/no/where"], system="s")
    assert f"(saved to {path})" in out
    assert "is there already" in out
    assert "needs the name" in out
    assert "can't be written" in out
    text = path.read_text()
    if name.endswith("json"):
        assert json.loads(text) == chat.conversation()
    else:
        assert text == "**system**\n\ns\n\n**user**\n\na\n\n**assistant**\n\n<a>\n"


def test_an_answer_that_is_cut_short_is_closed():
    closed = []

    def answer(messages):
        try:
            yield "one "
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    chat, out = talk(["a", "/exit"], answer)
    assert closed == [True]
    assert out == "one  …\n"
    assert roles(chat) == [("user", "a"), ("assistant", "one ")]


def test_an_error_in_the_middle_leaves_no_trace():
    def answer(messages):
        yield "one "
        raise LengthError("the conversation\nis too long")

    chat, out = talk(["a"], answer)
    assert out == "one \nerror: the conversation is too long\n"
    assert chat.messages == []
    with pytest.raises(LengthError):
        talk(["a"], answer, interactive=False)


def test_nothing_said_is_not_remembered():
    chat, _ = talk(["a"], lambda messages: [])
    assert chat.messages == []


def test_interrupts_end_a_chat_that_nobody_watches():
    def answer(messages):
        raise KeyboardInterrupt

    for lines in (["a"], [KeyboardInterrupt()]):
        with pytest.raises(KeyboardInterrupt):
            talk(lines, answer, interactive=False)


def test_answers_can_not_steer_the_terminal():
    assert printable("a\x1b[2Jb\x07\r\x9b1m\tc\nд😀") == "a[2Jb1m\tc\nд😀"
    _, out = talk(["a"], lambda messages: ["\x1b]0;title\x07hi"])
    assert "\x1b" not in out
