"""What accepted connections inherit from a listening socket, whichever event loop accepts them."""

import socket

import pytest

from aibridge.server.http.sockets import bind


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_accepted_connection_does_not_hold_small_writes_back(host: str) -> None:
    [listening] = bind(host, 0)
    with listening, socket.create_connection(listening.getsockname()[:2]):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
