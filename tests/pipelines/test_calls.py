"""What every pipeline does with its inputs, whatever its task."""

import json
import threading

import pytest

from enfold.base.errors import ArgumentError, LengthError
from enfold.pipelines import inputs as inputs_module
from enfold.pipelines import pipeline
from enfold.pipelines.encoding import batches
from enfold.pipelines.inputs import windows

from .conftest import same


class Rows:
    """A dataset: a length and items, and no iterator."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        if not isinstance(i, int) or not 0 <= i < len(self.items):
            raise KeyError(i)
        return self.items[i]


@pytest.fixture
def tag(zoo):
    return pipeline("text-classification", zoo("bert-class"))


def test_forms_of_input(tag, texts, peer, zoo):
    wanted = peer("text-classification", zoo("bert-class"))(texts)
    same(tag(texts), wanted)
    same(tag(tuple(texts)), wanted)
    for stream in (iter(texts), (text for text in texts), Rows(texts), map(str, texts)):
        found = tag(stream)
        assert not isinstance(found, list)
        same(list(found), wanted)
    assert len(tag(Rows(texts))) == len(texts)
    with pytest.raises(TypeError, match="without a length"):
        len(tag(iter(texts)))


@pytest.mark.parametrize("name", ["bert-class", "bert-tags", "bert", "llama"])
def test_nothing(zoo, name):
    pipe = pipeline(model=zoo(name))
    assert pipe([]) == []
    assert list(pipe(iter(()))) == []
    with pytest.raises(ArgumentError, match="the pipeline got None; expected a text"):
        pipe(None)
    with pytest.raises(ArgumentError, match="the pipeline got a int"):
        pipe(3)
    with pytest.raises(ArgumentError, match="the pipeline got a bytes"):
        pipe(b"Paris")
    with pytest.raises(ArgumentError, match="input 1"):
        pipe(["Paris", None])


def test_empty_text(zoo, peer):
    for task, name in (("text-classification", "bert-class"), ("feature-extraction", "bert")):
        same(pipeline(task, zoo(name))(["", "Paris", ""]), peer(task, zoo(name))(["", "Paris", ""]))
    with pytest.raises(ArgumentError, match=r"input 1 \(''\) gives no token"):
        pipeline("feature-extraction", zoo("gpt2-base"))(["Paris", ""])


@pytest.mark.parametrize("task", ["text-classification", "feature-extraction", "fill-mask"])
def test_long_text_is_refused_before_anything_runs(zoo, task, texts, monkeypatch):
    names = {"text-classification": "bert-class", "feature-extraction": "bert", "fill-mask": "bert-mlm"}
    pipe = pipeline(task, zoo(names[task]))
    monkeypatch.setattr(pipe, "forward", lambda *_: pytest.fail("the model ran"))
    long = "[MASK] " + " ".join(texts)
    with pytest.raises(LengthError, match=r"input 1 .* tokens, and the model knows 64 positions: pass truncation=True"):
        pipe(["[MASK]", long])


def test_a_stream_is_read_only_as_far_as_needed(tag, texts):
    read = []

    def source():
        for number in range(10_000):
            read.append(number)
            yield texts[number % len(texts)]

    answers = tag(source())
    assert read == []
    wanted = tag(texts[:6])
    assert [next(answers) for _ in range(6)] == wanted
    assert len(read) <= 7
    for _ in range(200):
        next(answers)
    assert len(read) <= 512
    del answers
    assert tag(texts[:6]) == wanted


def test_an_interrupted_call_leaves_nothing_behind(tag, texts):
    wanted = tag(texts)

    def source():
        yield from texts[:9]
        raise KeyboardInterrupt

    found = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(tag(source()))
    assert found == wanted[: len(found)]
    assert tag(texts) == wanted


def test_threads_share_a_pipeline(tag, texts):
    wanted, found = tag(texts), {}

    def work(number: int) -> None:
        found[number] = tag(texts[number:] + texts[:number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        same(found[number], wanted[number:] + wanted[:number])


def test_answers_are_plain_json(zoo, texts):
    made = {
        "text-classification": ("bert-class", texts[0]),
        "token-classification": ("bert-tags", texts[0]),
        "fill-mask": ("bert-mlm", "Paris [MASK]"),
        "feature-extraction": ("bert", texts[0]),
        "text-generation": ("llama", texts[0]),
    }
    for task, (name, text) in made.items():
        answer = pipeline(task, zoo(name))(text)
        assert json.loads(json.dumps(answer)) == answer


def test_batch_size_caps_what_runs_together(zoo, texts, monkeypatch):
    pipe = pipeline("text-classification", zoo("bert-class"), batch_size=5)
    sizes, run = [], pipe.forward
    monkeypatch.setattr(pipe, "forward", lambda rows, options: sizes.append(len(rows)) or run(rows, options))
    pipe(texts)
    assert max(sizes) == 5
    assert sum(sizes) == len(texts)
    sizes.clear()
    pipe(texts, batch_size=3)
    assert max(sizes) == 3
    for wrong in (0, -1, True, 2.0, "8"):
        with pytest.raises(ArgumentError, match="batch_size is"):
            pipe(texts, batch_size=wrong)


def test_batches_are_sorted_and_bounded():
    lengths = [5, 100, 3, 7, 40, 3, 90]
    made = list(batches(lengths, 50, None))
    assert sorted(i for batch in made for i in batch) == list(range(7))
    assert [[lengths[i] for i in batch] for batch in made] == [[3, 3, 5, 7], [40], [90], [100]]
    assert [len(batch) for batch in batches(lengths, 1000, 2)] == [2, 2, 2, 1]


def test_windows_grow_while_the_source_keeps_up(monkeypatch):
    assert [len(window) for window in windows(range(20), 8, eager=False)] == [1, 2, 4, 8, 5]
    assert [len(window) for window in windows(range(20), 8, eager=True)] == [8, 8, 4]
    monkeypatch.setattr(inputs_module, "PATIENCE_SECONDS", -1.0)
    assert [len(window) for window in windows(range(3), 8, eager=False)] == [1, 1, 1]
    monkeypatch.setattr(inputs_module, "WINDOW_CHARACTERS", 10)
    assert [len(window) for window in windows(["abcd"] * 7, 8, eager=True)] == [3, 3, 1]
