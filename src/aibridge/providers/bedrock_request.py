"""A Messages request as Bedrock wants it: the model in the URL, flags in the body, what it refuses left out.

Edited by splicing: every byte that Bedrock takes stays as the client wrote it. The same request gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from aibridge.dialects.reading import body_object, decoded, mapping, reads_as_true, string_member
from aibridge.errors import Header, InvalidRequest
from aibridge.ports import UpstreamRequest
from aibridge.providers.bedrock_features import (
    ANTHROPIC_VERSION,
    BETA_FLAGS,
    BUDGET_PERCENT,
    DEFAULT_EFFORT,
    DROPPED_FIELDS,
    EFFORT,
    EFFORTS,
    FLAGGED_FIELDS,
    LEAST_BUDGET,
)
from aibridge.providers.claude_models import ClaudeModel, claude_model
from aibridge.wire.json_body import JsonObject

_SET = frozenset({"model", "stream", "anthropic_version", "anthropic_beta", "thinking", "max_tokens"})
_UNIQUE = _SET | DROPPED_FIELDS | FLAGGED_FIELDS.keys()
# They have a place in the body now. What begins with x-amz is Bedrock's own: it would have to be signed, and some of
# it changes what a request costs (`X-Amzn-Bedrock-Service-Tier`); with our key that is not the client's to choose.
_MOVED = frozenset({b"anthropic-beta", b"anthropic-version"})
_OF_AWS = b"x-amz"
_MAX_MODEL = 2048  # characters of the longest ARN that Bedrock takes


def bedrock_request(
    request: UpstreamRequest, *, base_url: str, model_of: Callable[[str], str], app_ids: Sequence[str]
) -> UpstreamRequest:
    """The request for Bedrock, not signed yet. Raises: InvalidRequest."""
    found = body_object(request.body, _UNIQUE)
    asked = string_member(found, "model") or ""
    model = model_of(asked)
    verb = "invoke-with-response-stream" if reads_as_true(found.raw("stream")) else "invoke"
    known = claude_model(model, asked)
    flags = _flags(found, request.headers, known)
    return replace(
        request,
        url=f"{base_url}/model/{quoted_model(model)}/{verb}",
        headers=_headers(request.headers, app_ids),
        body=_body(found, flags, known),
    )


def quoted_model(model: str) -> str:
    """A model's name as one part of a path, slashes of an ARN and all. Raises: InvalidRequest."""
    if len(model) > _MAX_MODEL or not model.strip("."):
        raise InvalidRequest("model: no such name")
    return quote(model, safe=":")


# -- headers -------------------------------------------------------------------------------------------


def _headers(headers: Iterable[Header], app_ids: Sequence[str]) -> list[Header]:
    kept: list[Header] = []
    for name, value in headers:
        lower = name.lower()
        if lower == b"user-agent":
            kept.append((name, _attributed(value, app_ids)))
        elif lower not in _MOVED and not lower.startswith(_OF_AWS):
            kept.append((name, value))
    names = {name.lower() for name, _ in kept}
    if b"user-agent" not in names and app_ids:
        kept.append((b"user-agent", _attributed(b"", app_ids)))
    if b"content-type" not in names:
        kept.append((b"content-type", b"application/json"))
    return kept


def _attributed(program: bytes, app_ids: Sequence[str]) -> bytes:
    """The User-Agent with our ids behind it. Others that are in it stay."""
    words = program.split()
    return b" ".join([program, *(mark for one in app_ids if (mark := one.encode("ascii")) not in words)]).strip()


# -- the body ------------------------------------------------------------------------------------------


def _flags(found: JsonObject, headers: Iterable[Header], model: ClaudeModel | None) -> list[str]:
    """The beta flags that this model takes, in their order, without doubles."""
    said = decoded(found.raw("anthropic_beta"))
    flags = [flag for flag in said if isinstance(flag, str)] if isinstance(said, list) else []
    for name, value in headers:
        if name.lower() == b"anthropic-beta":
            flags += (flag.strip() for flag in value.decode("latin-1").split(","))
    return [flag for flag in dict.fromkeys(flags) if _is_taken(flag, model)]


def _is_taken(flag: str, model: ClaudeModel | None) -> bool:
    models = BETA_FLAGS.get(flag)
    return models is not None and (not models or (model is not None and model.label in models))


def _body(found: JsonObject, flags: Sequence[str], model: ClaudeModel | None) -> bytes:
    dropped = {"model", "stream", *DROPPED_FIELDS}
    changed = {"anthropic_version": msgspec.json.encode(ANTHROPIC_VERSION)}
    if flags:
        changed["anthropic_beta"] = msgspec.json.encode(flags)
    else:
        dropped.add("anthropic_beta")
    output = mapping(decoded(found.raw("output_config")))
    thinking = _thinking(found, model, output.get("effort"))
    if thinking is not None:
        changed["thinking"] = thinking
    dropped.update(field for field, flag in FLAGGED_FIELDS.items() if flag not in flags)
    effort = _effort(output, flags, model)
    if effort is not None:
        changed["output_config"] = msgspec.json.encode({"effort": effort})
        dropped.discard("output_config")
    return JsonObject.parse(found.without(*dropped)).with_members(changed)


def _effort(output: dict[str, Any], flags: Sequence[str], model: ClaudeModel | None) -> str | None:
    """What `output_config` is replaced by: an effort that the model takes; None: it stays, or goes."""
    effort = output.get("effort")
    if not isinstance(effort, str) or model is None:
        return None
    if model.takes_adaptive_thinking:
        return effort
    return EFFORTS[-1] if EFFORT in flags and effort in BUDGET_PERCENT and effort not in EFFORTS else None


def _thinking(found: JsonObject, model: ClaudeModel | None, effort: object) -> bytes | None:
    """What `thinking` is replaced by where the model does not take it as it is; None: it stays."""
    raw = found.raw("thinking")
    kind = mapping(decoded(raw)).get("type")
    if raw is None or model is None:
        return None
    if kind == "adaptive" and not model.takes_adaptive_thinking:
        return _with_budget(decoded(found.raw("max_tokens")), effort)
    if kind == "enabled" and model.wants_adaptive_thinking:
        asked = JsonObject.parse(JsonObject.parse(raw).without("budget_tokens"))
        return asked.with_members({"type": b'"adaptive"'})
    return None


def _with_budget(max_tokens: object, effort: object) -> bytes | None:
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int):
        return None  # Bedrock says what is wrong with it
    percent = BUDGET_PERCENT.get(effort if isinstance(effort, str) else DEFAULT_EFFORT, BUDGET_PERCENT[DEFAULT_EFFORT])
    budget = max_tokens * percent // 100
    if budget < LEAST_BUDGET:
        return b'{"type":"disabled"}'
    return msgspec.json.encode({"type": "enabled", "budget_tokens": budget})
