"""Allowlisted routes, proxied unread: whoever may use the gateway may list models and count tokens.

The provider's answer is relayed as it comes. Routes with a rule of ours call it before and after (see `adapted.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from aibridge.adapted import checked, completed, counts, creates, followed, owned
from aibridge.asking import Asking, ProviderStates, Question
from aibridge.configured_models import answer_of_ours
from aibridge.credentials import Scrubber
from aibridge.errors import AnswerBroken, Header, KeysExhausted, Problem, Refused, UpstreamFailure, UpstreamStalled
from aibridge.offers import Offering
from aibridge.ports import ConversationStore, Identity, Purpose, Upstream, UpstreamResponse
from aibridge.providers.credential import Credential, choose_credential
from aibridge.providers.headers import NOSNIFF, SANDBOX, client_headers
from aibridge.reply_writer import ReplyWriter
from aibridge.routes import Route

MAX_ERROR_BODY = 1024 * 1024
MAX_READ_BODY = 1024 * 1024
"""The largest answer that is read to learn what it created, in bytes."""


@dataclass(frozen=True, slots=True)
class PassthroughRequest:
    """One request on a passthrough route, read and authenticated."""

    route: Route
    method: str
    identity: Identity
    body: bytes
    scope: Mapping[str, Any]
    body_was_encoded: bool = False


async def pass_through(
    asked: PassthroughRequest,
    writer: ReplyWriter,
    *,
    upstream: Upstream,
    offering: Offering,
    scrubber: Scrubber,
    states: ProviderStates | None = None,
) -> None:
    """Relays one request. Raises Refused before the answer has begun, AnswerBroken after."""
    if (own := answer_of_ours(asked.route)) is not None:
        await writer.answer(200, [(b"content-type", b"application/json"), NOSNIFF, SANDBOX], own)
        return
    provider, conversations = asked.route.provider, offering.conversations
    credential = choose_credential(provider, asked.identity.headers)
    if credential.kind == "centralized":
        await checked(asked.route, asked.body, asked.identity.actor, conversations)
    route, body = await followed(asked.route, asked.identity.actor, conversations), asked.body
    if counts(route):
        body = await completed(route, body, asked.identity, offering)
    question = Question(
        route=route,
        identity=asked.identity,
        method=asked.method,
        purpose=Purpose(provider.name),
        body_was_encoded=asked.body_was_encoded,
        scope=asked.scope,
    )
    asking = Asking(upstream, question, credential, states)
    try:
        async with asking.turn(body) as response:
            await _answer(asked, response, writer, asking.credential, conversations, scrubber)
    except UpstreamFailure as error:
        if writer.status is not None:
            raise AnswerBroken(str(error)) from None
        if isinstance(error, KeysExhausted):
            raise Refused(error.problem) from None
        raise Refused(Problem(504 if isinstance(error, UpstreamStalled) else 502, str(error))) from None


async def _answer(
    asked: PassthroughRequest,
    response: UpstreamResponse,
    writer: ReplyWriter,
    credential: Credential,
    conversations: ConversationStore,
    scrubber: Scrubber,
) -> None:
    status = response.status
    central = credential.kind == "centralized"
    if 300 <= status < 400 and status != 304:
        raise Refused(Problem(502, f"the provider answered with a redirect ({status}), which is not followed"))
    if central and status in (401, 403):
        raise Refused(Problem(502, f"the provider refused the gateway's own credential (HTTP {status})"))
    if status >= 400 and asked.method != "HEAD":  # whose answer tells the length of a body that does not come
        body = scrubber.scrub(await _read(response, MAX_ERROR_BODY, whole=False), *credential.secrets)
        await writer.answer(status, _headers(response, length_kept=False), body)
    elif central and creates(asked.route, asked.method):
        # The client may see a new id only once it has an owner.
        body = await _read(response, MAX_READ_BODY + 1)
        if len(body) > MAX_READ_BODY:
            raise Refused(Problem(502, "the provider's answer is larger than expected"))
        await owned(asked.route, body, asked.identity.actor, conversations)
        await writer.answer(status, _headers(response, length_kept=False), body)
    else:
        await writer.start(status, _headers(response, length_kept=True))
        while chunk := await response.read():
            await writer.send(chunk)
        await writer.end()


def _headers(response: UpstreamResponse, *, length_kept: bool) -> list[Header]:
    return client_headers(response.headers, length_kept=length_kept, passthrough=True)


async def _read(response: UpstreamResponse, limit: int, *, whole: bool = True) -> bytes:
    """The body, as far as the limit goes; where it need not be `whole`, what came of one that breaks off."""
    body = bytearray()
    with nullcontext() if whole else suppress(UpstreamFailure):
        while len(body) < limit and (chunk := await response.read()):
            body += chunk
    return bytes(body[:limit])
