"""Every format, beside the reference on the same files: features, values, order; and what happens with bad rows."""

import datetime
import io
import json
import logging
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import datasets as reference
from enfold.base.errors import ArgumentError, BadRowError, DatasetError, NotBuiltError
from enfold.datasets import load_dataset
from enfold.datasets.features import Features
from enfold.datasets.files import Access, match
from enfold.datasets.readers.base import reader_class

reference.disable_progress_bars()


def ours(format: str, path: Path, **options):
    files = match(str(path), "/", Access())
    reader = reader_class(format).of(options).prepared({"train": files})
    tables = [table for file in reader.shards(files) for table in reader(file)]
    features = reader.features or Features.from_arrow_schema(tables[0].schema)
    return features.to_dict(), [features.decode_example(row) for table in tables for row in table.to_pylist()]


def theirs(format: str, path: Path, tmp_path: Path, **options):
    data = reference.load_dataset(
        format, data_files=str(path), split="train", cache_dir=str(tmp_path / "theirs"), **options
    )
    return data.features.to_dict(), data.to_list()


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


CSV = [
    ("a,b,c\n1,x,1.5\n2,y,\n", {}),
    ("a,b\n1,\n,2\n", {}),
    ("a,b\nTrue,x\nfalse,NA\n", {}),
    ("a,b\nTrue,x\n,null\n", {}),
    ("a;b\n1;2\n", {"sep": ";"}),
    ("a\tb\n1\t2\n", {"delimiter": "\t"}),
    ("a,a,,b\n1,2,3,4\n", {}),
    ('a,b\n"x\ny",2\n"q""z",3\n', {}),
    ("a,b\n1\n2,3\n", {}),
    ("a,b\n1,2,3\n4,5,6\n", {}),
    ("1,2\n3,4\n", {"header": None}),
    ("1,2\n3,4\n", {"names": ["x", "y"]}),
    ("1,2\n3,4\n", {"column_names": ["x", "y"]}),
    ("h,i\n3,4\n", {"names": ["x", "y"], "header": 0}),
    ("a\n1\n\n2\n", {}),
    ("\ufeffa,b\n1,2\n", {}),
    ("a\n9223372036854775808\n", {}),
    ("a,b\n 1, x\n2,y\n", {}),
    ("a\n1e5\n-inf\n.5\n1.\n", {}),
    ("a\n2020-01-01\n2020-01-02 10:00:00\n", {}),
    ("a\n+1\n2\n", {}),
    ("a\n1\n2.0\n", {}),
    ("a,b\n,\n,\n", {}),
    ('d,e\n1,"NA"\n2,null\n', {}),
    ("a,b\n1,2\n", {"usecols": ["b"]}),
    ("a,b\n#1,2\n3,4\n", {"comment": "#"}),
    ("a\n1,5\n", {"decimal": ",", "sep": ";"}),
    ("a,b\r\n1,2\r\n", {}),
    ("a,b\r1,2\r", {}),
    ("a\nx\n1\n", {}),
    ("a\ntrue\n1\n", {}),
    ("a\n0001\n", {}),
    ("a\nü\n".encode("latin-1"), {"encoding": "latin-1"}),
    ("a,b\n1,2\n", {"na_values": ["2"]}),
    ("a\n\n1\n", {"skip_blank_lines": False}),
    ("a\nNA\n", {"keep_default_na": False}),
    ("a,b\n1,2\n3,4\n", {"skiprows": 1}),
    ("a,b\n1,2\n3,4\n", {"nrows": 1}),
    ("a\n'x,y'\n", {"quotechar": "'"}),
    ('a\n"x\n', {"quoting": 3}),
    ("a,b\n1,2\n", {"index_col": 0}),
    ("a\n1\n2\n3\n4.5\n", {"chunksize": 10}),
]


@pytest.mark.parametrize(("content", "options"), CSV, ids=range(len(CSV)))
def test_csv_is_read_as_the_reference_does(content, options, tmp_path):
    path = written(tmp_path, "a.csv", content)
    assert repr(ours("csv", path, **options)) == repr(theirs("csv", path, tmp_path, **options))


def test_features_that_are_asked_for_are_obeyed(tmp_path):
    path = written(tmp_path, "a.csv", "a,b,c\n1,x,3\n2,y,4\n")
    features = Features.from_dict(
        {
            "a": {"_type": "Value", "dtype": "string"},
            "b": {"_type": "ClassLabel", "names": ["x", "y"]},
            "c": {"_type": "Value", "dtype": "float32"},
        }
    )
    asked = reference.Features.from_dict(features.to_dict())
    assert ours("csv", path, features=features) == theirs("csv", path, tmp_path, features=asked)


JSON = [
    ('{"a":1,"b":"x"}\n{"a":2,"b":null}\n', {}),
    ('{"a":1}\n{"a":1.5}\n', {}),
    ('{"a":1}\n{"b":2}\n', {}),
    ('{"a":{"x":1,"y":[1,2]}}\n{"a":{"x":2,"y":[]}}\n', {}),
    ('[{"a":1},{"a":2}]', {}),
    ('["x","y"]', {}),
    ('{"data":[{"a":1},{"a":2}],"v":1}', {"field": "data"}),
    ('{"data":{"a":[1,2],"b":[3,4]}}', {"field": "data"}),
    ('{"data":["x","y"]}', {"field": "data"}),
    ('{"a":[1,2],"b":["x","y"]}', {}),
    ('{\n "a": [1,2],\n "b": ["x","y"]\n}', {}),
    ('[\n{"a":1},\n{"a":2}\n]', {}),
    ('{"a":"2020-01-01"}\n{"a":"2020-01-01 10:00:00"}\n', {}),
    ('{"a":1}\n{"a":"x"}\n', {}),
    ('{"a":[1,"x"]}\n', {}),
    ('{"a":{"x":1}}\n{"a":{"y":1}}\n', {}),
    ('{"a":[{"x":1},{"y":"s"}]}\n', {}),
    ('{"a":{}}\n', {}),
    ('{"a":[]}\n{"a":[1]}\n', {}),
    ('{"a":null}\n', {}),
    ('\ufeff{"a":1}\n', {}),
    ('{"a":1}\n\n{"a":2}', {}),
    ('{"a":"ü"}\n'.encode("latin-1"), {"encoding": "latin-1"}),
    ('{"a":true}\n{"a":1}\n', {}),
    ('{"a":{"b":1}}\n{"a":[1]}\n', {}),
    ('{"a":"x"}\n{"a":{"b":1}}\n', {}),
    ('{"a/b":1,"c":{"d":[{"e":1},{"e":"x"}]}}\n', {}),
    ('{"a":9223372036854775808}\n', {}),
    ('{"a":1}{"a":2}\n', {}),
    ("[[1,2],[3,4]]", {}),
    ('{\n"a":1\n}\n', {}),
]


@pytest.mark.parametrize(("content", "options"), JSON, ids=range(len(JSON)))
def test_json_is_read_as_the_reference_does(content, options, tmp_path):
    path = written(tmp_path, "a.json", content)
    assert ours("json", path, **options) == theirs("json", path, tmp_path, **options)


TEXT = [
    ("a\nb\n\nc", {}),
    ("a\r\nb\rc\n", {}),
    ("a\nb\n", {"keep_linebreaks": True}),
    ("a\nb\n\nc\n\n\nd\n", {"sample_by": "paragraph"}),
    ("a\nb\n", {"sample_by": "document"}),
    (b"a\n\xff\n", {"encoding_errors": "replace"}),
    ("\n", {}),
    ("a\x0bb\u2028c\x85d\n", {"chunksize": 2}),
]


@pytest.mark.parametrize(("content", "options"), TEXT, ids=range(len(TEXT)))
def test_text_is_read_as_the_reference_does(content, options, tmp_path):
    path = written(tmp_path, "a.txt", content)
    assert ours("text", path, **options) == theirs("text", path, tmp_path, **options)


def test_xml_is_a_document_a_row(tmp_path):
    assert ours("xml", written(tmp_path, "a.xml", "<a>\n<b/>\r\n</a>"))[1] == [{"xml": "<a>\n<b/>\n</a>"}]


@pytest.fixture
def table():
    return pa.table(
        {
            "a": range(10),
            "s": [f"s{index}" for index in range(10)],
            "d": [datetime.date(2020, 1, 1)] * 10,
            "l": [[1, 2]] * 10,
            "o": [{"x": 1}] * 10,
            "e": pa.array(["q", "r"] * 5).dictionary_encode(),
        }
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"columns": ["s", "a"]},
        {"filters": [("a", ">", 6)]},
        {"batch_size": 2},
        {"columns": ["a"], "filters": [("a", "<", 2)]},
    ],
    ids=str,
)
def test_parquet_is_read_as_the_reference_does(options, table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    path = tmp_path / "a.parquet"
    assert ours("parquet", path, **options) == theirs("parquet", path, tmp_path, **options)


@pytest.mark.parametrize("opener", [pa.ipc.new_stream, pa.ipc.new_file])
def test_arrow_is_read_as_the_reference_does(opener, table, tmp_path):
    with opener(str(tmp_path / "a.arrow"), table.schema) as file:
        file.write_table(table, 4)
    assert ours("arrow", tmp_path / "a.arrow") == theirs("arrow", tmp_path / "a.arrow", tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "a,b\n" + "".join(f"{index},{index}\n" for index in range(50))),
        ("a.json", "".join(f'{{"a": {index}}}\n' for index in range(50))),
        ("a.text", "".join(f"{index}\n" for index in range(50))),
        ("a.parquet", ""),
        ("a.arrow", ""),
    ],
)
def test_reading_resumes_at_a_row(name, content, table, tmp_path):
    path = written(tmp_path, name, content)
    format = name.partition(".")[2]
    if format == "parquet":
        pq.write_table(table, path, row_group_size=3)
    if format == "arrow":
        with pa.ipc.new_stream(str(path), table.schema) as file:
            file.write_table(table, 4)
    (file,) = match(str(path), "/", Access())
    reader = reader_class(format).of({"chunksize": 30} if format in ("json", "text", "csv") else {})
    reader = reader.prepared({"train": [file]})
    rows = [row for part in reader(file) for row in part.to_pylist()]
    for skip in (0, 1, 3, 7, len(rows) - 1, len(rows), len(rows) + 5):
        assert [row for part in reader(file, skip) for row in part.to_pylist()] == rows[skip:]


BAD = [
    ("csv", "a,b\n1,x\n2,y,z\n3,q\n", 2, "3 cells"),
    ("csv", b"a,b\n1,x\n2,\xff\n3,q\n", 2, "not UTF-8"),
    ("json", '{"a":1}\nnope\n{"a":2}\n', 2, "no JSON"),
    ("json", '{"a": 1}\n{"a": \n{"a": 3}\n', 2, "no JSON"),
    ("json", b'{"a":"x"}\n{"a":"\xff"}\n{"a":"y"}\n', 2, "UTF-8"),
    ("text", b"a\n\xff\nb\n", 2, "utf-8"),
]


@pytest.mark.parametrize(("format", "content", "row", "reason"), BAD)
def test_a_bad_row_is_named_or_left_out(format, content, row, reason, tmp_path, caplog):
    path = written(tmp_path, f"bad.{format}", content)
    with pytest.raises(BadRowError, match=rf"bad\.{format}.*{row}.*{reason}"):
        ours(format, path)
    assert len(ours(format, path, on_bad_rows="skip")[1]) == 2
    found = []
    assert len(ours(format, path, on_bad_rows=lambda *what: found.append(what))[1]) == 2
    ((name, number, _),) = found
    assert (name, number) == (str(path), row)
    with caplog.at_level(logging.WARNING, logger="enfold"):
        logging.getLogger("enfold").propagate = True
        assert len(ours(format, path, on_bad_rows="warn")[1]) == 2
    with pytest.raises(ArgumentError):
        ours(format, path, on_bad_rows="perhaps")


def test_a_type_that_changes_late_is_named_by_its_row(tmp_path):
    lines = "".join(f"{index}\n" for index in range(30))
    path = written(tmp_path, "late.csv", f"a\n{lines}x\n1\n")
    with pytest.raises(BadRowError, match="row 31: 'x' in the column 'a'"):
        ours("csv", path, chunksize=10)
    assert len(ours("csv", path, chunksize=10, on_bad_rows="skip")[1]) == 31
    rows = "".join(json.dumps({"a": index}) + "\n" for index in range(30))
    path = written(tmp_path, "late.json", rows + '{"a": "x"}\n')
    with pytest.raises(BadRowError, match="row 31"):
        ours("json", path, chunksize=40)
    assert len(ours("json", path, chunksize=40, on_bad_rows="skip")[1]) == 30


@pytest.mark.parametrize("keep", [0, 4, -8, -60])
def test_torn_parquet_and_arrow_say_so(keep, table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as file:
        file.write_table(table)
    for name in ("a.parquet", "a.arrow"):
        path = written(tmp_path, f"torn-{name}", (tmp_path / name).read_bytes()[:keep])
        if name == "a.arrow" and keep == -8:  # a stream without its end mark is whole
            assert len(ours("arrow", path)[1]) == 10
            continue
        with pytest.raises(DatasetError, match=rf"torn-{name} is torn"):
            ours(name.partition(".")[2], path)
    whole = match(str(tmp_path / "*.parquet"), "/", Access())
    reader = reader_class("parquet").of({"on_bad_files": "skip"}).prepared({"train": whole})
    assert sum(part.num_rows for file in whole for part in reader(file)) == 10


def wds(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_webdataset_groups_files_by_name(tmp_path):
    members = {}
    for index in range(3):
        members |= {f"d/{index}.txt": b"t%d" % index, f"d/{index}.json": b'{"x": %d}' % index, f"d/{index}.cls": b"7"}
    path = written(tmp_path, "a.tar", wds(members))
    assert ours("webdataset", path) == theirs("webdataset", path, tmp_path)
    members["d/1.cls"] = b"seven"
    path = written(tmp_path, "b.tar", wds(members))
    with pytest.raises(BadRowError, match=r"b\.tar, row 2: d/1\.cls can't be decoded"):
        ours("webdataset", path)
    assert len(ours("webdataset", path, on_bad_rows="skip")[1]) == 2
    with pytest.raises(DatasetError, match="is torn"):
        ours("webdataset", written(tmp_path, "c.tar", wds(members)[:1100]))


def test_formats_that_are_not_read_say_why():
    with pytest.raises(DatasetError, match="pickle runs the code"):
        reader_class("pandas")
    with pytest.raises(NotBuiltError, match="hdf5"):
        reader_class("hdf5")
    with pytest.raises(ArgumentError, match="'seperator': csv has no such option"):
        reader_class("csv").of({"seperator": ";"})


TRACE = {"type": "user", "message": {"role": "user"}}


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        ([TRACE, {"type": "note", "message": "done"}], True),
        ([{"type": "meta", "payload": 1}, {"type": "item", "payload": "a"}], True),
        ([{"id": "a", "source": "s", "model": "m", "system_prompt": "p", "messages": [{"role": "user"}]}], True),
        ([{"type": "start", "id": "a", "version": 1, "cwd": "/"}], True),
        ([TRACE], False),
        ([{"messages": [{"role": "user", "content": "a"}]}], False),
    ],
)
def test_recorded_conversations_are_refused_where_the_reference_knows_them(rows, refused, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    options = {"data_files": str(file), "split": "train"}
    if refused:
        with pytest.raises(NotBuiltError, match="parse_agent_traces=False"):
            load_dataset("json", cache_dir=tmp_path / "ours", **options)
        with pytest.raises(reference.exceptions.DatasetGenerationError):
            reference.load_dataset("json", cache_dir=str(tmp_path / "theirs"), **options)
    ours = load_dataset("json", cache_dir=tmp_path / "ours", parse_agent_traces=False, **options)
    theirs = reference.load_dataset("json", cache_dir=str(tmp_path / "theirs"), parse_agent_traces=False, **options)
    assert ours.features.to_dict() == theirs.features.to_dict()
    assert ours.to_list() == theirs.to_list()
