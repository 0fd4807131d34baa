"""Equal work has equal fingerprints in every process; any change that counts makes another."""

import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import functools
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from enfold.datasets.fingerprint import Hasher, next_fingerprint, random_fingerprint
from enfold.datasets.hashing import UnhashableError

hashed = Hasher.hash


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5
    tags: list = dataclasses.field(default_factory=list)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


DIFFERENT = [
    None,
    True,
    1,
    1.0,
    -0.0,
    0.0,
    "1",
    b"1",
    bytearray(b"1"),
    ...,
    [],
    (),
    {},
    set(),
    frozenset(),
    [1, 2],
    [2, 1],
    (1, 2),
    [[1], 2],
    [1, [2]],
    [12],
    {"a": 1},
    {"a": 2},
    {"b": 1},
    {1: "a"},
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    {"a", "b"},
    {"a", "b", "c"},
    range(3),
    range(4),
    slice(1, 2),
    Colour.RED,
    Colour.BLUE,
    Point(1),
    Point(2),
    Point(1, tags=[1]),
    Slotted(1, 2),
    Slotted(1, 3),
    Path("a"),
    Path("b"),
    datetime.date(2020, 1, 1),
    datetime.datetime(2020, 1, 1),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    decimal.Decimal("1.0"),
    decimal.Decimal("1.00"),
    re.compile("a"),
    re.compile("a", re.I),
    collections.OrderedDict(a=1),
    collections.defaultdict(int, a=1),
    collections.defaultdict(list, a=1),
    collections.Counter("a"),
    functools.partial(int, base=2),
    functools.partial(int, base=3),
    len,
    sorted,
    str.lower,
    str.upper,
    "a".upper,
    "b".upper,
    int,
    float,
    re,
    np,
    np.float32(1),
    np.float64(1),
    np.add,
    np.multiply,
    np.arange(3),
    np.arange(3, dtype=np.int32),
    np.arange(4),
    np.arange(6).reshape(2, 3),
    np.arange(6).reshape(3, 2),
    np.array(["a", None], dtype=object),
    np.ma.array([1, 2], mask=[True, False]),
    np.dtype("int8"),
    np.random.default_rng(1),
    np.random.default_rng(2),
    torch.arange(3),
    torch.arange(3).int(),
    torch.ones(2).bfloat16(),
    torch.ones(2, 1).bfloat16(),
    torch.ones(2, dtype=torch.complex64),
    torch.ones(2, device="meta"),
    torch.tensor(1.0),
    torch.float32,
    torch.float16,
    torch.device("cpu"),
    torch.Generator().manual_seed(1),
    torch.Generator().manual_seed(2),
    pa.table({"a": [1, 2]}),
    pa.table({"a": [1, 3]}),
    pa.table({"b": [1, 2]}),
    pa.array([1, None]),
    pa.array(["a"]),
    pa.int32(),
    pa.list_(pa.int32()),
    pa.schema({"a": pa.int32()}),
    pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"a": [1, 2]}, index=[5, 6]),
    pd.DataFrame({"b": [1, 2]}),
    pd.Series(["x", None]),
    pl.DataFrame({"a": [1, 2]}),
    pl.Series("a", [1, 2]),
    logging.getLogger("enfold.a"),
    logging.getLogger("enfold.b"),
    threading.Lock(),
]


def test_different_values_differ():
    digests: dict[str, list] = {}
    for value in DIFFERENT:
        digests.setdefault(hashed(value), []).append(value)
    assert [same for same in digests.values() if len(same) > 1] == []


@pytest.mark.parametrize("value", DIFFERENT, ids=lambda value: f"{type(value).__name__}")
def test_a_copy_is_the_same(value):
    if not isinstance(value, torch.Generator | type(threading.Lock()) | logging.Logger | type(re)):
        assert hashed(copy.deepcopy(value)) == hashed(value)
    assert hashed(value) == hashed(value)
    assert hashed([value]) != hashed(value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES)
def test_any_data(one, other):
    assert hashed(one) == hashed(copy.deepcopy(one))
    assert (hashed(one) == hashed(other)) == (repr(one) == repr(other))


def test_equal_text_is_equal_whoever_owns_it():
    made = "".join(["te", "xt"])
    assert hashed([made, made]) == hashed(["text", made]) == hashed(["text", "te" + "xt"])
    shared = [1]
    assert hashed([shared, shared]) == hashed([[1], [1]])


def test_a_cycle():
    one: list = [1]
    one.append(one)
    other: list = [1]
    other.append(other)
    assert hashed(one) == hashed(other) != hashed([1, [1]])


def test_too_deep_is_told():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnhashableError, match="nested too deep"):
        hashed(deep)


def test_own_description():
    class Row:
        def __init__(self, name, noise):
            self.name, self.noise = name, noise

        def __fingerprint__(self):
            return self.name

    assert hashed(Row("a", 1)) == hashed(Row("a", 2)) != hashed(Row("b", 1))


def test_what_cannot_be_told_says_where_it_hangs(tmp_path):
    with open(tmp_path / "log", "w") as file:
        settings = {"out": [file]}

        def work(row):
            return settings and row

        with pytest.raises(
            UnhashableError, match=r"the enclosed variable 'settings'.*\['out'\].*item 0.*_io\.TextIOWrapper can't"
        ):
            hashed(work)
    with pytest.raises(UnhashableError, match="generator"):
        hashed(number for number in [1])


# -- functions: source text is run in its own module, as a user would write it


def made(source: str, name: str = "work"):
    space: dict = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(source), "<test>", "exec"), space)
    return space[name]


SAME = {
    "comments and lines": ("def work(x): return x + 1", "\n\n# more\ndef work(x):\n    # why\n    return x + 1\n"),
    "where it came from": ("work = lambda x: x + 1", "y = 3\n\nwork = lambda x: x + 1"),
    "globals it does not read": ("n = 1\ndef work(x): return x", "n = 2\ndef work(x): return x"),
    "sets in constants": (
        "def work(x): return x in {'a', 'b', 'c', 'd'}",
        "def work(x): return x in {'d', 'c', 'b', 'a'}",
    ),
    "order of attributes": (
        "class A: pass\nwork = A(); work.x = 1; work.y = 2",
        "class A: pass\nwork = A(); work.y = 2; work.x = 1",
    ),
}
CHANGED = {
    "code": ("def work(x): return x + 1", "def work(x): return x + 2"),
    "operator": ("def work(x): return x + 1", "def work(x): return x - 1"),
    "attribute": ("def work(x): return x.lower()", "def work(x): return x.upper()"),
    "defaults": ("def work(x, n=1): return x + n", "def work(x, n=2): return x + n"),
    "keyword defaults": ("def work(x, *, n=1): return x", "def work(x, *, n=2): return x"),
    "a global": ("n = 1\ndef work(x): return x + n", "n = 2\ndef work(x): return x + n"),
    "a global in a comprehension": (
        "n = 1\ndef work(x): return [i + n for i in x]",
        "n = 2\ndef work(x): return [i + n for i in x]",
    ),
    "a helper": (
        "def clean(x): return x.strip()\ndef work(x): return clean(x)",
        "def clean(x): return x.lstrip()\ndef work(x): return clean(x)",
    ),
    "a helper's global": (
        "n = 1\ndef clean(x): return x + n\ndef work(x): return clean(x)",
        "n = 2\ndef clean(x): return x + n\ndef work(x): return clean(x)",
    ),
    "a closure": (
        "def outer(n):\n    def f(x): return x + n\n    return f\nwork = outer(1)",
        "def outer(n):\n    def f(x): return x + n\n    return f\nwork = outer(2)",
    ),
    "an inner function": (
        "def work(x):\n    def f(y): return y + 1\n    return f(x)",
        "def work(x):\n    def f(y): return y + 2\n    return f(x)",
    ),
    "a method": (
        "class A:\n    def __call__(self, x): return x + 1\nwork = A()",
        "class A:\n    def __call__(self, x): return x + 2\nwork = A()",
    ),
    "a base class": (
        "class B:\n    def __call__(self, x): return x + 1\nclass A(B): pass\nwork = A()",
        "class B:\n    def __call__(self, x): return x + 2\nclass A(B): pass\nwork = A()",
    ),
    "a property": (
        "class A:\n    @property\n    def p(self): return 1\nwork = A()",
        "class A:\n    @property\n    def p(self): return 2\nwork = A()",
    ),
    "a static method": (
        "class A:\n    @staticmethod\n    def p(): return 1\nwork = A.p",
        "class A:\n    @staticmethod\n    def p(): return 2\nwork = A.p",
    ),
    "an attribute of the object": (
        "class A:\n    def __init__(self, n): self.n = n\n    def run(self, x): return x + self.n\nwork = A(1).run",
        "class A:\n    def __init__(self, n): self.n = n\n    def run(self, x): return x + self.n\nwork = A(2).run",
    ),
    "a decorated function": (
        "import functools\n@functools.lru_cache\ndef work(x): return x + 1",
        "import functools\n@functools.lru_cache\ndef work(x): return x + 2",
    ),
    "a decorator": (
        "import functools\ndef d(f):\n    @functools.wraps(f)\n    def g(x): return f(x) + 1\n    return g\n"
        "@d\ndef work(x): return x",
        "import functools\ndef d(f):\n    @functools.wraps(f)\n    def g(x): return f(x) + 2\n    return g\n"
        "@d\ndef work(x): return x",
    ),
    "which function of a module": (
        "import math\ndef work(x): return math.sin(x)",
        "import math\ndef work(x): return math.cos(x)",
    ),
    "a coroutine": ("async def work(x): return x + 1", "def work(x): return x + 1"),
    "exceptions caught": (
        "def work(x):\n    try: return x\n    except KeyError: return 1",
        "def work(x):\n    try: return x\n    except ValueError: return 1",
    ),
    "an enumeration": (
        "import enum\nclass E(enum.Enum):\n    A = 1\ndef work(x): return E.A",
        "import enum\nclass E(enum.Enum):\n    A = 2\ndef work(x): return E.A",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_function(name):
    one, other = SAME[name]
    assert hashed(made(one)) == hashed(made(other)) == hashed(made(one))


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_function(name):
    one, other = CHANGED[name]
    assert hashed(made(one)) != hashed(made(other))
    assert hashed(made(one)) == hashed(made(one))


def test_a_function_that_calls_itself():
    source = "def work(n): return 1 if n < 2 else n * work(n - 1)"
    assert hashed(made(source)) == hashed(made(source)) != hashed(made(source.replace("< 2", "< 3")))


@pytest.mark.parametrize(
    "use",
    [
        "import helpers\ndef work(x): return helpers.clean(x)",
        "from helpers import clean\ndef work(x): return clean(x)",
        "import helpers as h\ndef work(x): return list(map(h.clean, x))",
        "import helpers\ndef work(x, m=helpers): return m.clean(x)",
        "def work(x):\n    import helpers\n    return helpers.clean(x)",
        "def work(x):\n    from helpers import clean\n    return clean(x)",
        "from helpers import Cleaner\nwork = Cleaner()",
    ],
    ids=["module", "name", "alias", "default", "import inside", "name inside", "instance"],
)
def test_a_users_module_counts_by_its_code(tmp_path, use):
    """Each version is hashed in two processes of their own, with other hash seeds."""
    helpers = """
        def clean(x):
            return deeper(x)

        def deeper(x):
            return x + ONE

        class Cleaner:
            def __call__(self, x):
                return deeper(x)
    """

    def digests(one: int, *seeds: str) -> set[str]:
        (tmp_path / "helpers.py").write_text(textwrap.dedent(helpers).replace("ONE", str(one)))
        (tmp_path / "main.py").write_text(
            f"{use}\nfrom enfold.datasets.fingerprint import Hasher\nprint(Hasher.hash(work))\n"
        )
        return {
            subprocess.run(
                [sys.executable, "-B", "main.py"],
                cwd=tmp_path,
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in seeds
        }

    first, second = digests(1, "1", "2"), digests(2, "1")
    assert len(first) == len(second) == 1
    assert first != second


def test_another_process_agrees():
    script = "from tests.datasets.test_fingerprint import every_digest\nprint(*every_digest())"
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "11"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.split() == every_digest()


def every_digest() -> list[str]:
    return [*map(hashed, DIFFERENT), *(hashed(made(source)) for pair in CHANGED.values() for source in pair)]


# -- what people map with


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.LayerNorm(2)).eval()


def test_torch_modules():
    one = network(0)
    before = hashed(one)
    one(torch.ones(1, 3))
    assert hashed(one) == before == hashed(network(0)) == hashed(copy.deepcopy(one))
    assert hashed(network(1)) != before
    assert hashed(network(0).train()) != before
    with torch.no_grad():
        one[0].bias[0] += 1e-3  # type: ignore[operator, union-attr]
    assert hashed(one) != before


def test_models_of_the_house():
    from enfold import BertConfig, BertModel

    def model(seed: int):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
        )
        return BertModel(config).eval()

    one = model(0)
    before = hashed(one)
    with torch.no_grad():
        one(torch.tensor([[1, 2, 3]]))
    assert hashed(one) == before == hashed(model(0))
    assert hashed(model(1)) != before


def test_tokenizers_of_the_house(tmp_path):
    from enfold import BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n")

    def tokenizer(**options):
        return BertTokenizerFast.from_pretrained(tmp_path, **options)

    one = tokenizer()

    def tokenize(batch):
        return one(batch["text"], truncation=True)

    before, function = hashed(one), hashed(tokenize)
    one(["hello world"] * 3, padding=True, truncation=True, max_length=2, return_tensors="pt")
    assert one.decode([5, 6]) == "hello world"
    assert hashed(one) == before == hashed(tokenizer())
    assert hashed(tokenize) == function
    assert hashed(tokenizer(model_max_length=7)) != before
    one.add_tokens(["new"])
    assert hashed(one) != before
    assert hashed(tokenize) != function


def test_next_fingerprint():
    start = random_fingerprint()
    assert start != random_fingerprint()
    assert re.fullmatch("[0-9a-f]{16}", start)
    found = next_fingerprint(start, "map", {"function": len, "batched": True})
    assert re.fullmatch("[0-9a-f]{16}", found)
    assert found == next_fingerprint(start, "map", {"batched": True, "function": len})
    others = {
        next_fingerprint(random_fingerprint(), "map", {"function": len, "batched": True}),
        next_fingerprint(start, "filter", {"function": len, "batched": True}),
        next_fingerprint(start, "map", {"function": len, "batched": False}),
        next_fingerprint(start, "map", {"function": len}),
    }
    assert len({found, *others}) == 5


def test_an_argument_that_cannot_be_told_is_named_once(tmp_path, monkeypatch):
    told: list[str] = []
    logger = logging.getLogger("enfold.datasets")
    monkeypatch.setattr(logger, "warning", lambda message, *parts: told.append(message % parts))
    with open(tmp_path / "unique-name", "w") as file:
        made = {next_fingerprint("0", "map", {"enfolded_kwargs": {"file": file}}) for _ in range(3)}
    assert len(made) == 3
    assert len(told) == 1
    assert "map can't be cached" in told[0]
    assert "enfolded_kwargs" in told[0]
