"""What the package promises before any model: light imports, names that resolve, a wheel that works elsewhere."""

import importlib
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import enfold
from enfold.base.errors import EnfoldError, NotBuiltError
from enfold.names import NOT_BUILT, WHERE

ROOT = Path(__file__).resolve().parents[1]


def python(program: str, **env: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_loads_neither_torch_nor_numpy():
    heavy = "[m for m in ('torch', 'numpy', 'huggingface_hub', 'jinja2', 'rich') if m in sys.modules]"
    assert python(f"import sys, enfold; print({heavy})") == "[]"
    assert python(f"import sys, enfold.hub, enfold.cli.main; print({heavy})") == "[]"


@pytest.mark.weights
def test_tokenising_loads_no_torch():
    program = (
        "import sys; from enfold import AutoTokenizer; "
        "t = AutoTokenizer.from_pretrained('sentence-transformers/all-MiniLM-L6-v2'); "
        "t(['hello world', 'a'], padding=True, return_tensors='np'); t.decode([101, 102]); "
        "print('torch' in sys.modules)"
    )
    assert python(program) == "False"


def test_every_public_name_resolves():
    for name, module in WHERE.items():
        value = getattr(enfold, name)
        assert value is importlib.import_module(module) or value is getattr(importlib.import_module(module), name)
        assert name in dir(enfold)


def test_every_model_class_is_public():
    from enfold.models.registry import public_names

    assert public_names().items() <= WHERE.items()


@pytest.mark.parametrize("name", sorted(NOT_BUILT))
def test_planned_names_say_so(name):
    with pytest.raises(NotBuiltError, match=f"enfold.{name} is not built yet"):
        getattr(enfold, name)


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("accelerate", "DeepSpeedPlugin"),
        ("peft", "LoraConfig"),
        ("trl", "SFTTrainer"),
        ("diffusers", "DiffusionPipeline"),
    ],
)
def test_planned_rooms_say_so(room, name):
    with pytest.raises(NotBuiltError, match=f"enfold.{room}.{name} is not built yet"):
        getattr(importlib.import_module(f"enfold.{room}"), name)


def test_an_unknown_name_is_an_ordinary_import_error():
    with pytest.raises(ImportError, match="cannot import name"):
        exec("from enfold import NoSuchThing")
    assert not hasattr(enfold, "NoSuchThing")


def test_every_error_is_caught_by_the_root():
    errors = importlib.import_module("enfold.base.errors")
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) > 12
    assert all(issubclass(c, EnfoldError) for c in classes)


def test_a_wheel_works_in_another_folder(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    env = os.environ | {"SKBUILD_BUILD_DIR": str(tmp_path / "build")}
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, timeout=900, env=env)
    wheel = next(tmp_path.glob("enfold-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert any(name.startswith("enfold/tokenizers/_engine") for name in names)
    assert any(name.startswith("enfold/nn/_kernels") for name in names)
    assert "enfold/py.typed" in names
    assert not any(name.startswith(("tests/", "native/", "src/")) for name in names)
    # Without site, so that an editable install doesn't stand in for the wheel.
    program = (
        f"import sys; sys.path[:0] = {[str(tmp_path / 'site'), sysconfig.get_paths()['purelib']]}; "
        "import enfold, enfold.tokenizers._engine, torch; from enfold import BertConfig, BertModel; "
        "m = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, "
        "intermediate_size=8)); print(enfold.__file__, m(torch.tensor([[1, 2]])).last_hidden_state.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout
    assert "[1, 2, 8]" in done.stdout
