"""No path outside the table ever becomes a route, and what goes upstream is always one of the table's shapes.

The oracle below is written from the rules, slowly and without a regular expression, and knows nothing of `routes.py`.
"""

import random
from collections import Counter
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aibridge.providers.anthropic import anthropic
from aibridge.providers.copilot import copilot
from aibridge.providers.openai import openai
from aibridge.routes import PREFIXES, NoRoute, RouteTable, raw_path_of, upstream_url

TABLE = RouteTable(
    [anthropic(), openai(), copilot(), openai(name="openai-eu"), anthropic(name="off", enabled=False)], PREFIXES
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READ = ("GET", "HEAD")
ANY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# type -> path -> methods; where a `*` stands, the methods of one part and those of several.
EXACT: dict[str, dict[str, tuple[str, ...]]] = {
    "anthropic": {"/v1/messages": ("POST",), "/v1/messages/count_tokens": ("POST",), "/v1/models": READ},
    "openai": {
        "/v1/chat/completions": ("POST",),
        "/v1/responses": ("POST",),
        "/v1/responses/compact": ("POST",),
        "/v1/responses/input_tokens": ("POST",),
        "/v1/conversations": ("POST",),
        "/v1/models": READ,
    },
    "copilot": {
        "/chat/completions": ("POST",),
        "/responses": ("POST",),
        "/v1/messages": ("POST",),
        "/models": READ,
        "/_ping": READ,
        "/auto": ("GET", "HEAD", "POST"),
    },
}
OPEN: dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "anthropic": {"/v1/models/": (READ, READ), "/api/event_logging/": (("POST",), ("POST",))},
    "openai": {
        "/v1/responses/": (("GET", "DELETE"), ("GET", "DELETE", "POST")),
        "/v1/conversations/": (("GET", "DELETE", "POST"), ("GET", "DELETE", "POST")),
        "/v1/models/": (READ, READ),
    },
    "copilot": {
        "/models/": ((*READ, "POST"), (*READ, "POST")),
        "/agents/": (ANY, ANY),
        "/mcp/": (("GET", "POST", "DELETE"), ("GET", "POST", "DELETE")),
        "/.well-known/": (READ, READ),
    },
}
ID_REQUIRED = ("/v1/responses/", "/v1/conversations/")
KIND = {"anthropic": "anthropic", "openai": "openai", "copilot": "copilot", "openai-eu": "openai"}
BASE = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",
    "copilot": "https://api.individual.githubcopilot.com",
}
ID = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:@-"
FORBIDDEN = [b"%2f", b"%5c", b"%2e", b"%7f", b"%25", b"%3b", *(b"%%%02x" % n for n in [*range(32), *range(128, 256)])]


def hostile(path: bytes) -> bool:
    if not path.startswith(b"/") or b"//" in path or b"\\" in path or b";" in path:
        return True
    if any(byte <= 32 or byte >= 127 for byte in path) or any(part in (b".", b"..") for part in path.split(b"/")):
        return True
    escapes = [path[at : at + 3].lower() for at, byte in enumerate(path) if byte == ord("%")]
    return any(len(one) < 3 or not set(one[1:]) <= set(b"0123456789abcdef") or one in FORBIDDEN for one in escapes)


def expected(method: str, path: bytes) -> str | None:
    """The URL that a request must reach, or None when it must reach nothing."""
    if hostile(path):
        return None
    for prefix in ("/api/v2/aibridge/", "/api/v2/ai-gateway/", "/"):
        name, _, rest = path.removeprefix(prefix.encode()).partition(b"/")
        if path.startswith(prefix.encode()) and name.decode() in KIND:
            return _below(KIND[name.decode()], method, (b"/" + rest).decode())
    return None


def _below(kind: str, method: str, path: str) -> str | None:
    for escape, char in (("%3a", ":"), ("%3A", ":"), ("%40", "@")):
        path = path.replace(escape, char)
    if path in EXACT[kind]:
        return BASE[kind] + path if method in EXACT[kind][path] else None
    for head, (of_one, of_several) in OPEN[kind].items():
        if not path.startswith(head):
            continue
        parts = path.removeprefix(head).removesuffix("/").split("/")
        if parts == [""]:
            return None if path.endswith("//") or head in ID_REQUIRED or method not in of_one else BASE[kind] + path
        if any(not 1 <= len(part) <= 256 or not set(part.encode()) <= set(ID) for part in parts):
            return None
        if head + parts[0].lower() in EXACT[kind]:
            return None
        return BASE[kind] + path if method in (of_one if len(parts) == 1 else of_several) else None
    return None


def outcome(method: str, path: bytes) -> tuple[int, str | None]:
    """The status of the refusal, or 200 and the URL. A probe reaches nothing."""
    try:
        route = TABLE.find(method, path)
    except NoRoute as refused:
        return refused.problem.status, None
    return 200, upstream_url(route, b"") if route is not None else None


NAMES = [*KIND, "off", "unknown", "OpenAI", ""]
TEMPLATES = [path for paths in EXACT.values() for path in paths] + [head for heads in OPEN.values() for head in heads]
ODD = [
    *(b"%2f %2F %5c %2e %2E%2e %25 %252e %00 %1f %7f %3b %3A %40 %20 %61 %c3%a9 % %4 %zz".split()),
    *(b".. . ... /../ /./ // / \\ ; ? # * ~ + = & , ! ' \" < | ^ ` { @ : _ -".split()),
    *(b"compact input_tokens Compact items cancel v1 api models responses openai".split()),
    *(bytes([n]) for n in (0, 9, 10, 13, 32, 127, 128, 255)),
]


def drawn(rng: random.Random) -> bytes:
    """A path near the table: mostly a template with ids in it, changed in none to three places."""
    prefix = rng.choice([*PREFIXES, "", "", "/api/v2", "/api/v2/aibridge/"])
    template = rng.choice(TEMPLATES)
    path = bytearray(f"{prefix}/{rng.choice(NAMES[:4] if rng.random() < 0.9 else NAMES)}{template}".encode())
    if template.endswith("/") or rng.random() < 0.1:
        ids = [
            bytes(rng.choices(ID, k=rng.choice((1, 2, 9, 30, 256, 257)))) for _ in range(rng.choice((0, 1, 1, 2, 4)))
        ]
        path += b"/".join(ids)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        _change(path, rng)
    return bytes(path)


def _change(path: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(path) + 1)
    match rng.randrange(8):
        case 0 | 1:
            path[at:at] = rng.choice(ODD)
        case 2:
            path += rng.choice((b"/", b"/", b"//", b"/x", b"/.", b"/..", b"?x=1"))
        case 3:
            path[at : at + 1] = b"".join(b"%%%02x" % byte for byte in path[at : at + 1])
        case 4:
            path[at : at + 1] = bytes(path[at : at + 1]).swapcase()
        case 5:
            del path[at : at + 1]
        case 6:
            path[at:at] = path[at : at + 1]
        case _:
            path[at : at + 1] = bytes([rng.randrange(256)])


def judged(count: int, seed: int) -> Counter[int]:
    rng = random.Random(seed)
    statuses: Counter[int] = Counter()
    for _ in range(count):
        method, path = rng.choice(METHODS), drawn(rng)
        status, url = outcome(method, path)
        assert url == expected(method, path), (method, path)
        assert status == 400 or not hostile(path), (method, path)
        statuses[status] += 1
    return statuses


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_over_many_paths_exactly_the_table_is_reached(count: int, seed: int) -> None:
    statuses = judged(count, seed)

    # Both sides were tried: much was let through, and much was refused for each reason.
    assert all(statuses[status] > count / 100 for status in (200, 400, 404, 405)), statuses
    assert statuses[503] > 0


PIECES = [b"/", *(path.encode() for path in TEMPLATES), *(f"/{name}".encode() for name in NAMES), *ODD]


@settings(max_examples=1000)
@given(st.sampled_from(METHODS), st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join))
@example("GET", b"/openai/v1/models/%2e%2e/files")
@example("POST", b"/openai/v1/responses/compact/")
def test_any_pieces_in_any_order_reach_exactly_the_table(method: str, path: bytes) -> None:
    assert outcome(method, path)[1] == expected(method, path)


@given(st.sampled_from(METHODS), st.binary(max_size=40))
def test_any_bytes_are_judged_without_a_fault(method: str, path: bytes) -> None:
    assert outcome(method, path)[1] == expected(method, path)


@settings(max_examples=500)
@given(st.sampled_from(METHODS), st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join))
def test_a_host_that_gives_only_the_decoded_path_reaches_nothing_else(method: str, path: bytes) -> None:
    decoded = unquote_to_bytes(path).decode("utf-8", errors="replace")
    try:
        raw = raw_path_of({"path": decoded})
    except NoRoute:
        assert "%" in decoded
        return

    assert unquote_to_bytes(raw).decode("utf-8") == (decoded or "/")
    assert outcome(method, raw)[1] == expected(method, raw)
