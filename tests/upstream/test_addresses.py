"""A name may have many addresses: none of them that does not answer holds up one that does."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from aibridge.upstream import HttpUpstream, addresses
from aibridge.upstream.addresses import Address, connected, first_to_answer, in_turn
from tests.upstream.raw_provider import WHOLE, answering, ask, full_queue, post, raw_provider
from tests.waiting import BOUND

pytestmark = pytest.mark.anyio


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[Address]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        yield family, server.getsockname()


def at(listener: socket.socket) -> Address:
    return listener.family, listener.getsockname()


def refusing() -> Address:
    with listening() as address:
        return address


async def reached(*tried: Address) -> object:
    async with asyncio.timeout(BOUND):
        with await first_to_answer(tried) as connection:
            return connection.getpeername()


async def accepted(listener: socket.socket) -> None:
    """Takes whatever connects, until it is cancelled."""
    while True:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        connection.close()


async def test_a_silent_address_holds_up_the_next_for_a_quarter_of_a_second() -> None:
    loop = asyncio.get_running_loop()
    with full_queue() as first, listening() as second, listening() as third:
        began = loop.time()
        got = await reached(at(first), second, third)
        took = loop.time() - began

    assert got == second[1]
    assert addresses.ATTEMPT_DELAY - 0.05 < took < 2


async def test_an_address_that_refuses_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ATTEMPT_DELAY", 10 * BOUND)
    with listening() as last:
        assert await reached(refusing(), refusing(), last) == last[1]


async def test_a_slow_address_is_not_given_up_while_others_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ATTEMPT_DELAY", 0.02)
    with full_queue() as slow:
        trying = asyncio.create_task(reached(at(slow), refusing(), refusing()))
        await asyncio.wait([trying], timeout=0.1)  # the time in which the others have refused
        assert not trying.done()
        slow.setblocking(False)
        # All of them: the place of one that was accepted is taken by another of those that fill the queue.
        accepting = asyncio.create_task(accepted(slow))
        assert await trying == slow.getsockname()
        accepting.cancel()


async def test_when_nobody_answers_the_first_fault_is_told() -> None:
    with pytest.raises(ConnectionRefusedError):
        await reached(refusing(), refusing())
    with pytest.raises(ConnectionRefusedError):
        await reached(refusing())


async def test_attempts_can_be_given_up_and_leave_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ATTEMPT_DELAY", 0.02)
    with full_queue() as one, full_queue() as two:
        trying = asyncio.create_task(reached(at(one), at(two)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await trying
        assert trying.cancelled()


async def test_a_connection_is_not_delayed_by_the_kernel_and_notices_when_the_other_side_is_gone() -> None:
    with listening() as (_, address), await connected("127.0.0.1", int(address[1])) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_families_take_turns_beginning_with_the_one_that_the_system_prefers() -> None:
    four: list[Address] = [(socket.AF_INET, (f"10.0.0.{n}", 1)) for n in range(4)]
    six: list[Address] = [(socket.AF_INET6, (f"fd00::{n}", 1, 0, 0)) for n in range(2)]

    assert in_turn([*six, *four]) == [six[0], four[0], six[1], four[1], four[2], four[3]]
    assert in_turn([*four, *six]) == [four[0], six[0], four[1], six[1], four[2], four[3]]
    assert in_turn(six) == six
    assert in_turn(four[:1]) == four[:1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_providers_are_reached_by_name_and_by_either_family(upstream: HttpUpstream, host: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    async with raw_provider(answering(WHOLE), host="::1" if host == "::1" else "127.0.0.1") as provider:
        port = provider.url.rpartition(":")[2]
        shown = f"[{host}]" if ":" in host else host
        assert (await ask(upstream, post(f"http://{shown}:{port}"))).body == b"ok"

    assert b"host: %s:%s\r\n" % (shown.encode(), port.encode()) in provider.peers[0].heads[0]
