"""The provider that plays along, and its ledger of what it served."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import end, start_pinned


class Upstream:
    """The pretend provider, and the ledger of what it served."""

    def __init__(self, program: Path, cores: Sequence[int]) -> None:
        self._process = start_pinned([str(program)], cores, stdout=subprocess.PIPE, text=True)
        self.port: int = self._line()["listening"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.pid = self._process.pid

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout
        line: dict[str, Any] = json.loads(self._process.stdout.readline())
        return line

    def ledger(self) -> dict[str, Any]:
        self._process.send_signal(signal.SIGUSR1)
        return self._line()

    def end(self) -> None:
        end(self._process)


def difference(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, int]:
    return {k: v - before.get(k, 0) for k, v in after.items() if isinstance(v, int)}
