"""Log lines: events with fields, one line each, on standard error. JSON unless a person looks at a terminal.

What is logged holds no payloads, and a last pass takes known secrets, gateway keys and tokens out of the finished line.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal

from aibridge.credentials import Scrubber
from aibridge.server.auth import own_keys

# Tokens of identity providers (RFC 7519): two parts of JSON and a signature, in base64. The first begins with `{"`; with
# what the second does, its writer decides. Nothing is given back, so that a long line is read once.
_TOKEN = re.compile(
    rb"(?<![A-Za-z0-9_-])((?>[A-Za-z0-9_-]*?(?=eyJ)))[A-Za-z0-9_-]{11,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]++"
)
Form = Literal["auto", "json", "text"]
Level = Literal["debug", "info", "warning", "error"]


def log_to_stderr(form: Form, secrets: Iterable[str] = (), level: Level = "info") -> None:
    """Sets up logging of the whole process, once. `level` is that of our own lines; of others only warnings are shown."""
    import structlog  # noqa: PLC0415  a tenth of a second that only a server spends

    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    scrubber = Scrubber(secrets)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    last: list[Any]
    if as_json:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    else:
        colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        plain = structlog.dev.plain_traceback  # the others print variables, which may hold anything
        last = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain, timestamp_key="time")]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, _scrubbed(scrubber)],
        )
    )
    # Where a line cannot be written, logging would print its arguments, which nobody has taken the secrets out of.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # The MCP SDK writes what servers sent into its lines; what it reports is in ours, without that.
    for name in ("mcp", "client", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.getLogger("aibridge").setLevel(level.upper())


def _scrubbed(scrubber: Scrubber) -> Callable[[Any, str, Any], str]:
    """The last processor: from the renderer on, the event is one line of text."""

    def scrub(logger: Any, name: str, line: Any) -> str:  # noqa: ARG001  a processor's arguments
        scrubbed = own_keys.cut(scrubber.scrub(str(line).encode("utf-8", "replace")))
        return (_TOKEN.sub(rb"\1[redacted]", scrubbed) if b"eyJ" in scrubbed else scrubbed).decode()

    return scrub
