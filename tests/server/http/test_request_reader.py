"""However the bytes of a connection are cut, the requests in them are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.server.http.asgi import Headers, RequestLine
from aibridge.server.http.exchange import Exchange
from aibridge.server.http.limits import Limits
from aibridge.server.http.outlet import Outlet
from aibridge.server.http.refusals import MALFORMED, Refusal
from aibridge.server.http.request_reader import RequestReader


class Nowhere:
    """A connection that nobody is at the other end of."""

    last_request = False
    outlet: Outlet
    default_headers: Headers = []  # noqa: RUF012  nothing is ever put in

    def write(self, data: bytes) -> None:
        raise AssertionError("a reader writes nothing")

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def answered(self, exchange: Exchange) -> None: ...

    def break_off(self, exchange: Exchange) -> None: ...


class Requests:
    """Everything that a reader made of its bytes."""

    def __init__(self) -> None:
        self.begun: list[tuple[RequestLine, Headers, bool, bool]] = []
        self.exchanges: list[Exchange] = []
        self.refusal: Refusal | None = None
        self.reader = RequestReader(Limits(), self.begin)

    def begin(self, line: RequestLine, headers: Headers, keep_alive: bool, awaits_continue: bool) -> Exchange:
        self.begun.append((line, headers, keep_alive, awaits_continue))
        self.exchanges.append(
            Exchange(Nowhere(), {}, keep_alive=keep_alive, awaits_continue=awaits_continue, most_unread=1 << 20)
        )
        return self.exchanges[-1]

    def feed(self, data: bytes) -> None:
        if self.refusal is None:
            self.refusal = self.reader.feed(data)

    def seen(self) -> object:
        bodies = [(b"".join(exchange._chunks), exchange._arrived) for exchange in self.exchanges]
        return self.begun, bodies, self.refusal


MESSAGES = {
    "get": b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: \r\nX: y \t\r\n\r\n",
    "post": b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n{\r\n\r\n}\r",
    "chunked": b"POST /c HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\na\r\n0\r\n\r\nGET /\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "upgrade": b"POST /d HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
    "last": b"POST /e HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    "http/1.0": b"GET /f HTTP/1.0\r\n\r\n",
    "broken": b"GET /g HTTP/1.1\r\nHost : a\r\n\r\n",
    "two hosts": b"GET /h HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
}


@given(
    names=st.lists(st.sampled_from(sorted(MESSAGES)), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 60), max_size=40),
)
def test_cutting_the_bytes_changes_nothing(names: list[str], cuts: list[int]) -> None:
    data = b"".join(MESSAGES[name] for name in names)
    whole = Requests()
    whole.feed(data)
    cut = Requests()
    rest = data
    for length in cuts:
        cut.feed(rest[:length])
        rest = rest[length:]
    cut.feed(rest)

    assert cut.seen() == whole.seen()


@pytest.mark.parametrize("name", ["get", "post", "chunked"])
def test_what_follows_is_read_as_the_next_request(name: str) -> None:
    requests = Requests()
    requests.feed(MESSAGES[name] * 3)

    assert len(requests.begun) == 3
    assert requests.refusal is None


@pytest.mark.parametrize("name", ["upgrade", "last", "http/1.0"])
def test_nothing_is_read_behind_a_last_request(name: str) -> None:
    requests = Requests()
    requests.feed(MESSAGES[name] + MESSAGES["get"])
    requests.feed(MESSAGES["broken"])

    assert len(requests.begun) == 1
    assert requests.refusal is None
    assert requests.reader.ended


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    requests = Requests()
    requests.feed(data)

    assert requests.refusal is None or requests.refusal.status in (400, 426, 431, 501)


def test_a_fault_of_our_own_does_not_look_like_the_clients() -> None:
    def failing(line: RequestLine, headers: Headers, keep_alive: bool, awaits_continue: bool) -> Exchange:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        RequestReader(Limits(), failing).feed(MESSAGES["get"])


def test_the_refusal_of_malformed_bytes_is_the_same_for_all() -> None:
    requests = Requests()
    requests.feed(b"\x16\x03\x01")

    assert requests.refusal is MALFORMED
