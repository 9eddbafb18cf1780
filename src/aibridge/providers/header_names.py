"""Names of headers by what they are for. Lower case, with `-` where a client wrote `_` (see `folded`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

_REMEMBERED = 1024  # names; clients and providers use the same few hundred, and one that floods only slows itself
Leaving = Literal["stays", "leaves", "account", "nominates"]

# RFC 9110 section 7.6.1, with those of RFC 2616 that are still met. `Expect` is one too for us: our server has
# answered it, and the body is sent whole.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Who somebody is, to anybody. The one credential for the provider is added afterwards.
CREDENTIALS = frozenset(
    {b"api-key", b"authorization", b"coder-session-token", b"cookie", b"x-api-key", b"x-goog-api-key"}
)
# Said anew for the way out: `Host` and framing by whoever sends, the rest by `upstream_headers`.
SAID_ANEW = frozenset({b"accept-encoding", b"content-length", b"forwarded", b"host"})
FORWARDED = b"x-forwarded-"
# What only we say. A client that says it is not believed.
OURS = (b"x-aibridge-", b"x-ai-bridge-", b"x-coder-")
# What a client's request never carries to a provider.
NEVER_SENT = HOP_BY_HOP | CREDENTIALS | SAID_ANEW
NEVER_SENT_STARTS = (*OURS, FORWARDED)
# They name the account that is billed; with our key that is not the client's to choose.
ACCOUNT = frozenset({b"openai-organization", b"openai-project"})

# What an answer never carries to a client: framing, what would act on the gateway's own origin or lead away from it,
# and what we say ourselves.
NEVER_RETURNED = HOP_BY_HOP | {
    b"alt-svc",
    b"clear-site-data",
    b"location",
    b"service-worker-allowed",
    b"set-cookie",
    b"set-cookie2",
    b"x-content-type-options",
}
NEVER_RETURNED_STARTS = (b"access-control-", b"x-aibridge-")


@lru_cache(_REMEMBERED)
def leaving(name: bytes) -> Leaving:
    """What becomes of a client's header on the way out: it `stays` here, `leaves`, leaves unless the key is ours
    (`account`), or stays and `nominates` others (`Connection`).
    """
    name = folded(name)
    if name == b"connection":
        return "nominates"
    if name in NEVER_SENT or name.startswith(NEVER_SENT_STARTS):
        return "stays"
    return "account" if name in ACCOUNT else "leaves"


NOMINATES = b""


@lru_cache(_REMEMBERED)
def returning(name: bytes, length_kept: bool) -> bytes | None:
    """The name of a provider's header as the client gets it, in lower case; None for one that it does not get, which
    the length is unless it is `length_kept`; NOMINATES for `Connection`, which it does not get either.
    """
    read_as = folded(name)
    if read_as == b"connection":
        return NOMINATES
    if read_as in NEVER_RETURNED or read_as.startswith(NEVER_RETURNED_STARTS):
        return None
    return name.lower() if length_kept or read_as != b"content-length" else None


def folded(name: bytes) -> bytes:
    """The name as a provider's server may read it: CGI-like ones take `_` for `-`."""
    name = name.lower()
    return name.replace(b"_", b"-") if b"_" in name else name
