"""Tries a provider with one cheap real call for each of its keys, and says in words what came of it.

The call is a list of models, which costs nothing. Where there is no such list, or a model is named, it is a message
with the shortest answer. It goes out as a request of the gateway's would; nothing is recorded, and nothing of an answer is shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from aibridge.actor import Actor
from aibridge.asking import Asking, Question
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.messages import MESSAGES
from aibridge.errors import Refused, UpstreamFailure
from aibridge.ports import Identity, Purpose, Upstream, UpstreamResponse
from aibridge.providers import Provider
from aibridge.providers.base import RouteRule
from aibridge.providers.credential import Credential, central_credential
from aibridge.retry import told_to_wait
from aibridge.routes import Route
from aibridge.server.config import Configuration
from aibridge.server.configured_providers import configured_providers
from aibridge.server.persons import NotPossible
from aibridge.upstream import HttpUpstream

DEADLINE = 30.0
"""Seconds for each call: a person waits."""
_MOST = 4 * 1024 * 1024  # bytes of a list of models that are read; the longest are some hundred kilobytes
_SHORT = 16  # tokens; models that think refuse less
_ASKING = Actor(id="aibridge-providers-test", username="aibridge")
# Anthropic's API refuses requests without a version.
_HEADERS = ((b"anthropic-version", b"2023-06-01"), (b"user-agent", b"aibridge"))
_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Trial:
    """What one call showed. `key` is the mask of the credential; None: there was none to send."""

    key: str | None
    works: bool
    words: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Call:
    route: Route
    method: str
    body: bytes
    model: str | None


async def try_configured(configuration: Configuration, name: str, *, model: str | None = None) -> list[Trial]:
    """The trials of a configured provider. Raises: NotPossible, Wrong."""
    configured = {provider.name: provider for provider in configured_providers(configuration)}
    provider = configured.get(name)
    if provider is None:
        raise NotPossible(f"there is no provider {name}: there are {', '.join(configured)}")
    if not provider.enabled:
        raise NotPossible(f"provider {name} is switched off")
    upstream = HttpUpstream()
    try:
        return await trials(provider, upstream, model=model)
    finally:
        await upstream.close()


async def trials(provider: Provider, upstream: Upstream, *, model: str | None = None) -> list[Trial]:
    """One for each key. Raises: NotPossible."""
    call = _message(provider, model) if model is not None or _models_rule(provider) is None else _listing(provider)
    return [await _trial(call, upstream, credential) for credential in _credentials(provider)]


def _credentials(provider: Provider) -> Iterator[Credential]:
    if provider.platform is not None:
        yield Credential("centralized", provider.platform.credentials.hint, None)
    elif not provider.keys:
        yield Credential("byok", "", None)
    for key in provider.keys:
        yield central_credential(provider, key)


# -- the call ------------------------------------------------------------------------------------------


def _models_rule(provider: Provider) -> RouteRule | None:
    """The list of models at the provider itself: a platform's is made here, and says nothing of it."""
    return next((rule for rule in provider.rules if rule.path.endswith("/models") and rule.adaptation is None), None)


def _listing(provider: Provider) -> _Call:
    rule = _models_rule(provider)
    assert rule is not None
    return _Call(Route(provider, rule, rule.upstream_path), "GET", b"", None)


def _message(provider: Provider, model: str | None) -> _Call:
    if model is None:
        model = next(iter(provider.platform.models), None) if provider.platform is not None else None
    if model is None:
        raise NotPossible(f"provider {provider.name} has no list of models: name one with --model")
    said = [{"role": "user", "content": "Hi"}]
    bodies: dict[object, dict[str, object]] = {
        MESSAGES: {"model": model, "max_tokens": 1, "messages": said},
        CHAT_COMPLETIONS: {"model": model, "max_completion_tokens": _SHORT, "messages": said},
    }
    rule = next(rule for rule in provider.rules if rule.dialect in bodies)
    route = Route(provider, rule, rule.upstream_path)
    return _Call(route, "POST", msgspec.json.encode(bodies[rule.dialect]), model)


# -- what comes of it ----------------------------------------------------------------------------------


async def _trial(call: _Call, upstream: Upstream, credential: Credential) -> Trial:
    provider = call.route.provider
    question = Question(
        route=call.route,
        identity=Identity(_ASKING, (*_HEADERS, _JSON) if call.body else _HEADERS, b""),
        method=call.method,
        purpose=Purpose(provider.name, call.model),
    )
    asking = Asking(upstream, question, credential)
    began = time.monotonic()
    try:
        async with asyncio.timeout(DEADLINE), asking.turn(call.body) as response:
            works, words = await _told(response, credential, call)
    except TimeoutError:
        works, words = False, f"no answer within {DEADLINE:g} s"
    except UpstreamFailure as error:
        works, words = False, str(error)
    except Refused as refused:
        works, words = False, refused.problem.message
    return Trial(asking.credential.hint or None, works, words, time.monotonic() - began)


async def _told(response: UpstreamResponse, credential: Credential, call: _Call) -> tuple[bool, str]:
    status, said = response.status, f"HTTP {response.status}"
    if status in (400, 401, 403) and credential.kind == "byok":
        return True, "answers; it has no key here, each caller brings their own"
    match status:
        case 401 | 403:
            return False, f"refuses the key ({said})"
        case 404 if call.model is not None:
            return False, f"does not know the model {call.model}, or the address is wrong ({said})"
        case 404:
            return False, f"has no list of models at this address ({said}): is base_url right? else name a --model"
        case 429:
            wait = _waiting(response)
            return False, f"limits the key{wait} ({said})"
        case _ if 300 <= status < 400:
            return False, f"leads elsewhere, which is not followed ({said}): is base_url right?"
        case 502 if call.route.provider.platform is not None:
            return False, "refuses the credentials, or what they may do (a message through the gateway says why)"
        case _ if status >= 500:
            return False, f"is in trouble ({said})"
        case _ if status >= 400:
            return False, f"refuses the request ({said})"
    if call.model is not None:
        return True, f"answers as {call.model}"
    return await _listed(response)


def _waiting(response: UpstreamResponse) -> str:
    seconds = told_to_wait(response.headers, datetime.now(UTC))
    return "" if seconds is None else f" for another {seconds:.0f} s"


async def _listed(response: UpstreamResponse) -> tuple[bool, str]:
    read = bytearray()
    while len(read) < _MOST and (chunk := await response.read()):
        read += chunk
    try:
        found = msgspec.json.decode(bytes(read))
    except msgspec.DecodeError:
        return False, "answers with something that is no list of models: is base_url right?"
    listed: Sequence[object] | None = found.get("data") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        return False, "answers with something that is no list of models: is base_url right?"
    more = " or more" if isinstance(found, dict) and found.get("has_more") else ""
    return True, f"answers, with {len(listed)}{more} models"
