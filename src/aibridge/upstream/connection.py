"""One connection to a provider: writes a request, feeds its answer. httptools (llhttp) reads the HTTP.

One timer watches a request from its start to its end and is re-armed only when it rings: an event that arrives in
time costs nothing but a note of when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import httptools

from aibridge.errors import Header, UpstreamFailure, UpstreamReset, UpstreamStalled, UpstreamUnreachable
from aibridge.ports import UpstreamTimeouts
from aibridge.upstream.answer import Answer
from aibridge.upstream.large_body import LargeBody, left_behind

MAX_HEAD = 64 * 1024
"""The largest head of an answer, in bytes of names and values; rate-limit and policy headers grow."""
_WITHOUT_BODY = (204, 304)
_FRAMING = (b"content-length", b"transfer-encoding")
_LARGE_BODY = 64 * 1024  # bytes; above this a second write is cheaper than a copy, and may meet an early answer


class Connection(asyncio.Protocol):
    """A connection that serves one request at a time.

    `on_idle` is called when it may serve the next, `on_closed` when it never will.
    """

    def __init__(self, on_idle: Callable[[Connection], None], on_closed: Callable[[Connection], None]) -> None:
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._large: LargeBody | None = None  # that the answer under way is to
        self._body: list[bytes] = []  # what one read brought
        self.on_body = self._body.append  # called by httptools
        self._fields: list[Header] = []  # of the head that is being read, then of trailers, which nobody reads
        keep = self._fields.append
        # Called for each of twenty-five headers; a method of this class would cost twice as much.
        self.on_header: Callable[[bytes, bytes], None] = lambda name, value: keep((name, value))
        self.idle_since = 0.0

    # -- one request -----------------------------------------------------------------------------------

    def send(
        self, head: bytes, body: bytes, timeouts: UpstreamTimeouts, deadline: float, *, bodiless: bool, decode: bool
    ) -> Answer:
        """Writes a request. `deadline` is the loop's time by which the first byte of the body must have come.

        `bodiless`: the answer has no body whatever its head says (HEAD).
        """
        assert self._transport is not None
        answer = self._answer = Answer(self._loop, self._resume, decode=decode)
        self._parser = httptools.HttpResponseParser(self)
        self._fields.clear()
        self._head_fed = 0
        self._bodiless = bodiless
        self._until_closed = True
        self._begun = False
        self._complete = False
        self._paused = False
        self._timeouts = timeouts
        self._deadline: float | None = deadline  # of the first byte of the body; None once it came
        self._last = self._loop.time()
        self._timer = self._loop.call_at(min(deadline, self._last + timeouts.first_byte), self._look)
        if self._transport.is_closing():
            self._fail("the provider closed the connection before it answered")
        elif len(body) > _LARGE_BODY:
            self._large = LargeBody(self._loop, self._transport, body)
            self._transport.write(head)
            self._large.write()
        else:
            self._transport.write(head + body)
        return answer

    def abandon(self, answer: Answer | None = None) -> None:
        """Cuts the connection unless its answer (or `answer`, when it serves another by now) is whole."""
        if self._answer is not None and self._transport is not None and answer in (None, self._answer):
            self._release()
            self._transport.abort()

    def break_off(self) -> None:
        """Ends the connection, and with an error the answer that is under way."""
        self._fail("the gateway closed its connections")
        self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def may_have_missed_it(self) -> bool:
        """It lay idle before the last request, and nothing of an answer to that has come."""
        return self.idle_since > 0 and not self._begun

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # -- asyncio.Protocol ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, only alike.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self._parser is None:
            # Nobody asked. What comes now would be taken for the answer to the next request.
            self.close()
            return
        self._last = self._loop.time()
        if not answer.status:
            self._head_fed += len(data)
        fault = ""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            fault = "the provider switched protocols"
        except httptools.HttpParserError:
            fault = "the provider's answer is not valid HTTP"
        if self._body:
            self._hand_on()
        if (self._fields or not answer.status) and self._is_too_large(answer):
            fault = fault or "the head of the provider's answer is too large"
        if fault:
            self._fail(fault)
            self.close()  # also when the answer was whole and something unasked followed it

    def eof_received(self) -> bool:
        if self._large is not None and self._transport is not None and not self._large.out:
            # To close would be to wait until somebody takes what nobody reads any more, or until that fails.
            self._transport.abort()
        return False  # close

    def pause_writing(self) -> None:
        if self._large is not None:
            self._large.pause()

    def resume_writing(self) -> None:
        if self._large is not None:
            self._large.resume()

    def connection_lost(self, error: Exception | None) -> None:
        cut = self._transport if error is not None and self._large is not None else None
        if cut is not None and (data := left_behind(cut)):
            self.data_received(data)
        if self._answer is not None:
            started = self._answer.status != 0
            if error is None and started and self._until_closed and not self._complete:
                self._answer.end()  # a body without a length ends with its connection (RFC 9112 section 6.3)
                self._release()
            else:
                self._tell(
                    "the provider's answer broke off"
                    if started
                    else "the provider closed the connection before it answered"
                )
        self._on_closed(self)

    # -- httptools -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("more than was asked for")  # would be taken for the answer to the next request
        self._begun = True

    def on_headers_complete(self) -> None:
        if self._answer is None or self._parser is None:
            raise ValueError("an answer that nobody asked for")
        headers = [
            (name, value.rstrip(b" \t")) for name, value in self._fields
        ]  # llhttp leaves what may follow a value
        self._fields.clear()
        if self._head_fed > MAX_HEAD and _size(headers) > MAX_HEAD:
            raise ValueError("head too large")
        status = self._parser.get_status_code()
        if 100 <= status < 200:  # interim; the answer follows
            return
        if any(_frames(*header) for header in headers if header[0].lower() in _FRAMING):
            self._until_closed = False
        if status in _WITHOUT_BODY:
            self._until_closed = False
        if self._large is not None:
            self._large.heard(status)
        self._answer.start(status, headers)
        if self._bodiless:
            self._whole(reusable=False)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._answer is not None and self._answer.status:
            self._whole(reusable=self._parser.should_keep_alive())

    # -- inside ----------------------------------------------------------------------------------------

    def _is_too_large(self, answer: Answer) -> bool:
        """Whether more has come of a head that is not whole, or of trailers (RFC 9110 section 6.5.1), than there may be."""
        return (_size(self._fields) if answer.status else self._head_fed) > MAX_HEAD

    def _hand_on(self) -> None:
        """Gives the answer what came of its body, in one piece."""
        body, answer = self._body, self._answer
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        if answer is None or not answer.status:  # nobody wants it
            return
        if self._deadline is not None:
            self._deadline = None
            if self._timeouts.stall < self._timeouts.first_byte and self._timer is not None:
                self._timer.cancel()  # it would ring too late
                self._timer = self._loop.call_at(self._last + self._timeouts.stall, self._look)
        if not answer.feed(data) and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _whole(self, *, reusable: bool) -> None:
        answer = self._answer
        assert answer is not None
        if self._body:
            # Not to whoever takes what comes: called by the parser, its faults would be taken for the provider's.
            answer.keep(b"".join(self._body))
            self._body.clear()
        self._complete = True
        self._resume()
        if self._large is not None and not self._large.out:
            self.abandon()  # whoever asks next would wait behind what is left of it
        else:
            self._release()
        answer.end()
        if reusable and self.usable:
            self.idle_since = self._loop.time()
            self._on_idle(self)
        else:
            self.close()

    def _release(self) -> None:
        self._answer = None
        if self._large is not None:
            self._large.stop()
            self._large = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, message: str) -> None:
        if self._answer is not None and self._transport is not None:
            self._tell(message)
            self._transport.abort()

    def _tell(self, message: str) -> None:
        """Ends the answer with an error."""
        assert self._answer is not None
        failure: UpstreamFailure
        failure = UpstreamReset(message) if self._answer.status else UpstreamUnreachable(message)
        self._answer.fail(failure)
        self._release()

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._last = self._loop.time()
            self._transport.resume_reading()

    def _look(self) -> None:
        """The timer rang: has the provider been silent for too long?"""
        self._timer = None
        if self._answer is None:
            return
        now = self._loop.time()
        if self._paused:  # it is we who do not read
            self._last = now
        due = self._deadline if self._deadline is not None else self._last + self._timeouts.stall
        if now < due:
            self._timer = self._loop.call_at(due, self._look)
            return
        waited = self._timeouts.stall if self._deadline is None else self._timeouts.first_byte
        self._answer.fail(UpstreamStalled(f"the provider sent nothing for {waited:g} s"))
        self.abandon()


def _size(fields: Sequence[Header]) -> int:
    return sum(len(name) + len(value) for name, value in fields)


def _frames(name: bytes, value: bytes) -> bool:
    """Whether a header says where the body ends."""
    return name.lower() == b"content-length" or b"chunked" in value.lower()
