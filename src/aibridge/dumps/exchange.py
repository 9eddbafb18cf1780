"""One exchange with a provider as the text of two files. What could be somebody's secret is masked.

Headers and query parameters are shown by an allow-list. The values of all others are also looked for in the rest: a
provider may repeat a credential in what it says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aibridge.errors import Header
from aibridge.ports import UpstreamRequest

MASK = b"[masked]"

_SHOWN = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"anthropic-beta",
        b"anthropic-version",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"copilot-integration-id",
        b"date",
        b"editor-version",
        b"openai-beta",
        b"openai-processing-ms",
        b"openai-version",
        b"originator",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"server",
        b"transfer-encoding",
        b"user-agent",
        b"x-request-id",
        b"x-should-retry",
    }
)
_SHOWN_STARTS = (b"anthropic-ratelimit-", b"x-ratelimit-", b"x-stainless-")
_SHOWN_PARAMETERS = frozenset({"after", "api-version", "beta", "before", "limit", "order", "stream"})
_SHORTEST_SECRET = 8

Scrub = Callable[..., bytes]
"""`Scrubber.scrub`, or one that knows more: takes secrets, and those given besides, out of bytes."""


@dataclass(slots=True)
class Exchange:
    """Filled while it runs; `texts` makes the files of it. `limit`: bytes of each body that are kept."""

    name: str  # of the files
    folder: tuple[str, str]  # provider, model
    request: UpstreamRequest
    limit: int
    status: int | None = None
    headers: Sequence[Header] = ()
    pieces: list[bytes] = field(default_factory=list)
    held: int = 0  # bytes of memory, the request's among them
    kept: int = 0
    size: int = 0
    count: int = 0
    ending: str = "left before its end"
    seconds: float = 0.0

    def wants(self, data: bytes) -> int:
        """How many bytes of memory `keep` needs for this piece of the answer."""
        return min(len(data), max(0, self.limit + _SLACK - self.kept))

    def keep(self, data: bytes) -> None:
        self.size += len(data)
        self.count += 1
        wanted = self.wants(data)
        if wanted:
            self.pieces.append(data if wanted == len(data) else data[:wanted])
            self.kept += wanted
            self.held += wanted

    def texts(self, scrub: Scrub) -> tuple[bytes, bytes]:
        """The contents of the two files."""
        asked, own = self.request, sorted(self._secrets(), key=len, reverse=True)
        body = asked.body[: self.limit + _SLACK]
        sent = b"\r\n".join([_line(asked), *_shown(asked.headers), *_cut(len(asked.body), self.limit), b"", b""])
        status = b"no answer" if self.status is None else b"HTTP %d" % self.status
        how = f"aibridge-dump: {self.ending}; {self.size} bytes in {self.count} pieces; {self.seconds:.3f} s".encode()
        came = b"\r\n".join([status, *_shown(self.headers), how, *_cut(self.size, self.limit), b"", b""])
        return (
            scrub(sent, *own) + scrub(body, *own)[: self.limit],
            scrub(came, *own) + scrub(b"".join(self.pieces), *own)[: self.limit],
        )

    def _secrets(self) -> Iterator[str]:
        """What the masked headers hold; of `Bearer TOKEN` the token too."""
        for name, value in (*self.request.headers, *self.headers):
            if not _is_shown(name):
                text = value.decode("latin-1")
                yield from {text, text.rpartition(" ")[2]}


# A secret that the limit cuts in two would no longer be known: so much more is looked through.
_SLACK = 4096


def _line(asked: UpstreamRequest) -> bytes:
    parts = urlsplit(asked.url)
    query = "&".join(_parameter(each) for each in parts.query.split("&")) if parts.query else ""
    return f"{asked.method} {parts._replace(query=query).geturl()}".encode("latin-1", "replace")


def _parameter(text: str) -> str:
    name, equals, _ = text.partition("=")
    return text if name in _SHOWN_PARAMETERS or not equals else f"{name}={MASK.decode()}"


def _shown(headers: Sequence[Header]) -> Iterator[bytes]:
    return (name + b": " + (value if _is_shown(name) else MASK) for name, value in headers)


def _is_shown(name: bytes) -> bool:
    name = name.lower()
    return name in _SHOWN or name.startswith(_SHOWN_STARTS)


def _cut(size: int, limit: int) -> Iterator[bytes]:
    if size > limit:
        yield b"aibridge-dump: cut after %d of %d bytes" % (limit, size)
