"""Headers on the way out and on the way back. What passes, passes byte for byte and in its order.

Nothing that authenticates a client anywhere leaves; one credential, chosen before, is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aibridge.actor import Actor
from aibridge.errors import Header
from aibridge.providers.credential import Credential
from aibridge.providers.header_names import (
    NEVER_RETURNED,
    NEVER_SENT,
    NOMINATES,
    folded,
    leaving,
    returning,
)

if TYPE_CHECKING:
    from aibridge.providers.base import Provider

# Every reply of the data plane has the first, passthrough replies both: what a provider serves is not our page.
NOSNIFF: Header = (b"x-content-type-options", b"nosniff")
SANDBOX: Header = (b"content-security-policy", b"sandbox")

# What answers of all forms come as.
_SAYS_NOTHING = frozenset({b"", b"text/plain", b"application/octet-stream"})
_ADDRESS = re.compile(r"[0-9A-Za-z.:%_-]{1,64}")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def upstream_headers(
    headers: Sequence[Header],
    *,
    provider: Provider,
    credential: Credential,
    actor: Actor,
    bridged: bool,
    scope: Mapping[str, Any] | None = None,
    body_was_encoded: bool = False,
    own_identity_headers: Sequence[bytes] = (),
) -> list[Header]:
    """The headers for the provider, out of the client's.

    `scope` is the ASGI request that passthrough tells the provider about (`X-Forwarded-*`). `body_was_encoded`:
    the body came in a coding and goes out without it. `own_identity_headers` are those in which a trusted proxy
    names the user.
    """
    ways = [leaving(name) for name, _ in headers]
    go = ("leaves",) if credential.kind == "centralized" else ("leaves", "account")
    kept = [header for header, way in zip(headers, ways, strict=True) if way in go]
    unwanted = _nominated(headers) - NEVER_SENT if "nominates" in ways else set()
    unwanted.update(folded(name) for name in own_identity_headers)
    unwanted.update(folded(name.encode("ascii")) for name in provider.send_actor_headers.values())
    if body_was_encoded:
        unwanted.add(b"content-encoding")
    if unwanted:
        kept = [header for header in kept if folded(header[0]) not in unwanted]
    # Answers are read, and relayed to clients that may take no coding at all (Codex): none is asked for.
    kept.append((b"accept-encoding", b"identity"))
    if not bridged:
        kept += _forwarded(headers, kept, scope)
    if credential.header is not None:
        kept.append(credential.header)
    kept += _actor_headers(provider, actor)
    return kept


def client_headers(headers: Sequence[Header], *, length_kept: bool, passthrough: bool = False) -> list[Header]:
    """The headers for the client, out of the provider's. Names become lower case, as ASGI wants them.

    `length_kept` says that the body goes on unchanged, so that its length may be told.
    """
    names = [returning(name, length_kept) for name, _ in headers]
    kept = [(name, value) for name, (_, value) in zip(names, headers, strict=True) if name]
    unwanted = _nominated(headers) - NEVER_RETURNED if NOMINATES in names else set()
    if passthrough:
        unwanted.add(SANDBOX[0])
    if unwanted:
        kept = [header for header in kept if folded(header[0]) not in unwanted]
    kept.append(NOSNIFF)
    if passthrough:
        kept.append(SANDBOX)
    return kept


def request_ids(request_id: str) -> tuple[Header, Header]:
    """The id of an answer of ours as the SDKs show it: Anthropic's read the one header, OpenAI's the other."""
    return (b"request-id", request_id.encode("ascii")), (b"x-request-id", request_id.encode("ascii"))


def is_event_stream(headers: Sequence[Header]) -> bool | None:
    """Whether an answer's body is a stream of server-sent events. None: its type does not say."""
    kind = b""
    for name, value in headers:
        if name.lower() == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind == b"text/event-stream":
                return True
    return None if kind in _SAYS_NOTHING else False


def _nominated(headers: Sequence[Header]) -> set[bytes]:
    """What `Connection` says is for this hop only (RFC 9110 section 7.6.1)."""
    values = [value for name, value in headers if leaving(name) == "nominates"]
    return {folded(option.strip()) for value in values for option in value.split(b",")} if values else set()


def _forwarded(headers: Sequence[Header], kept: Sequence[Header], scope: Mapping[str, Any] | None) -> Iterator[Header]:
    if not any(name.lower() == b"user-agent" for name, _ in kept):
        yield b"user-agent", b"aibridge"
    if scope is None:
        return
    peer = (scope.get("client") or ("",))[0]
    if peer and _ADDRESS.fullmatch(peer):  # nothing on a Unix socket; a name of no address in tests
        before = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
        yield b"x-forwarded-for", b", ".join([*before, peer.encode("ascii")])
    yield from ((b"x-forwarded-host", value) for name, value in headers if name.lower() == b"host")
    scheme = scope.get("scheme", "http")
    if scheme in ("http", "https"):
        yield b"x-forwarded-proto", scheme.encode("ascii")


def _actor_headers(provider: Provider, actor: Actor) -> Iterator[Header]:
    for attribute, name in provider.send_actor_headers.items():
        value = _attribute(actor, attribute)
        if value:
            yield name.encode("ascii"), _as_value(value)


def _attribute(actor: Actor, attribute: str) -> str | None:
    match attribute:
        case "id":
            return actor.id
        case "username":
            return actor.username
        case "email":
            return actor.email
        case _:
            return actor.metadata.get(attribute)


def _as_value(text: str) -> bytes:
    """UTF-8 on one line: a name with a line break in it must not begin another header."""
    encoded = text.encode("utf-8", errors="replace").strip()
    return _CONTROL.sub(lambda found: b"%%%02X" % found[0][0], encoded)
