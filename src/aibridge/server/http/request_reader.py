"""Bytes of a connection in, exchanges and their bodies out; no socket, no clock.

One instance reads one connection, request after request, until it returns a refusal: then nothing that follows on the
connection can be trusted to be a request, and nothing more may be fed.
"""

from collections.abc import Callable
from typing import Any

import httptools

from aibridge.server.http import head
from aibridge.server.http.asgi import Headers, RequestLine
from aibridge.server.http.exchange import Exchange
from aibridge.server.http.limits import Limits
from aibridge.server.http.refusals import BODY_MALFORMED, HEAD_TOO_LARGE, MALFORMED, TOO_MANY_HEADERS, Refusal


class _Stop(Exception):
    """Leaves the parser from inside a callback; the reason is `_refusal`."""


class RequestReader:
    """Drives llhttp. `begin(line, headers, keep_alive, awaits_continue)` makes the exchange of a complete head."""

    __slots__ = (
        "_begin",
        "_fed",
        "_fields",
        "_framing",
        "_head_fed",
        "_head_is_new",
        "_limits",
        "_parser",
        "_refusal",
        "_silent",
        "_target",
        "_upgraded",
        "arriving",
        "body_bytes",
        "ended",
        "in_head",
        "on_header",
    )

    def __init__(self, limits: Limits, begin: Callable[[RequestLine, Headers, bool, bool], Exchange | Refusal]) -> None:
        self._limits = limits
        self._begin = begin
        self.in_head = False  # the first byte of a request has come, the end of its head has not
        self.arriving: Exchange | None = None  # its head is complete, its body is not
        self.body_bytes = 0  # of bodies, since the owner last set it to 0
        self.ended = False  # the last request of this connection has come
        self._refusal: Refusal | None = None
        self._fed = 0
        # The head that is being read.
        self._target = b""
        self._fields: Headers = []  # as they came; trailers too, which nobody reads
        append = self._fields.append
        # Called for every header of every request; a method of this class would cost twice as much.
        self.on_header: Callable[[bytes, bytes], None] = lambda name, value: append((name, value))
        self._head_fed = 0
        self._head_is_new = False
        # The body that is being read.
        self._silent = 0
        self._upgraded = False
        self._framing = b""
        self._parser: Any = httptools.HttpRequestParser(self)  # takes hold of the callbacks

    def feed(self, data: bytes) -> Refusal | None:
        """Read on; a refusal ends the connection."""
        if self.ended:  # what follows a last request is nobody's
            return None
        self._fed = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._read_on(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            return self._failed(error)
        if self.in_head:
            return self._weigh_open_head()
        if self.arriving is not None:
            return self._weigh_framing()
        return None

    def close(self) -> None:
        """Let go of the parser and the owner, which hold on to this object: no cycle is left for the collector."""
        self._parser = None
        self._begin = _begin_nothing
        self.ended = True
        self.arriving = None
        self._fields.clear()

    # What llhttp calls.

    def on_message_begin(self) -> None:
        self.in_head = True
        self._target = b""
        self._fields.clear()
        self._head_fed = 0
        self._head_is_new = True

    def on_url(self, data: bytes) -> None:
        self._target += data

    def on_headers_complete(self) -> None:
        self.in_head = False
        parser = self._parser
        version = parser.get_http_version()
        # Trailing white space is no part of a value (RFC 9110 section 5.5); llhttp leaves it on.
        headers = [(name.lower(), value.rstrip(b" \t")) for name, value in self._fields]
        watched = [field for field in headers if field[0] in head.WATCHED]
        refusal = self._weigh_whole_head() or head.fault(self._target, version, watched)
        keep_alive = version == "1.1" and parser.should_keep_alive()
        if refusal is None and parser.should_upgrade():
            refusal = head.websocket_refusal(self._target, watched)
            # Any other upgrade is ignored (RFC 9110 section 7.8), but llhttp will not read its body: see _read_on.
            self._framing = head.body_framing(watched)
            self._upgraded = bool(self._framing)
            keep_alive = keep_alive and not self._upgraded
        if refusal is None:
            awaits_continue = version == "1.1" and (b"expect", b"100-continue") in watched
            line = (parser.get_method().decode("ascii"), self._target, version)
            begun = self._begin(line, headers, keep_alive, awaits_continue)
            if isinstance(begun, Exchange):
                self.arriving = begun
                self._silent = 0
                return
            refusal = begun
        self._refusal = refusal
        raise _Stop

    def on_body(self, data: bytes) -> None:
        if self.arriving is not None:
            self._silent = -1
            self.body_bytes += len(data)
            self.arriving.body_came(data)

    def on_message_complete(self) -> None:
        if self.arriving is not None and not self._upgraded:
            self.ended = not self.arriving.keep_alive
            self.arriving.body_ended()
            self.arriving = None

    # After the parser.

    def _failed(self, error: httptools.HttpParserError) -> Refusal | None:
        if self.ended:
            return None  # "Data after `Connection: close`": the client's loss, its request stands
        if self._refusal is None and isinstance(error, httptools.HttpParserCallbackError) and error.__context__:
            raise error.__context__  # a fault of our own in a callback must not look like the client's
        return self._refusal or (BODY_MALFORMED if self.arriving is not None else MALFORMED)

    def _read_on(self, rest: bytes) -> Refusal | None:
        """Go on behind the head of an upgrade that we do not take up.

        Java's HttpClient sends `Upgrade: h2c` with its first POST. llhttp takes the rest of the connection for
        another protocol; a second parser, told the same framing, reads the body. Such a request is the last one.
        """
        if self._upgraded:
            self._upgraded = False
            self._parser = httptools.HttpRequestParser(_BodyOnly(self))
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: a\r\n" + self._framing + b"\r\n")
        return self.feed(rest) if rest else None

    def _weigh_open_head(self) -> Refusal | None:
        if self._head_is_new:
            self._head_is_new = False
            self._head_fed = self._head_size()
        else:
            self._head_fed += self._fed
        if self._head_fed > self._limits.head_bytes:
            return HEAD_TOO_LARGE
        return TOO_MANY_HEADERS if len(self._fields) > self._limits.headers else None

    def _weigh_whole_head(self) -> Refusal | None:
        if len(self._fields) > self._limits.headers:
            return TOO_MANY_HEADERS
        limit = self._limits.head_bytes
        # The bytes that were fed may hold much more than this head; only then they have to be counted one by one.
        if self._head_fed + self._fed > limit and self._head_size() > limit:
            return HEAD_TOO_LARGE
        return None

    def _head_size(self) -> int:
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)

    def _weigh_framing(self) -> Refusal | None:
        """Chunk extensions and trailers: as much as a head between two bytes of body."""
        if self._silent < 0:
            self._silent = 0
            return None
        self._silent += self._fed
        # The head that came with the first bytes was already weighed; at worst it is counted twice.
        return BODY_MALFORMED if self._silent > 2 * self._limits.head_bytes else None


def _begin_nothing(line: RequestLine, headers: Headers, keep_alive: bool, awaits_continue: bool) -> Refusal:  # noqa: ARG001  a callback
    return MALFORMED


class _BodyOnly:
    """What llhttp calls while it reads the body of a request whose head was read by another parser."""

    __slots__ = ("on_body", "on_message_complete")

    def __init__(self, reader: RequestReader) -> None:
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete
