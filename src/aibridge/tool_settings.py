"""What a bridge is told about tools: how far an inner loop may go, and what people's own clients may bring. A value.

Checked when it is made, so that a request never finds out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from aibridge.actor import Actor

Allowance = Literal["allow", "deny"]
EVERYBODY_ELSE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettings:
    """Durations are in seconds, sizes in bytes. Raises: ValueError, whose text says which setting is wrong.

    `client_mcp`: whether clients may bring MCP servers of their own; by group, where it is a mapping (`"*"`: people in
    none of the groups; without it they may). Who is in several groups is denied if one of them is.
    `deny_client_tools`: patterns, searched for in the names of clients' own tools. They hold for everybody, or where
    `client_mcp` is a mapping, for those whom it denies.
    """

    max_turns: int = 25  # answers with calls of injected tools; the one after them is asked for without tools
    max_time: float = 600.0  # from the first call on; what is over it ends in an error
    call_timeout: float = 60.0
    max_result: int = 256 * 1024
    max_repeats: int = 3  # turns in a row with the same call and the same arguments
    max_offered: int = 120  # OpenAI refuses a request with more than 128 tools
    keepalive: Literal["tools", "always", "off"] = "tools"  # on streams that tools are offered on, on all, on none
    keepalive_interval: float = 10.0
    client_mcp: Allowance | Mapping[str, Allowance] = "allow"
    deny_client_tools: tuple[str, ...] = ()
    restricts: bool = field(init=False, default=False)
    """Somebody's client may be refused."""
    _denied: re.Pattern[str] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        for count in ("max_turns", "max_repeats", "max_result", "max_offered"):
            if getattr(self, count) < 1:
                raise ValueError(f"{count}: a number above 0")
        for seconds in ("max_time", "call_timeout", "keepalive_interval"):
            if not (getattr(self, seconds) > 0 and math.isfinite(getattr(self, seconds))):
                raise ValueError(f"{seconds}: a number of seconds above 0")
        if self.keepalive not in ("tools", "always", "off"):
            raise ValueError("keepalive: one of tools, always, off")
        if isinstance(self.client_mcp, str):
            said = [self.client_mcp]
        else:
            said = list(self.client_mcp.values())
            object.__setattr__(self, "client_mcp", MappingProxyType(dict(self.client_mcp)))
        if not set(said) <= {"allow", "deny"}:
            raise ValueError("client_mcp: allow or deny, or one of them for each group")
        object.__setattr__(self, "deny_client_tools", tuple(self.deny_client_tools))
        object.__setattr__(self, "restricts", "deny" in said or bool(self.deny_client_tools))
        if self.deny_client_tools:
            object.__setattr__(self, "_denied", _compiled(self.deny_client_tools))

    def denies_servers(self, actor: Actor) -> bool:
        """Whether this person's client must not bring MCP servers of its own."""
        if isinstance(self.client_mcp, str):
            return self.client_mcp == "deny"
        said = [self.client_mcp[group] for group in actor.groups if group in self.client_mcp]
        return "deny" in (said or [self.client_mcp.get(EVERYBODY_ELSE, "allow")])

    def denies_tool(self, name: str, actor: Actor) -> bool:
        """Whether this person's client must not have a tool of this name."""
        if self._denied is None or not self._denied.search(name):
            return False
        return isinstance(self.client_mcp, str) or self.denies_servers(actor)


def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"deny_client_tools: {pattern!r} is no regular expression ({error})") from None
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
