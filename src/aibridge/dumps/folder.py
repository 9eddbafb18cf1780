"""The folder of dumps: written by one thread, oldest out first. A request hands over what it saw and goes on.

Where the thread cannot keep up, or the disk does not take it, dumps are given up, counted, and said so once in a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import re
import threading
from collections import deque
from pathlib import Path

from aibridge.dumps.exchange import Exchange, Scrub

MAX_BYTES = 1024 * 1024
MAX_EXCHANGES = 1000
MAX_HELD = 64 * 1024 * 1024
"""Bytes of answers that may be held at once, of exchanges that run and of those that wait for the thread."""

_OURS = re.compile(r"[0-9a-f-]{36}(?:-[0-9]+)?[.](?:request|response)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 80
_CLOSING = 5.0  # seconds that the disk has, at the end, to take what waits

_log = logging.getLogger(__name__)


class Folder:
    """Args:
    path: made if it is not there, for its owner alone.
    scrub: takes known secrets out of what is written (`Scrubber.scrub`).
    max_bytes: of each body; the rest is left out, and the dump says so.
    max_exchanges: pairs of files that may be there; older ones are deleted.
    max_held: see `MAX_HELD`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        scrub: Scrub,
        max_bytes: int = MAX_BYTES,
        max_exchanges: int = MAX_EXCHANGES,
        max_held: int = MAX_HELD,
    ) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self._scrub = scrub
        self._max_exchanges = max_exchanges
        self._max_held = max_held
        self._held = 0
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Exchange | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pairs: deque[Path] = deque()  # without their suffix, the oldest first; the thread's own
        self.lost = 0
        """Exchanges that were not written."""

    # -- by requests -----------------------------------------------------------------------------------

    def hold(self, size: int) -> bool:
        """Makes room for so many bytes of an exchange; False: there is none."""
        with self._lock:
            if self._held + size > self._max_held:
                return False
            self._held += size
            return True

    def let_go(self, size: int) -> None:
        with self._lock:
            self._held -= size

    def give_up(self) -> None:
        """An exchange will not be written."""
        self.lost += 1
        if self.lost & (self.lost - 1) == 0:  # the first, the second, the fourth: a full disk must not fill the log
            _log.warning("debug dumps were not written", extra={"lost": self.lost, "folder": str(self.path)})

    def put(self, exchange: Exchange) -> None:
        """Hands over an exchange that is over, with what it holds."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="aibridge-dumps", daemon=True)
            self._thread.start()
        self._waiting.put(exchange)

    async def close(self) -> None:
        """Returns when everything is written, or its time is up."""
        if self._thread is not None:
            self._waiting.put(None)
            await asyncio.to_thread(self._thread.join, _CLOSING)

    # -- by the thread ---------------------------------------------------------------------------------

    def _write_all(self) -> None:
        try:
            self._pairs.extend(self._found())
        except OSError as error:
            _log.warning("the folder of debug dumps cannot be read", extra={"cause": error.strerror})
        while (exchange := self._waiting.get()) is not None:
            try:
                self._make_room()
                self._write(exchange)
            except OSError:
                self.give_up()
            except Exception as error:  # noqa: BLE001  a fault of ours must not end the thread and hold memory for ever
                _log.error("a debug dump failed", extra={"cause": type(error).__name__})
            finally:
                self.let_go(exchange.held)

    def _found(self) -> list[Path]:
        """What earlier processes left, the oldest first: names begin with a UUIDv7, whose order is that of time."""
        found = {path.with_suffix("") for path in self.path.glob("*/*/*") if _OURS.fullmatch(path.name)}
        return sorted(found, key=lambda pair: pair.name)

    def _make_room(self) -> None:
        while len(self._pairs) >= self._max_exchanges:
            pair = self._pairs.popleft()
            for path in _files(pair):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty, or gone
                pair.parent.rmdir()
                pair.parent.parent.rmdir()

    def _write(self, exchange: Exchange) -> None:
        sent, came = exchange.texts(self._scrub)
        folder = self.path.joinpath(*(sanitised(part) for part in exchange.folder))
        for made in (*reversed(folder.relative_to(self.path).parents), folder.relative_to(self.path)):
            (self.path / made).mkdir(mode=0o700, parents=True, exist_ok=True)
        pair, number = folder / exchange.name, 1
        while True:
            request, response = _files(pair)
            try:
                _write_private(request, sent)
            except FileExistsError:  # another turn of the same interception
                number += 1
                pair = folder / f"{exchange.name}-{number}"
            else:
                break
        self._pairs.append(pair)
        _write_private(response, came)


def sanitised(name: str) -> str:
    """A part of a path out of what a client may have chosen: no separator, no dot at its start, never empty."""
    return _UNSAFE.sub("_", name)[:_LONGEST_NAME].lstrip(".") or "other"


def _files(pair: Path) -> tuple[Path, Path]:
    return pair.with_name(f"{pair.name}.request"), pair.with_name(f"{pair.name}.response")


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
