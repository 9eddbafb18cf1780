"""Several worker processes on the same listening sockets: started, replaced when they die, ended together.

The supervisor serves nothing and validates nothing; a worker is a command line that inherits the sockets. They are
joined by a socket pair: a byte from the worker says that it serves, and its end says that the other one is gone.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

_log = logging.getLogger("aibridge.server.workers")

_READY = b"r"
# Between two starts of a worker that keeps dying, in seconds; doubled each time, from the first again after
# _LIVED_WELL seconds of life.
_FIRST_PAUSE, _LONGEST_PAUSE, _LIVED_WELL = 0.1, 5.0, 10.0


class WorkersFailed(Exception):
    """No worker gets as far as serving; the text is one line for the person who started us."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker inherits; its command line names the descriptors."""

    worker: int  # 0 and up; the same for its replacement
    listening: tuple[int, ...]  # see sockets.inherited
    supervisor: int  # see tell_ready and watch_supervisor


def _nothing(_: int) -> None:
    """Nobody wants to know which worker ended."""


class Supervisor:
    """Keeps `workers` processes running until a signal ends them. `run` once, in the main thread."""

    def __init__(
        self,
        command: Callable[[Inherited], list[str]],
        *,
        workers: int,
        sockets: list[socket.socket],
        attempts: int = 5,
        kill_after: float = 3.0,
        ended: Callable[[int], None] = _nothing,
        is_patient: Callable[[], bool] = lambda: False,
    ) -> None:
        """Gives up after `attempts` starts in a row, of any worker, that ended before the worker served.

        After a second signal workers should end at once; those that have not `kill_after` seconds later are killed.
        While `is_patient` starts that fail do not count: what keeps a worker from starting is known, and being mended.
        `ended` is called with the number of each that has ended, before it is replaced.
        """
        self._command = command
        self._workers = workers
        self._sockets = sockets
        self._attempts = attempts
        self._kill_after = kill_after
        self._ended = ended
        self._is_patient = is_patient
        self._failures = 0
        self._failed: str | None = None
        self._forced = False
        self._ending = asyncio.Event()
        self._running: set[_Worker] = set()

    async def run(self) -> Literal["drained", "forced"]:
        """Serve until SIGTERM or SIGINT, and until the workers have drained; a second signal ends them now.

        Raises:
            WorkersFailed
        """
        loop = asyncio.get_running_loop()
        actions = {signal.SIGTERM: self.end, signal.SIGINT: self.end}
        for signalled, action in actions.items():
            loop.add_signal_handler(signalled, action)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._keep(number))
        finally:
            for signalled in actions:
                loop.remove_signal_handler(signalled)
            self._kill()
        if self._failed is not None:
            raise WorkersFailed(self._failed)
        return "forced" if self._forced else "drained"

    async def _keep(self, number: int) -> None:
        """Run worker `number` again and again."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            began = loop.time()
            worker = await self._start(number)
            code = await worker.process.wait()
            self._running.discard(worker)
            worker.close()
            self._ended(number)
            if self._ending.is_set():
                return
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._failures = 0 if worker.ready or self._is_patient() else self._failures + 1
            if self._failures >= self._attempts:
                self._failed = f"the workers do not start: {self._failures} in a row ended at once, the last with {how}"
                self.end()
                return
            if loop.time() - began >= _LIVED_WELL:
                pause = _FIRST_PAUSE
            _log.warning("worker %d ended with %s and is started again in %.1f s", number, how, pause)
            await self._rest(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _start(self, number: int) -> "_Worker":
        ours, theirs = socket.socketpair()
        listening = tuple(listener.fileno() for listener in self._sockets)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command(Inherited(number, listening, theirs.fileno())),
                pass_fds=(*listening, theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                # Control-C in a terminal signals the whole foreground group; a worker must hear it from us, once.
                process_group=0,
            )
        worker = _Worker(process, ours)
        self._running.add(worker)
        if self._ending.is_set():
            worker.signal(signal.SIGTERM)
        return worker

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            pass

    def end(self) -> None:
        """The first call drains the workers, a second one ends them now."""
        if self._ending.is_set():
            self._forced = True
            asyncio.get_running_loop().call_later(self._kill_after, self._kill)
        self._ending.set()
        for listener in self._sockets:
            listener.close()  # nobody may queue where soon nobody accepts
        for worker in self._running:
            worker.signal(signal.SIGINT if self._forced else signal.SIGTERM)

    def reload(self) -> None:
        """Tells all workers to read their configuration again."""
        for worker in self._running:
            worker.reload()

    def _kill(self) -> None:
        for worker in self._running:
            worker.signal(signal.SIGKILL)


class _Worker:
    """One process and our end of what joins us."""

    def __init__(self, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        self.process = process
        self.ready = False
        self._reload_wanted = False
        self._link = link
        link.setblocking(False)
        asyncio.get_running_loop().add_reader(link, self._hear)

    def signal(self, number: signal.Signals) -> None:
        # asyncio knows of an end a little later than the kernel.
        if self.process.returncode is None:
            try:
                self.process.send_signal(number)
            except ProcessLookupError:
                return

    def reload(self) -> None:
        """SIGHUP, but not before the worker can take it: until then the signal would kill it."""
        if self.ready:
            self.signal(signal.SIGHUP)
        else:
            self._reload_wanted = True

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._link)
        self._hear_last()
        self._link.close()

    def _hear(self) -> None:
        asyncio.get_running_loop().remove_reader(self._link)
        self._hear_last()
        if self.ready and self._reload_wanted:
            self.signal(signal.SIGHUP)

    def _hear_last(self) -> None:
        try:
            self.ready = self.ready or self._link.recv(1) == _READY
        except OSError:
            return  # it said nothing


def tell_ready(supervisor: int) -> None:
    """In a worker: it serves, and takes signals. `supervisor` is `Inherited.supervisor`."""
    os.write(supervisor, _READY)


async def watch_supervisor(supervisor: int) -> None:
    """In a worker: returns when the supervisor is gone, however it ended. Then the worker should drain and end."""
    loop = asyncio.get_running_loop()
    gone = loop.create_future()

    def look() -> None:
        try:
            said = os.read(supervisor, 64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said and not gone.done():
            gone.set_result(None)

    os.set_blocking(supervisor, False)
    loop.add_reader(supervisor, look)
    try:
        await gone
    finally:
        loop.remove_reader(supervisor)
