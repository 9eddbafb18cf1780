"""What the configuration wants to see of requests besides their records: traces, and dumps of what providers said.

Nothing is imported for what is switched off.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aibridge.clock import new_id
from aibridge.credentials import Scrubber
from aibridge.ports import Tracing, Upstream
from aibridge.server.auth import own_keys
from aibridge.server.config import Configuration

_log = logging.getLogger(__name__)


@asynccontextmanager
async def tracing(configuration: Configuration) -> AsyncIterator[Tracing | None]:
    """None: traces are off. Leaving the block sends the last spans."""
    settings = configuration.settings.tracing
    if not settings.enabled:
        yield None
        return
    from aibridge.tracing.otlp import otlp_tracing  # noqa: PLC0415  only when it is switched on

    async with otlp_tracing(propagate=settings.propagate) as traced:
        yield traced


def way_out(configuration: Configuration, secrets: Iterable[str]) -> Upstream | None:
    """The way out that dumps what passes; None: there are no dumps, and any way out will do."""
    settings = configuration.settings.dumps
    if not settings.folder:
        return None
    from aibridge.dumps import DumpingUpstream, Folder  # noqa: PLC0415  only when it is switched on
    from aibridge.upstream import HttpUpstream  # noqa: PLC0415  as above

    scrubber = Scrubber(secrets)

    def scrub(data: bytes, *own: str) -> bytes:
        return own_keys.cut(scrubber.scrub(data, *own))

    path = configuration.base / settings.folder
    folder = Folder(path, scrub=scrub, max_bytes=settings.max_bytes, max_exchanges=settings.max_exchanges)
    _log.warning("debug dumps are on: prompts and answers are written to files", extra={"folder": str(path)})
    return DumpingUpstream(HttpUpstream(), folder, ids=new_id)
