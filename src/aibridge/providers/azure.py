"""OpenAI's models on Azure: an openai provider whose addresses, key header and names of models are Azure's.

With a dated API version chat goes to `/openai/deployments/{deployment}`, the rest to `/openai`; without one everything goes
to the v1 API at `/openai/v1`. What the client calls a model is a deployment there; the record has the client's name.
Source: https://learn.microsoft.com/azure/ai-foundry/openai/reference and .../api-version-lifecycle
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Unpack

import msgspec
from msgspec import structs

from aibridge.credentials import Secret
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.reading import string_member
from aibridge.errors import InvalidRequest
from aibridge.ports import UpstreamRequest
from aibridge.providers.base import Provider, Settings, as_secrets
from aibridge.providers.openai import RULES
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_UNDATED = ("v1", "preview", "latest")
# What a deployment may be called. A name of a model that is none would lead to another address.
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CHAT = "/chat/completions"


def azure(
    *,
    base_url: str,
    name: str = "azure",
    api_version: str | None = None,
    deployments: Mapping[str, str] = MappingProxyType({}),
    key: str | Secret | None = None,
    keys: Sequence[str | Secret] = (),
    **settings: Unpack[Settings],
) -> Provider:
    """OpenAI's models on Azure.

    Args:
        base_url: the resource's endpoint, such as `https://NAME.openai.azure.com`; `/openai` or `/openai/v1` may follow.
        name: the provider's name in paths.
        api_version: a dated version for the older API; none for the v1 API, or one of its words (`preview`).
        deployments: a client's name for a model -> the deployment; a name that is not in it is a deployment's own.
        key: the central key. Without one each caller brings their own, as `api-key` or as a bearer.
        keys: up to five of them.
        settings: see `aibridge.providers.base.Settings`.

    Raises: ValueError, whose text names the setting that is wrong.
    """
    dated = api_version is not None and _DATED.fullmatch(api_version) is not None
    if api_version is not None and not dated and api_version not in _UNDATED:
        raise ValueError(
            f"api_version of provider {name!r}: a date such as 2024-10-21, or one of {', '.join(_UNDATED)}"
        )
    for model, deployment in deployments.items():
        if not model or not _DEPLOYMENT.fullmatch(deployment):
            raise ValueError(f"deployments of provider {name!r}: a deployment's name for each name that clients use")
    endpoint = base_url.rstrip("/").removesuffix("/v1").removesuffix("/openai")
    plain = Provider(
        type="openai",
        name=name,
        base_url=f"{endpoint}/openai" if dated else f"{endpoint}/openai/v1",
        keys=as_secrets(key, keys),
        key_header=b"api-key",
        rules=RULES,
        errors=CHAT_COMPLETIONS,
        **settings,
    )
    at = _Resource(plain.base_url, api_version, dict(deployments), by_deployment=dated)
    return replace(plain, addressed=at.addressed)


@dataclass(frozen=True, slots=True)
class _Resource:
    """Where requests go. `by_deployment`: chat has an address for each deployment."""

    base_url: str
    api_version: str | None
    deployments: Mapping[str, str] = field(repr=False)
    by_deployment: bool

    def addressed(self, request: UpstreamRequest, path: str) -> UpstreamRequest:
        """The request as Azure wants it. Raises: InvalidRequest for a model that no deployment can be called."""
        address, _, query = request.url.partition("?")
        body, deployment = self._renamed(request.body)
        if self.by_deployment and path == _CHAT:
            if deployment is None or not _DEPLOYMENT.fullmatch(deployment):
                raise InvalidRequest("the model is no name that a deployment can have")
            address = f"{self.base_url}/deployments/{deployment}{_CHAT}"
        # The version is the configuration's to say: what is read here depends on it.
        kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0].lower() != "api-version"]
        if self.api_version is not None:
            kept.append(f"api-version={self.api_version}")
        return structs.replace(request, url=f"{address}?{'&'.join(kept)}" if kept else address, body=body)

    def _renamed(self, body: bytes) -> tuple[bytes, str | None]:
        """The body with the deployment for its model, and its name; what has no model stays as it is.

        Raises: InvalidRequest.
        """
        try:
            found = JsonObject.parse(body, ("model",))
        except (NotAnObject, DoubledMember):
            return body, None
        model = string_member(found, "model")
        if model is None or model not in self.deployments:
            return body, model
        deployment = self.deployments[model]
        return found.with_members({"model": msgspec.json.encode(deployment)}), deployment
