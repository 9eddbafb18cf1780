"""How much and how long a client may, before we end the connection. Seconds and bytes; every number has a default.

A limit is handed in by argument, so that a test can shorten it and two servers in one process can differ.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long we wait for the client, in seconds."""

    head: float = 10.0  # from the first byte of a request (or the connection's start) to the end of its head
    body: float = 20.0  # a body brings `body_rate` bytes a second on the average of every window this long
    body_rate: float = 500.0
    idle: float = 30.0  # between two requests
    unread: float = 60.0  # bytes wait for a client that takes none of them
    linger: float = 5.0  # after a last answer, while the client is still sending: silence that ends it ...
    linger_total: float = 30.0  # ... and the longest that it may take in all (the figures of nginx)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection, and all of them together, may cost."""

    deadlines: Deadlines = field(default_factory=Deadlines)
    connections: int = 16_384  # beyond it 503; at 16 KiB for an idle one the cap costs 256 MiB
    head_bytes: int = 64 * 1024
    headers: int = 200
    unread_body: int = 256 * 1024  # of a request, before reading pauses; as much as uvloop reads at once
    pipelined: int = 16  # requests that wait behind the one being answered
