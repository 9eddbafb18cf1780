"""Claude on Google Cloud: an anthropic provider whose requests go to Vertex AI, with an access token of the organisation's.

Nobody brings a key of their own. The rest is Anthropic's API: the model is in the URL, and its version in the body.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Unpack
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.reading import body_object, decoded, mapping, reads_as_true, string_member, text
from aibridge.errors import Header, InvalidRequest, Problem
from aibridge.ports import CredentialSource, UpstreamRequest
from aibridge.providers.base import Provider, Settings
from aibridge.providers.claude_models import claude_model
from aibridge.providers.claude_platform import COUNTING, ConfiguredModels, claude_provider
from aibridge.providers.platform import Incoming, Platform
from aibridge.providers.vertex_features import ANTHROPIC_VERSION, BETA_FLAGS, HOSTS
from aibridge.wire.json_body import JsonObject

_REGION = re.compile(r"[a-z]+(?:-[a-z]+[0-9]+)?")
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9-]{1,63}")
_DATED = re.compile(r"(claude-.+)-(\d{8})")
_UNIQUE = frozenset({"model", "stream", "anthropic_version", "output_config"})
_MAX_MODEL = 256  # characters; the longest names are some forty
_MOVED = frozenset({b"anthropic-beta", b"anthropic-version"})
_LONGEST_REASON = 300  # characters of what Google says to a refused credential


def vertex(
    *,
    credentials: CredentialSource,
    project: str,
    region: str,
    name: str = "vertex",
    base_url: str | None = None,
    model: str | None = None,
    small_fast_model: str | None = None,
    models: Mapping[str, str] = MappingProxyType({}),
    **settings: Unpack[Settings],
) -> Provider:
    """Claude on Vertex AI.

    Args:
        credentials: bring the access tokens (`aibridge.google_cloud.GoogleCredentials`).
        project: the Google Cloud project that is billed.
        region: a region such as `us-east5`, or `global`, `us`, `eu`.
        name: the provider's name in paths.
        base_url: another address than the region's own, with the version (`https://.../v1`).
        model: the model that is asked in place of whatever a client names.
        small_fast_model: the same for names with `haiku` in them.
        models: a client's name for a model -> the model that is asked; looked at first. Without any of these
            Anthropic's names are taken, and `claude-...-20250929` becomes `claude-...@20250929`.
        settings: see `aibridge.providers.base.Settings`; `allow_byok` has nothing to say here.

    Raises: ValueError, whose text names the setting that is wrong.
    """
    if not _PROJECT.fullmatch(project):
        raise ValueError(f"project of provider {name!r}: the id of a Google Cloud project")
    if not _REGION.fullmatch(region):
        raise ValueError(f"region of provider {name!r}: a region such as us-east5, or global, us, eu")
    address = base_url or f"https://{HOSTS.get(region) or f'{region}-aiplatform.googleapis.com'}/v1"
    place = f"{address.rstrip('/')}/projects/{project}/locations/{region}/publishers/anthropic/models"
    configured = ConfiguredModels(models, model, small_fast_model)
    model_of = partial(configured.model_of, otherwise=_undated)
    platform = Platform(
        name="vertex",
        credentials=credentials,
        model_of=model_of,
        outgoing=partial(_outgoing, place, model_of),
        incoming=_incoming,
        models=configured.names,
    )
    return claude_provider(platform, settings, name=name, base_url=address, counting="count_tokens")


def _undated(asked: str) -> str:
    """Anthropic's name of a model as Google has it."""
    dated = _DATED.fullmatch(asked)
    return f"{dated[1]}@{dated[2]}" if dated is not None else asked


# -- requests ------------------------------------------------------------------------------------------


def _outgoing(place: str, model_of: Callable[[str], str], request: UpstreamRequest, path: str) -> UpstreamRequest:
    """Raises: InvalidRequest."""
    found = body_object(request.body, _UNIQUE)
    model = model_of(string_member(found, "model") or "")
    if len(model) > _MAX_MODEL or not model.strip("."):
        raise InvalidRequest("model: no such name")
    return (_counting if path == COUNTING else _asking)(request, found, place, model)


def _asking(request: UpstreamRequest, found: JsonObject, place: str, model: str) -> UpstreamRequest:
    """A message."""
    verb = "streamRawPredict" if reads_as_true(found.raw("stream")) else "rawPredict"
    known = claude_model(model)
    # Its flag is not taken here; from the models with adaptive thinking on it needs none.
    efforts = known is None or known.takes_adaptive_thinking
    kept = JsonObject.parse(found.without("model", *(() if efforts else ("output_config",))))
    return replace(
        request,
        url=f"{place}/{quote(model, safe='@')}:{verb}",
        headers=_headers(request.headers, BETA_FLAGS),
        body=kept.with_members({"anthropic_version": msgspec.json.encode(ANTHROPIC_VERSION)}),
    )


def _counting(request: UpstreamRequest, found: JsonObject, place: str, model: str) -> UpstreamRequest:
    """A count of tokens, whose model stays in the body."""
    said = {"model": msgspec.json.encode(model), "anthropic_version": msgspec.json.encode(ANTHROPIC_VERSION)}
    return replace(
        request,
        url=f"{place}/count-tokens:rawPredict",
        headers=_headers(request.headers, frozenset()),
        body=found.with_members(said),
    )


def _headers(headers: Iterable[Header], taken: frozenset[str]) -> list[Header]:
    kept: list[Header] = []
    flags: dict[str, None] = {}
    for name, value in headers:
        lower = name.lower()
        if lower == b"anthropic-beta":
            flags.update(dict.fromkeys(flag.strip() for flag in value.decode("latin-1").split(",")))
        elif lower not in _MOVED and not lower.startswith(b"x-goog-"):  # whose project pays is not the client's to say
            kept.append((name, value))
    known = ",".join(flag for flag in flags if flag in taken)
    if known:
        kept.append((b"anthropic-beta", known.encode("ascii")))
    if not any(name.lower() == b"content-type" for name, _ in kept):
        kept.append((b"content-type", b"application/json"))
    return kept


# -- answers -------------------------------------------------------------------------------------------


def _incoming(status: int, headers: Sequence[Header]) -> Incoming:
    """Answers pass as they are: they are Anthropic's. Errors of Google's own get Anthropic's shape."""
    if status < 400:
        return Incoming(status, headers)
    told = 502 if status in (401, 403) else status
    kept = [header for header in headers if header[0].lower() not in (b"content-type", b"content-length")]
    kept.append((b"content-type", b"application/json"))
    if told == 502:
        kept.append((b"x-should-retry", b"false"))
    return Incoming(told, kept, whole=partial(_error_body, told))


def _error_body(status: int, body: bytes) -> bytes:
    said = decoded(body)
    if isinstance(said, list) and said:  # where a stream was asked for
        said = said[0]
    found = mapping(said)
    if found.get("type") == "error" and status != 502:
        return body
    message = text(mapping(found.get("error")).get("message")) or f"Vertex AI answered without saying why ({status})"
    if status == 502:
        message = f"Google refused the gateway's own credential: {message[:_LONGEST_REASON]}"
    return MESSAGES.error_body(Problem(status, message), None)
