"""An anthropic provider that is served by a cloud: what it is whichever cloud that is.

Nobody brings a key of their own. Which models there are is the configuration's to say, so the cloud is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aibridge.dialects.messages import MESSAGES
from aibridge.providers.base import Adaptation, Provider, RouteRule, Settings
from aibridge.providers.platform import Platform

COUNTING = "/v1/messages/count_tokens"
_READ = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})


def claude_provider(
    platform: Platform, settings: Settings, *, name: str, base_url: str, counting: Adaptation, attributed: bool = True
) -> Provider:
    """The provider that `platform` serves. `counting` is what becomes of counts of tokens. Raises: ValueError."""
    own: Settings = {**settings, "allow_byok": False}
    return Provider(
        type="anthropic",
        name=name,
        base_url=base_url,
        rules=(
            RouteRule(path="/v1/messages", methods=_POST, dialect=MESSAGES),
            RouteRule(path=COUNTING, methods=_POST, adaptation=counting),
            RouteRule(path="/v1/models", methods=_READ, adaptation="configured_models"),
            RouteRule(path="/v1/models/*", methods=_READ, adaptation="configured_models"),
            RouteRule(path="/api/event_logging/*", methods=_POST, adaptation="not_there"),
        ),
        errors=MESSAGES,
        key_header=b"x-api-key",  # where a caller's own, which is refused, would be
        attributed=attributed,
        platform=platform,
        **own,
    )


@dataclass(frozen=True, slots=True)
class ConfiguredModels:
    """What the configuration says of models: names of clients' in `models`, then one or two in place of all others."""

    models: Mapping[str, str]
    model: str | None
    small_fast_model: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", dict(self.models))

    @property
    def names(self) -> tuple[str, ...]:
        """Those that clients may use."""
        return tuple(dict.fromkeys([*self.models, *filter(None, (self.model, self.small_fast_model))]))

    def model_of(self, asked: str, otherwise: Callable[[str], str] = str) -> str:
        """The model that is asked for the one that a client names; of what nothing is said, `otherwise` says it."""
        mapped = self.models.get(asked)
        if mapped is not None:
            return mapped
        small = self.small_fast_model if "haiku" in asked.lower() else None
        return small or self.model or otherwise(asked)
