"""Rereading the configuration again while requests run: on SIGHUP, and when one of its files has changed.

The rule: a configuration that cannot be used changes nothing, and one line says why. What only a start can change is
named, and stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from aibridge.credentials import Secret
from aibridge.ports import Clock
from aibridge.server.cli.failures import in_words
from aibridge.server.config import At, Configuration
from aibridge.server.config.showing import dotted
from aibridge.server.file_watch import EVERY, FileWatch, files_of
from aibridge.server.terminal import Terminal

if TYPE_CHECKING:
    from aibridge.server.process import Plan

# What requests take from the configuration that holds when they come, and what log lines do.
_LIVE: tuple[At, ...] = (
    ("providers",),
    ("mcp_servers",),
    ("tools",),
    ("models",),
    ("upstream", "ca_bundle"),
    ("server", "max_body"),
    ("server", "max_concurrency"),
    ("server", "on_disconnect"),
    ("server", "log"),
    ("server", "log_level"),
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReloadStatus:
    """How it stands with the configuration of this process. `fault` is why the last reading changed nothing."""

    loaded_at: datetime
    fault: str | None = None
    failed_at: datetime | None = None
    needs_restart: tuple[str, ...] = ()
    """Settings that were changed, and hold from the next start on."""


class Counted(Protocol):
    """Told of each reading (see `reload_series`)."""

    def reloaded(self, *, ok: bool, at: datetime) -> None: ...


@dataclass(slots=True)
class Standing:
    """The status at this moment, for whoever tells of it."""

    status: ReloadStatus


@dataclass(frozen=True, slots=True)
class Rereading:
    """How a process comes to another configuration."""

    load: Callable[[], Configuration]
    planned: Callable[[Configuration, Secret], Plan]
    """What is named, read and checked. Raises what a start would raise."""
    watches: bool = True  # the files; else somebody else does, and sends SIGHUP
    says: bool = True  # in the log, what somebody who runs the gateway should know; else only in debug lines


@dataclass(slots=True)
class Reloading:
    """`run` it beside whatever is served.

    `adopt` takes a configuration over, or raises and has changed nothing. `on_closed` is called when the terminal is
    closed, `told` after each reading.
    """

    began: Configuration
    reading: Rereading
    adopt: Callable[[Configuration], Awaitable[None]]
    standing: Standing
    clock: Clock
    on_closed: Callable[[], None]
    counted: Counted | None = None
    told: Callable[[], None] = lambda: None
    every: float = EVERY
    terminal: Terminal = field(default_factory=Terminal)
    _watch: FileWatch = field(init=False)
    _warned: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._watch = FileWatch(files_of(self.began), self.every)
        self._warned = self.began.warnings
        if self.counted is not None:
            self.counted.reloaded(ok=True, at=self.standing.status.loaded_at)

    async def run(self) -> None:
        """Until it is cancelled. Takes SIGHUP."""
        loop, wanted = asyncio.get_running_loop(), asyncio.Event()

        def hung_up() -> None:
            if self.terminal.closed:
                self.on_closed()
            else:
                wanted.set()

        loop.add_signal_handler(signal.SIGHUP, hung_up)
        try:
            async with asyncio.TaskGroup() as group:
                if self.reading.watches:
                    group.create_task(self._follow_files(wanted))
                while True:
                    await wanted.wait()
                    wanted.clear()
                    await self.again()
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    async def _follow_files(self, wanted: asyncio.Event) -> None:
        while True:
            await self._watch.changed()
            wanted.set()

    async def again(self) -> None:
        """Reads everything again, now."""
        now, fault = self.clock.now(), None
        try:
            configuration = await asyncio.to_thread(self.reading.load)
            # Before it is known to be good: what makes it good may be a file that it names and that is not there yet.
            self._watch.watch(files_of(configuration))
            await self.adopt(configuration)
        except Exception as error:  # noqa: BLE001  the edge of a background task: what is served must not end with it
            fault = in_words(error) or f"internal error: {type(error).__name__}"
            self.standing.status = replace(self.standing.status, fault=fault, failed_at=now)
            level = logging.ERROR if self.reading.says else logging.DEBUG
            _log.log(level, "the configuration cannot be used: the one before holds on", extra={"why": fault})
        else:
            self._took_over(configuration, now)
        if self.counted is not None:
            self.counted.reloaded(ok=fault is None, at=now)
        self.told()

    def _took_over(self, configuration: Configuration, now: datetime) -> None:
        needs_restart = tuple(changed_for_a_restart(self.began, configuration))
        self.standing.status = ReloadStatus(now, needs_restart=needs_restart)
        if not self.reading.says:
            _log.debug("the configuration was read again")
            return
        _log.info("the configuration was read again")
        for warning in configuration.warnings:
            if warning not in self._warned:
                _log.warning(warning)
        self._warned = configuration.warnings
        if needs_restart:
            _log.warning("settings that hold from the next start on", extra={"settings": list(needs_restart)})


def changed_for_a_restart(began: Configuration, now: Configuration) -> Iterator[str]:
    """The settings that differ from those at the start, and that a running server cannot follow."""
    before, after = _leaves(began), _leaves(now)
    for at in sorted({*before, *after}, key=str):
        if before.get(at) != after.get(at) and not any(at[: len(live)] == live for live in _LIVE):
            yield dotted(at)


def _leaves(configuration: Configuration) -> dict[At, object]:
    return dict(_below(configuration.settings.model_dump(), ()))


def _below(value: Any, at: At) -> Iterator[tuple[At, object]]:
    if isinstance(value, dict) and len(at) < 2:
        for key, member in value.items():
            yield from _below(member, (*at, key))
    else:
        yield at, value
