"""Every public name of the reference: it is there, with the reference's arguments, or it says that it isn't."""

import inspect
import subprocess
import sys

import pytest

import datasets as reference
import enfold.datasets
from enfold.base.errors import ArgumentError, NotBuiltError

CLASSES = ["Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict"]
FUNCTIONS = [
    name
    for name in dir(reference)
    if not name.startswith("_") and inspect.isfunction(getattr(reference, name)) and name != "experimental"
]
# What a `dict` brings is not looked at again.
METHODS = [
    (owner, name)
    for owner in CLASSES
    for name in dir(getattr(reference, owner))
    if not name.startswith("_") and not hasattr(dict, name)
]


def told(function) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}


def takes_any(function) -> bool:
    return any(each.kind is each.VAR_KEYWORD for each in inspect.signature(function).parameters.values())


def same_arguments(ours, theirs) -> None:
    mine, others = told(ours), told(theirs)
    assert takes_any(ours) or set(others) <= set(mine)
    shared = [name for name in others if name in mine]
    assert shared == [name for name in mine if name in others], "their order"
    for name in shared:
        default = others[name].default
        assert mine[name].default == (str(default) if isinstance(default, reference.NamedSplit) else default), name


def test_of_the_module():
    missing = []
    for name in dir(reference):
        if name.startswith("_") or inspect.ismodule(getattr(reference, name)):
            continue
        try:
            getattr(enfold.datasets, name)
        except NotBuiltError:
            assert name not in enfold.datasets.__dir__()
        except AttributeError:
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize(("owner", "name"), METHODS)
def test_of_a_class(owner, name):
    ours = getattr(getattr(enfold.datasets, owner), name)
    theirs = getattr(getattr(reference, owner), name)
    if callable(theirs):
        assert callable(ours)
        same_arguments(ours, theirs)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_a_function(name):
    same_arguments(getattr(enfold.datasets, name), getattr(reference, name))


@pytest.mark.parametrize(
    "call",
    [
        lambda data: data.add_elasticsearch_index("a"),
        lambda data: data.load_elasticsearch_index("a", es_index_name="a"),
        lambda data: enfold.datasets.GeneratorBasedBuilder,
        lambda data: enfold.datasets.load_dataset("csv", data_files="a.csv", save_infos=True),
        lambda data: enfold.datasets.load_dataset("csv", data_files="a.csv", download_config=object()),
        lambda data: enfold.datasets.get_dataset_config_names("csv", download_config=object()),
        lambda data: enfold.datasets.get_dataset_default_config_name("csv", download_config=object()),
        lambda data: enfold.datasets.get_dataset_split_names("csv", download_config=object()),
        lambda data: enfold.datasets.get_dataset_infos("csv", download_config=object()),
    ],
)
def test_what_is_not_built_says_so(call):
    with pytest.raises((NotBuiltError, ArgumentError)) as raised:
        call(enfold.datasets.Dataset.from_dict({"a": [1]}))
    assert "built" in str(raised.value) or "Pass" in str(raised.value)


def test_progress_bars_are_switched(monkeypatch):
    monkeypatch.delenv("ENFOLD_PROGRESS", raising=False)
    for off, on, asked in (
        ("disable_progress_bars", "enable_progress_bars", "are_progress_bars_disabled"),
        ("disable_progress_bar", "enable_progress_bar", "are_progress_bars_disabled"),
    ):
        getattr(enfold.datasets, off)()
        assert getattr(enfold.datasets, asked)()
        assert not enfold.datasets.is_progress_bar_enabled()
        getattr(enfold.datasets, on)()
        assert not getattr(enfold.datasets, asked)()
        assert enfold.datasets.is_progress_bar_enabled()


def test_it_is_imported_quickly_and_without_torch():
    code = (
        "import time; start = time.process_time(); import enfold.datasets; end = time.process_time();"
        "import sys; heavy = {'torch', 'transformers', 'pandas', 'pyarrow', 'numpy', 'datasets'} & set(sys.modules);"
        "print(end - start, *heavy)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    assert all(len(run) == 1 for run in runs), runs
    assert min(float(run[0]) for run in runs) < 0.3
    # The classes too come without torch.
    code = "import sys; from enfold.datasets import Dataset, IterableDataset; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
