"""Rows read ahead, while the consumer works."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import Any

from enfold.datasets.streams.block import Block, Place
from enfold.datasets.streams.node import Node

_END = object()


class Prefetch(Node):
    """A thread reads the input up to `number` blocks ahead. What it has read but nobody took is not in the state.

    Args:
        number: blocks (tables, batches or rows, as the step before makes them) that wait at most.
    """

    def __init__(self, node: Node, number: int):
        self.inputs, self.features, self.number = (node,), node.features, number

    @property
    def sequential(self) -> bool:
        return self.inputs[0].sequential

    def open(self, place: Place) -> Generator[Block, None, None]:
        waiting: queue.Queue[Any] = queue.Queue(self.number)
        left = threading.Event()

        def put(item: Any) -> bool:
            while not left.is_set():
                try:
                    waiting.put(item, timeout=0.1)
                    return True
                except queue.Full:
                    continue
            return False

        def read() -> None:
            blocks = self.inputs[0].open(place)
            try:
                for block in blocks:
                    if not put(block):
                        return
                put(_END)
            except BaseException as error:
                put(error)
            finally:
                blocks.close()

        thread = threading.Thread(target=read, name="enfold-prefetch", daemon=True)
        thread.start()
        try:
            while (item := waiting.get()) is not _END:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            left.set()
            thread.join()
