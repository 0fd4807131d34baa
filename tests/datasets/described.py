"""Hypothesis strategies: features in their JSON form, and values that fit them."""

import datetime

from hypothesis import strategies as st

NAMES = st.text("abcXYZ_ é", min_size=1, max_size=4)

SCALARS = {
    "null": st.none(),
    "bool": st.booleans(),
    "int8": st.integers(-128, 127),
    "int16": st.integers(-(2**15), 2**15 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint8": st.integers(0, 255),
    "uint16": st.integers(0, 2**16 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**63 - 1),
    "float16": st.floats(width=16, allow_nan=False),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "string": st.text(max_size=4),
    "large_string": st.text(max_size=4),
    "string_view": st.text(max_size=4),
    "binary": st.binary(max_size=4),
    "large_binary": st.binary(max_size=4),
    "date32": st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)),
    "date64": st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)),
    "timestamp[us]": st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)),
    "timestamp[ns, tz=UTC]": st.datetimes(
        datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1), timezones=st.just(datetime.UTC)
    ),
    "time64[us]": st.times(),
    "duration[us]": st.timedeltas(datetime.timedelta(-1000), datetime.timedelta(1000)),
    "decimal128(12, 3)": st.decimals(-(10**8), 10**8, places=3),
    "decimal256(40, 6)": st.decimals(-(10**8), 10**8, places=6),
    "fixed_size_binary[3]": st.binary(min_size=3, max_size=3),
}
MORE_DTYPES = [
    "binary_view",
    "timestamp[s]",
    "timestamp[ms, tz=America/New_York]",
    "time32[s]",
    "time32[ms]",
    "time64[ns]",
    "duration[s]",
    "duration[ms]",
    "duration[ns]",
    "month_day_nano_interval",
]


def values_of(plain) -> st.SearchStrategy:
    """Values, None among them, that a feature in JSON form holds."""
    if isinstance(plain, dict) and not isinstance(plain.get("_type"), str):
        return st.none() | st.fixed_dictionaries({name: values_of(inner) for name, inner in plain.items()})
    kind = plain["_type"]
    if kind == "Value":
        return st.none() | SCALARS[plain["dtype"]]
    if kind == "ClassLabel":
        return st.none() | st.sampled_from(plain["names"]) | st.integers(-1, len(plain["names"]) - 1)
    if kind in ("List", "LargeList"):
        size = plain.get("length", -1)
        sizes = {"max_size": 3} if size == -1 else {"min_size": size, "max_size": size}
        return st.none() | st.lists(values_of(plain["feature"]), **sizes)
    if kind == "Translation":
        return st.none() | st.fixed_dictionaries({language: st.text(max_size=3) for language in plain["languages"]})
    raise AssertionError(kind)


def described(scalars=tuple(SCALARS), extras: bool = True) -> st.SearchStrategy:
    """A feature in JSON form. `extras`: kinds without a strategy for values too (images, arrays, JSON, …)."""
    value = st.sampled_from(sorted(scalars)).map(lambda dtype: {"dtype": dtype, "_type": "Value"})
    label = st.lists(st.text("abcd", min_size=1, max_size=3), min_size=1, max_size=4, unique=True).map(
        lambda names: {"names": names, "_type": "ClassLabel"}
    )
    pair = st.just({"languages": ["en", "de"], "_type": "Translation"})
    leaf = value | label | pair
    if extras:
        shape = st.lists(st.integers(1, 4), min_size=2, max_size=5)
        leaf |= st.sampled_from(
            [
                {"_type": "Image"},
                {"mode": "RGB", "_type": "Image"},
                {"decode": False, "_type": "Image"},
                {"_type": "Audio"},
                {"sampling_rate": 16000, "_type": "Audio"},
                {"_type": "Video"},
                {"_type": "Pdf"},
                {"_type": "Nifti"},
                {"_type": "Mesh"},
                {"format": "genbank", "_type": "BioSequence"},
                {"_type": "BioStructure"},
                {"_type": "Json"},
                {"decode": False, "_type": "Json"},
                {"dtype": "string", "id": "some id", "_type": "Value"},
                {"languages": ["de", "en"], "num_languages": 2, "_type": "TranslationVariableLanguages"},
            ]
        ) | shape.map(lambda sizes: {"shape": sizes, "dtype": "int32", "_type": f"Array{len(sizes)}D"})
    return st.recursive(
        leaf,
        lambda inner: (
            st.builds(lambda feature: {"feature": feature, "_type": "List"}, inner)
            | st.builds(
                lambda feature, length: {"feature": feature, "length": length, "_type": "List"},
                inner,
                st.integers(1, 3),
            )
            | st.builds(lambda feature: {"feature": feature, "_type": "LargeList"}, inner)
            | st.dictionaries(NAMES, inner, min_size=1, max_size=3)
        ),
        max_leaves=5,
    )


def columns(**options) -> st.SearchStrategy:
    return st.dictionaries(NAMES, described(**options), min_size=1, max_size=3)


@st.composite
def tables(draw, **options):
    """Features in JSON form, and columns of values that fit them."""
    plain = draw(columns(**options))
    rows = draw(st.integers(0, 4))
    return plain, {
        name: draw(st.lists(values_of(inner), min_size=rows, max_size=rows)) for name, inner in plain.items()
    }
