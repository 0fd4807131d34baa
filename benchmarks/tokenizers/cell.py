"""One vocabulary measured with every library, in a process of its own; prints JSON.

    python -m benchmarks.tokenizers.cell FILE --threads 1 [--texts English code] [--passes 2]
    python -m benchmarks.tokenizers.cell FILE --memory LIBRARY

Every document is timed once by each library in each pass, and each pass loads the libraries anew: no cache has met a
document before. A third of the documents goes to each way of calling. On one thread the process's processor time
counts, on two the clock on the wall.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tokenizers.peers import PEERS, Peer, installed
from benchmarks.tokenizers.texts import SENTENCE, documents

CHUNK = 40  # documents that one library encodes before it is the next one's turn
CALLS = 150  # calls of 60 characters in a row, ten times


class Measurement:
    """What is known of one vocabulary, in plain values."""

    def __init__(self, path: Path, threads: int):
        self.path = path
        self.threads = threads
        self.clock = time.process_time if threads == 1 else time.perf_counter
        self.load: dict[str, float] = {}  # library → seconds, the best pass
        self.call: dict[str, float] = {}  # library → seconds of a call of 60 characters
        self.out: dict[str, str] = {}  # library → why it can't take part
        # way → text → library → [bytes, seconds] of the best pass
        self.speed: dict[str, dict[str, dict[str, list[float]]]] = {
            way: defaultdict(dict) for way in ("full", "ids", "one")
        }
        self.differs: dict[str, dict[str, str]] = defaultdict(dict)  # text → library → how many documents

    def timed(self, call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
        started = self.clock()
        result = call(*arguments)
        return self.clock() - started, result

    def loaded(self, names: list[str]) -> dict[str, Peer]:
        ready = {}
        for name in names:
            if name in self.out:
                continue
            try:
                seconds, ready[name] = self.timed(PEERS[name], self.path, self.threads)
            except BaseException as error:
                # A panic of a Rust library is no Exception; it only means that this one stands aside.
                if isinstance(error, (KeyboardInterrupt, SystemExit)):
                    raise
                self.out[name] = f"{type(error).__name__}: {error}".replace("\n", " ")[:160]
                continue
            self.load[name] = min(seconds, self.load.get(name, seconds))
        return ready

    def one_pass(self, names: list[str], texts: dict[str, list[str]]) -> None:
        ready = self.loaded(names)
        for text, every in texts.items():
            first = len(every) // 10
            for peer in ready.values():
                peer.ids(every[:first])
            rest = every[first:]
            self.ids_of(text, rest[0::3], ready)
            self.one_by_one(text, rest[1::3], ready)
            self.full_of(text, rest[2::3], {n: p for n, p in ready.items() if p.full is not None})
        self.calls(ready)

    def ids_of(self, text: str, given: list[str], ready: dict[str, Peer]) -> None:
        seconds: dict[str, float] = defaultdict(float)
        wrong: dict[str, int] = defaultdict(int)
        wheel = ready["tokenizers"]
        for part in _chunks(given):
            results = {}
            for name, peer in ready.items():
                try:
                    taken, results[name] = self.timed(peer.ids, part)
                except BaseException as error:
                    if isinstance(error, (KeyboardInterrupt, SystemExit)):
                        raise
                    wrong[name] += len(part)
                    continue
                seconds[name] += taken
            plain = wheel.lists(results["tokenizers"])
            special = [e.ids for e in wheel.tokenizer.encode_batch(part)]  # type: ignore[attr-defined]
            for name, result in results.items():
                rows = ready[name].lists(result)
                wrong[name] += sum(row not in pair for row, *pair in zip(rows, plain, special, strict=True))
        for name, count in wrong.items():
            if count:
                self.differs[text][name] = f"{count} of {len(given)}"
        self.keep("ids", text, given, {n: s for n, s in seconds.items() if not wrong[n]})

    def one_by_one(self, text: str, given: list[str], ready: dict[str, Peer]) -> None:
        seconds: dict[str, float] = defaultdict(float)
        right = {name: peer for name, peer in ready.items() if name not in self.differs[text]}
        for part in _chunks(given):
            for name, peer in right.items():
                one = peer.one
                seconds[name] += self.timed(lambda one=one, part=part: [one(document) for document in part])[0]
        self.keep("one", text, given, seconds)

    def full_of(self, text: str, given: list[str], ready: dict[str, Peer]) -> None:
        seconds: dict[str, float] = defaultdict(float)
        for part in _chunks(given):
            results = {}
            for name, peer in ready.items():
                assert peer.full is not None
                taken, results[name] = self.timed(peer.full, part)
                seconds[name] += taken
            fields = [[(e.ids, e.offsets, e.word_ids) for e in result] for result in results.values()]
            if any(other != fields[0] for other in fields[1:]):
                self.differs[text]["enfold"] = "offsets or word ids"
        if "enfold" not in self.differs[text]:
            self.keep("full", text, given, seconds)

    def calls(self, ready: dict[str, Peer]) -> None:
        for _ in range(10):
            for name, peer in ready.items():
                one = peer.one
                seconds = self.timed(lambda one=one: [one(SENTENCE) for _ in range(CALLS)])[0] / CALLS
                self.call[name] = min(seconds, self.call.get(name, seconds))

    def keep(self, way: str, text: str, given: list[str], seconds: dict[str, float]) -> None:
        size = sum(len(document.encode()) for document in given)
        kept = self.speed[way][text]
        for name, taken in seconds.items():
            kept[name] = [size, min(taken, kept.get(name, [0, taken])[1])]


def _chunks(given: list[str]) -> list[list[str]]:
    return [given[i : i + CHUNK] for i in range(0, len(given), CHUNK)]


def memory(path: Path, name: str) -> float:
    """Peak MB of this process after loading and encoding a little."""
    peer = PEERS[name](path, 1)
    peer.ids(documents()["code"][:40])
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", nargs="*")
    parser.add_argument("--libraries", nargs="*")
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--memory")
    asked = parser.parse_args()
    if asked.memory:
        json.dump(memory(asked.file, asked.memory), sys.stdout)
        return
    names = [n for n in installed() if not asked.libraries or n in (*asked.libraries, "enfold", "tokenizers")]
    texts = {name: given for name, given in documents().items() if not asked.texts or name in asked.texts}
    measured = Measurement(asked.file, asked.threads)
    for _ in range(asked.passes):
        measured.one_pass(names, texts)
    fields = ("load", "call", "out", "speed", "differs")
    json.dump({field: getattr(measured, field) for field in fields}, sys.stdout)


if __name__ == "__main__":
    main()
