"""The command as a process: help, exit codes, errors in one line."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import enfold
from enfold.cli.main import main

from ..hub.little_hub import LittleHub

VERBS = ["run", "chat", "download", "login", "logout", "whoami", "env"]


def enfold_command(*arguments, env=None, **more):
    """Run `enfold …` without anything of the user's environment of the hub."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "enfold.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean | (env or {}),
        **({"stdin": subprocess.DEVNULL} | more if "input" not in more else more),
    )


def test_help_is_quick_and_loads_nothing_heavy():
    # Processor time: what the clock says depends on what else the machine does.
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = enfold_command("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert min(spent) < 0.15
    code = (
        "import sys; from enfold.cli.main import build_parser; build_parser();"
        "print(sorted({'torch', 'numpy', 'huggingface_hub', 'rich', 'prompt_toolkit'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_shows_examples(verb, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    out = capsys.readouterr().out
    assert "examples:\n  " in out
    assert f"enfold {verb}" in out


def test_no_verb_prints_help(capsys):
    assert main([]) == 0
    assert "usage: enfold" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"enfold {enfold.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run"],
        ["run", "fill-mask", "x", "--option", "top_k"],
        ["run", "fill-mask", "x", "--option", "not a name=1"],
        ["run", "fill-mask", "x", "--batch-size", "0"],
        ["run", "fill-mask", "x", "--file", "y"],
        ["chat", "--max-new-tokens", "many"],
        ["download"],
        ["login"],
    ],
)
def test_wrong_usage_is_2(arguments):
    done = enfold_command(*arguments)
    assert done.returncode == 2
    assert "usage: enfold" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_one_line_and_1(tmp_path):
    for arguments in (["download", "not an id"], ["download", "./nowhere"]):
        done = enfold_command(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("enfold: error: ")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["--debug", "download", "not an id"], ["download", "not an id", "--debug"]])
def test_debug_shows_where(arguments):
    done = enfold_command(*arguments)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_download(tmp_path):
    files = {"config.json": b"{}", "model.safetensors": b"w" * 3000, "onnx/m.onnx": b"o" * 3000}
    with LittleHub() as hub:
        hub.add("org/model", files)
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
        done = enfold_command("download", "org/model", "--include", "*.json", "*.safetensors", env=env)
        assert done.returncode == 0, done.stderr
        folder = done.stdout.strip()
        assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
        seen = len(hub.requests)
        assert enfold_command("download", "org/model", "config.json", env=env).stdout.strip() == folder
        assert len(hub.requests) == seen
        hub.repos["org/model"].push(files | {"config.json": b'{"new": 1}'})
        assert enfold_command("download", "org/model", "config.json", env=env).stdout.strip() == folder
        fresh = enfold_command("download", "org/model", "config.json", "--refresh", env=env).stdout.strip()
        assert fresh != folder
        assert Path(fresh, "config.json").read_text() == '{"new": 1}'
        done = enfold_command("download", "org/model", "--local-dir", str(tmp_path / "out"), env=env)
        assert done.stdout.strip() == str(tmp_path / "out")
        assert (tmp_path / "out" / "onnx" / "m.onnx").read_bytes() == files["onnx/m.onnx"]
        done = enfold_command("download", "org/other", env=env)
        assert done.returncode == 1
        assert "no repository org/other" in done.stderr


def test_login_whoami_logout(tmp_path):
    with LittleHub() as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(tmp_path / "git")}
        done = enfold_command("whoami", env=env)
        assert done.returncode == 1
        assert "enfold login" in done.stderr
        done = enfold_command("login", env=env, input="hf_bad\n")
        assert done.returncode == 1
        assert "refused" in done.stderr
        done = enfold_command("login", env=env, input="hf_good\n")
        assert (done.returncode, done.stdout) == (0, "logged in as ada\n"), done.stderr
        assert enfold_command("whoami", env=env).stdout == "ada\n"
        assert enfold_command("logout", env=env).stdout == "logged out\n"
        assert enfold_command("logout", env=env).stdout == "nobody was logged in\n"


def test_env(tmp_path):
    env = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_secret"}
    done = enfold_command("env", "--json", env=env)
    facts = json.loads(done.stdout)
    assert facts["enfold"] == enfold.__version__
    assert facts["devices"][0] == "cpu"
    assert facts["packages"]["torch"].startswith("2.")
    expected = {"cache": str(tmp_path / "hub"), "cached_repositories": 0, "offline": True, "token": True}
    assert facts["hub"] | expected == facts["hub"]
    text = enfold_command("env", env=env).stdout
    assert "forbidden (HF_HUB_OFFLINE)" in text
    assert "hf_secret" not in text + done.stdout
