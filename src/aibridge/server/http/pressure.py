"""Is memory running short? Then new requests get a 503 before anything else; what already streams goes on.

Two measures, each read from the kernel at most once a second: what the control group may use (the limit of a container,
beyond which the kernel kills), and what the machine has left. Where neither can be read, nothing is ever shed.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from aibridge.server.http.asgi import Application, Receive, Scope, Send
from aibridge.server.http.refusals import overloaded

_INTERVAL = 1.0
# Of the group's limit, page cache that can be dropped not counted. Lower again before requests are taken again, so
# that the answer does not flap.
_SHED_AT, _TAKE_AT = 0.90, 0.85
# Of the machine's memory: others use it too, so this is the brink.
_MACHINE_SHED_AT, _MACHINE_TAKE_AT = 0.97, 0.95
_NO_LIMIT = 1 << 60  # bytes; version 1 of control groups names a number that nothing reaches

# A full memory is no reason to restart a process whose streams run.
_ALWAYS_ANSWERED = frozenset(("/healthz", "/readyz"))


class Pressure:
    """`shedding` says whether new requests should be refused now."""

    def __init__(self, clock: Callable[[], float], root: Path = Path("/")) -> None:
        """`clock` counts seconds and never steps back; `root` is where `proc` and `sys` are."""
        self._clock = clock
        self._meminfo = root / "proc/meminfo"
        self._groups = _groups(root)
        self._shedding = False
        self._next = clock()

    @property
    def shedding(self) -> bool:
        now = self._clock()
        if now >= self._next:
            self._next = now + _INTERVAL
            group = max((_share(group) for group in self._groups), default=0.0)
            machine = _machine_share(self._meminfo)
            if self._shedding:
                self._shedding = group >= _TAKE_AT or machine >= _MACHINE_TAKE_AT
            else:
                self._shedding = group >= _SHED_AT or machine >= _MACHINE_SHED_AT
        return self._shedding


def shed_first(app: Application, pressure: Pressure) -> Application:
    """`app`, with new requests refused while memory is short. Costs running requests nothing."""

    def admit(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if pressure.shedding and scope["type"] == "http" and scope["path"] not in _ALWAYS_ANSWERED:
            return _refuse(send)
        return app(scope, receive, send)

    return admit


async def _refuse(send: Send) -> None:
    refusal = overloaded("the gateway is short of memory; try again shortly")
    body = refusal.body()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Group(NamedTuple):
    """Where the kernel tells about one control group; versions 1 and 2 differ only in names."""

    limit: Path
    used: Path
    stat: Path
    droppable: str  # the field of `stat` for page cache that nobody uses


def _groups(root: Path) -> list[_Group]:
    """The control groups that this process is in: its own and all around it.

    Inside a container its own may be unreachable; the limit of the container is then at the top of the mounted tree.
    """
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    groups: list[_Group] = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            names = ("memory.max", "memory.current", "inactive_file")
            groups += [_group(folder, *names) for folder in _upwards(mounted, path)]
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            groups += [_group(folder, *names) for folder in _upwards(mounted / "memory", path)]
    return [group for group in groups if group.limit.exists()]


def _group(folder: Path, limit: str, used: str, droppable: str) -> _Group:
    return _Group(folder / limit, folder / used, folder / "memory.stat", droppable)


def _upwards(top: Path, path: str) -> list[Path]:
    own = top / path.lstrip("/")
    around = [own, *own.parents]
    return around[: around.index(top) + 1]


def _share(group: _Group) -> float:
    """How much of its limit a group uses, 0.0 to 1.0; 0.0 without a limit."""
    try:
        limit = _text(group.limit)
        if limit.startswith(b"max") or int(limit) >= _NO_LIMIT:  # which most groups around ours say
            return 0.0
        used = int(_text(group.used))
        return max(used - _field(_text(group.stat), group.droppable), 0) / max(int(limit), 1)
    except (OSError, ValueError):
        return 0.0


def _machine_share(meminfo: Path) -> float:
    try:
        text = _text(meminfo)
        return 1.0 - _field(text, "MemAvailable:") / _field(text, "MemTotal:")
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def _text(path: Path) -> bytes:
    """A small file of the kernel's: a read gives all of it. (A file object would take six calls, and requests wait.)"""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 16 * 1024)
    finally:
        os.close(descriptor)


def _field(text: bytes, name: str) -> int:
    """The number behind `name` in lines `name number ...`. Raises: ValueError, without one."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name.encode("ascii"):
            return int(words[1])
    raise ValueError(f"there is no {name}")
