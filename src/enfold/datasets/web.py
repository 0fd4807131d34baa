"""Files from http(s) servers, by the standard library: read as they come, or kept in a folder."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from enfold.base.errors import DataFilesNotFoundError, DatasetError, OfflineError, TornFileError
from enfold.datasets.cache import build_once

TIMEOUT_SECONDS = 30.0
_ATTEMPTS = 3


def identity_of(url: str, options: Mapping[str, Any]) -> tuple:
    """What the server says about the file's version: ETag, date, length. A server that refuses HEAD says nothing."""
    try:
        with _ask(url, options, method="HEAD") as answer:
            kept = ("ETag", "Last-Modified", "Content-Length")
            return tuple((key, answer.headers[key]) for key in kept if answer.headers.get(key))
    except DatasetError:
        return ()


def open_url(url: str, options: Mapping[str, Any]) -> BinaryIO:
    """The file's bytes as they arrive; they can't be gone back in."""
    return io.BufferedReader(_Body(_ask(url, options), url), 1 << 20)


def download(url: str, folder: Path, options: Mapping[str, Any], identity: tuple) -> Path:
    """The file's copy in `folder`, fetched if this version of it isn't there yet."""
    key = hashlib.sha256(repr((url, identity)).encode()).hexdigest()[:32]
    path = folder / key

    def fetch(unfinished: Path) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                with open_url(url, options) as source, open(unfinished, "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                return
            except TornFileError:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.2 * 2**attempt)

    build_once(path, fetch)
    return path


def _ask(url: str, options: Mapping[str, Any], method: str = "GET"):
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE") and not _is_loopback(url):
        raise OfflineError(f"{url} must be fetched, and HF_HUB_OFFLINE=1 forbids the network.")
    headers = {"User-Agent": "enfold", "Accept-Encoding": "identity", **options.get("headers", {})}
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise DataFilesNotFoundError(f"There is no file {url} (the server answered {error.code}).") from error
        raise DatasetError(f"{url} can't be read: the server answered {error.code} {error.reason}.") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise OfflineError(f"{url} could not be reached: {getattr(error, 'reason', error)}.") from error


def _is_loopback(url: str) -> bool:
    return urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


class _Body(io.RawIOBase):
    """An answer's body that raises where the connection ends before the announced length."""

    def __init__(self, answer: Any, url: str) -> None:
        self._answer, self._url, self._read = answer, url, 0
        length = answer.headers.get("Content-Length")
        self._length = int(length) if length and length.isdigit() else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._answer.read(len(buffer))
        except (http.client.IncompleteRead, ConnectionError, TimeoutError) as error:
            raise TornFileError(f"{self._url} was cut short on its way, after {self._read} bytes.") from error
        self._read += len(data)
        if not data and self._length is not None and self._read < self._length:
            raise TornFileError(f"{self._url} was cut short: {self._read} bytes of {self._length}.")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._answer.close()
        super().close()
