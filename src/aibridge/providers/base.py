"""What a provider is: one configured upstream, as a value. Checked when it is made, so that a request never finds out.

No I/O: rules for URLs and headers only. A new provider is a file beside this one and a line in the registry.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypedDict
from urllib.parse import urlsplit

from aibridge.credentials import Secret
from aibridge.dialects.base import Dialect
from aibridge.link import Link
from aibridge.model_names import ModelMap
from aibridge.ports import UpstreamRequest
from aibridge.providers.header_names import FORWARDED, NEVER_SENT, folded
from aibridge.providers.platform import Platform

if TYPE_CHECKING:  # a value that is handed in; siblings do not know each other at run time
    from aibridge.breaker import BreakerSettings

MAX_KEYS = 5
"""Central keys of one provider: each costs a request that finds it limited one more way to the provider."""
MAX_RETRIES = 10

ProviderType = Literal["anthropic", "openai", "copilot"]
UpstreamUser = Literal["id", "username", "email", "hash", "off"]
# The one rule of ours that a passthrough route has; how each is kept is told in `adapted.py`.
Adaptation = Literal[
    "count_tokens",  # messages: counts the injected tools too
    "input_tokens",  # responses: the same
    "stored_response",  # the first part below the path is a response's id; it has an owner
    "conversations",  # makes a conversation; its id gets an owner
    "conversation",  # the first part below the path is a conversation's id; it has an owner
    "configured_models",  # the models that the configuration names, or one of them; the provider is not asked
    "not_there",  # the platform has no such thing; clients are told so at once
]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TEMPLATE = re.compile(r"(/[a-z0-9._-]+)+(/\*)?")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
# Names that an actor header must not take: the client says these, or the way out does.
_MEANT_OTHERWISE = (FORWARDED, b"anthropic-", b"content-", b"openai-", b"user-agent", b"x-stainless-")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One row of a provider's table. With a dialect it is bridged, else passed through.

    `path` is below the provider's name; a last `/*` stands for one or more parts (see `routes.py`).
    `upstream_path` is the same below the base URL. `deeper_methods` are taken only by what lies below an id,
    such as `POST /v1/responses/{id}/cancel`: a bare `POST /v1/responses/{word}` would reach, unread, whatever
    operation the provider adds under that name next.
    """

    path: str
    methods: frozenset[str]
    upstream_path: str = ""
    dialect: Dialect | None = None
    deeper_methods: frozenset[str] = frozenset()
    adaptation: Adaptation | None = None

    def __post_init__(self) -> None:
        if not self.upstream_path:
            object.__setattr__(self, "upstream_path", self.path)
        for path in (self.path, self.upstream_path):
            if not _TEMPLATE.fullmatch(path) or path.endswith("/*") is not self.open_ended:
                raise ValueError(f"{path!r} is no path of a route")
        if self.dialect is not None and (self.open_ended or self.adaptation is not None):
            raise ValueError(f"{self.path!r}: a bridged route is one exact path")

    @property
    def open_ended(self) -> bool:
        return self.path.endswith("/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One upstream. Durations are in seconds.

    Raises: ValueError, whose text says which setting is wrong and what is allowed.
    """

    type: ProviderType
    name: str
    base_url: str  # kept without a slash at its end
    rules: tuple[RouteRule, ...] = field(repr=False)
    errors: Dialect = field(repr=False)  # whose words a refusal has where no dialect is known
    keys: tuple[Secret, ...] = ()  # the central ones; the first that is usable serves
    max_retries: int = 0
    """How often a request that failed is asked again, before the first byte of an answer. Clients retry themselves."""
    circuit_breaker: BreakerSettings | None = None  # none: it is off
    upstream_user: UpstreamUser = "id"
    send_actor_headers: Mapping[str, str] = field(default_factory=dict)  # attribute of the actor -> header
    allow_byok: bool = True
    enabled: bool = True
    ask_usage: bool = True  # let chat streams report usage although the client did not ask
    offer_tools: bool = True  # requests may carry injected tools
    attributed: bool = True  # the provider takes an identifier of the person in the body
    platform: Platform | None = field(default=None, repr=False)  # the cloud that serves it in its own way
    key_header: bytes = b"authorization"  # which a key is sent in; a caller's own may come in it, or as a bearer
    addressed: Callable[[UpstreamRequest, str], UpstreamRequest] | None = field(default=None, repr=False)
    """A request for a path of the provider's API as these servers want it, where they have other addresses."""
    connect_timeout: float = 10.0
    first_byte_timeout: float = 120.0
    blocking_first_byte_timeout: float = 600.0  # a whole answer is written before its first byte
    stall_timeout: float = 600.0
    link: Link | None = None  # how it is reached; None: straight, trusting the system's authorities
    aliases: Mapping[str, str] = field(default_factory=dict)
    """What clients ask for, a name or a pattern with `*`, and what the provider is asked in its place."""
    fallback: str | None = None
    """The name of the provider that is asked, once, where this one could not be, or failed, before its first byte."""
    _models: ModelMap | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"provider name {self.name!r}: lower-case letters, digits and single hyphens between them")
        object.__setattr__(self, "base_url", _checked_url(self.base_url, self.name))
        object.__setattr__(self, "send_actor_headers", _checked_actor_headers(self.send_actor_headers, self.name))
        self._check_keys()
        if not 0 <= self.max_retries <= MAX_RETRIES:
            raise ValueError(f"max_retries of provider {self.name!r}: a number from 0 to {MAX_RETRIES}")
        if self.upstream_user not in ("id", "username", "email", "hash", "off"):
            raise ValueError(f"upstream_user of provider {self.name!r}: one of id, username, email, hash, off")
        if self.aliases:
            if self.platform is not None:
                raise ValueError(f"aliases of provider {self.name!r}: are said of its platform")
            try:
                object.__setattr__(self, "_models", ModelMap(self.aliases))
            except ValueError as error:
                raise ValueError(f"aliases of provider {self.name!r}: {error}") from None
        for setting in ("connect_timeout", "first_byte_timeout", "blocking_first_byte_timeout", "stall_timeout"):
            seconds = getattr(self, setting)
            if not (seconds > 0 and math.isfinite(seconds)):
                raise ValueError(f"{setting} of provider {self.name!r}: a number of seconds above 0")

    def model_of(self, asked: str) -> str:
        """The model that is asked, and recorded, for the one that a client names."""
        if self._models is not None:
            return self._models.model_of(asked)
        return asked if self.platform is None else self.platform.model_of(asked)

    @property
    def key(self) -> Secret | None:
        """The central key, or the first of them."""
        return self.keys[0] if self.keys else None

    @property
    def central(self) -> bool:
        """It is asked in the gateway's own name, where a caller brings no credential."""
        return bool(self.keys) or self.platform is not None

    def fallback_among(self, providers: Mapping[str, Provider]) -> Provider | None:
        """The provider that is asked in this one's place; None where there is none, or one of both is switched off.

        A request is made for one provider and sent to the other as it is, but for the model's name: what differs beside
        that must not matter to it. Raises: ValueError, for one that cannot be.
        """
        if self.fallback is None:
            return None
        if self.fallback == self.name:
            raise self._wrong_fallback("must be another provider")
        other = providers.get(self.fallback)
        if other is None:
            raise self._wrong_fallback("there is no provider of this name")
        if other.type != self.type:
            raise self._wrong_fallback(f"must be of type {self.type}, nothing is translated")
        if other.fallback is not None:
            raise self._wrong_fallback("must have no fallback of its own")
        for setting in ("upstream_user", "offer_tools", "ask_usage"):
            if getattr(other, setting) != getattr(self, setting):
                raise self._wrong_fallback(f"must have the same {setting}")
        if other.attributed and not self.attributed and self.upstream_user != "off":
            raise self._wrong_fallback("takes the name of who asks, which this provider's requests do not hold")
        if not (self.enabled and other.enabled):
            return None
        if not (self.central and other.central):
            raise self._wrong_fallback("both must have keys, callers' own credentials are sent to no other provider")
        return other

    def _wrong_fallback(self, why: str) -> ValueError:
        return ValueError(f"fallback {self.fallback!r} of provider {self.name!r}: {why}")

    @property
    def plain(self) -> bool:
        """A request goes out once, with the one key: nothing is remembered of the requests before."""
        return len(self.keys) < 2 and not self.max_retries and self.circuit_breaker is None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be found nowhere else: in no answer, no log line, no dump."""
        keys = tuple(key.reveal() for key in self.keys)
        of_link = () if self.link is None else self.link.secrets
        of_platform = () if self.platform is None else self.platform.credentials.secrets
        return (*keys, *of_link, *of_platform)

    def _check_keys(self) -> None:
        if len(self.keys) > MAX_KEYS:
            raise ValueError(f"keys of provider {self.name!r}: at most {MAX_KEYS}")
        if len(set(self.keys)) < len(self.keys):
            raise ValueError(f"keys of provider {self.name!r}: one is there twice")
        for key in self.keys:
            if not _PRINTABLE.fullmatch(key.reveal()):
                what = "key" if len(self.keys) == 1 else "keys"
                message = f"{what} of provider {self.name!r}: must be printable ASCII without spaces, and not empty"
                raise ValueError(message)


class Settings(TypedDict, total=False):
    """What every type of provider can be told besides its name, address and key (see `Provider`)."""

    max_retries: int
    circuit_breaker: BreakerSettings | None
    upstream_user: UpstreamUser
    send_actor_headers: Mapping[str, str]
    allow_byok: bool
    enabled: bool
    ask_usage: bool
    offer_tools: bool
    connect_timeout: float
    first_byte_timeout: float
    blocking_first_byte_timeout: float
    stall_timeout: float
    link: Link | None
    aliases: Mapping[str, str]
    fallback: str | None


def as_secrets(key: str | Secret | None, keys: Sequence[str | Secret]) -> tuple[Secret, ...]:
    """The keys that a factory was given, as one or as several. Raises: ValueError, for both."""
    if key is not None and keys:
        raise ValueError("give one key as key=, several as keys=, and not both")
    given = keys if key is None else (key,)
    return tuple(Secret(one) if isinstance(one, str) else one for one in given)


def _checked_url(url: str, name: str) -> str:
    """The URL without slashes at its end. A path in it is kept: that is where OpenAI's version lives."""

    def refused(why: str) -> ValueError:
        # The URL itself is not shown: somebody may have put a password in it.
        return ValueError(f"base_url of provider {name!r}: {why}")

    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise refused("must be printable ASCII without spaces or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise refused("must be http://HOST... or https://HOST...")
    if "@" in parts.netloc:
        raise refused("must not hold a user or a password")
    if "?" in url or "#" in url:
        raise refused("must not have a query or a fragment")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        raise refused("must not have . or .. in its path")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _checked_actor_headers(headers: Mapping[str, str], name: str) -> Mapping[str, str]:
    for attribute, header in headers.items():
        try:
            raw = header.encode("ascii")
        except UnicodeEncodeError:
            raw = b""
        if not attribute or not _TOKEN.fullmatch(raw):
            raise ValueError(f"send_actor_headers of provider {name!r}: {attribute!r} needs the name of a header")
        known = folded(raw)
        if known in NEVER_SENT or known.startswith(_MEANT_OTHERWISE):
            raise ValueError(f"send_actor_headers of provider {name!r}: {header!r} has another meaning")
    return MappingProxyType(dict(headers))
