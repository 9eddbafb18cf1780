"""Which injected tools a request carries, which it must not, and what it gets back of what its client never saw.

The order is that of the bytes: the hidden turns of earlier replies are put back, then the tools are offered.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from aibridge import client_apps
from aibridge.dialects.base import DialectName, Request
from aibridge.dialects.turns import LoopingRequest
from aibridge.errors import Problem, Refused
from aibridge.ports import ConversationStore, HeldFor, Identity, Toolbox
from aibridge.tool_settings import ToolSettings
from aibridge.tools import NO_TOOLS, Toolset

if TYPE_CHECKING:  # a value that is handed in; siblings do not know each other at run time
    from aibridge.providers.base import Provider

_MOST_OF_OPENAI = 128  # tools in one request, the client's own among them; more are refused with a 400
# Agents ask small models beside the conversation, for titles and summaries: without a tool of their own, and with no
# use for ours. SDKs are not among them: what a program asks for without tools is its business.
_AGENTS = frozenset({"Claude Code", "Goose", "Kilo Code", "OpenCode"})
_SMALL_MODEL = re.compile("haiku|mini|nano")
_LOG = logging.getLogger("aibridge.tools")


@dataclass(frozen=True, slots=True)
class Offering:
    """What a bridge does about tools."""

    toolbox: Toolbox | None
    settings: ToolSettings
    conversations: ConversationStore

    def concerns(self, actor_id: str) -> bool:
        """Whether something is to be done about this person's requests. Quick: asked for every one."""
        settings = self.settings
        has_rules = self.toolbox is not None or settings.restricts or settings.keepalive == "always"
        return has_rules or self.conversations.may_hold(actor_id)

    async def prepared(
        self, request: Request, provider: Provider, dialect: DialectName, identity: Identity
    ) -> tuple[LoopingRequest, Toolset]:
        """The request as it goes upstream, and what it offers. Raises: Refused."""
        looping = cast("LoopingRequest", request)  # every dialect's request is one; `base` only does not know of it
        _check(looping, identity, self.settings)
        looping = await _recalled(looping, HeldFor(identity.actor.id, provider.name, dialect), self.conversations)
        if self.toolbox is None:
            return looping, NO_TOOLS
        toolset = NO_TOOLS
        if provider.offer_tools and not _is_aside(looping, identity):
            toolset = _capped(await self.toolbox.tools(identity), looping, dialect, self.settings.max_offered)
        return looping.offering(toolset), toolset


def _check(request: LoopingRequest, identity: Identity, settings: ToolSettings) -> None:
    """Raises: Refused, for what this person's client must not bring."""
    if not settings.restricts:
        return
    if settings.denies_servers(identity.actor) and request.brings_servers:
        raise Refused(Problem(403, "MCP servers of your own are not allowed here; remove them from the request"))
    for name in request.client_tools:
        if settings.denies_tool(name, identity.actor):
            raise Refused(Problem(403, f"the tool {name[:64]!r} is not allowed here; remove it from the request"))


async def _recalled(request: LoopingRequest, held_for: HeldFor, conversations: ConversationStore) -> LoopingRequest:
    if not conversations.may_hold(held_for.actor_id):
        return request
    anchors = request.anchors
    found = await conversations.held(held_for, anchors) if anchors else None
    if found:
        request = request.recalling(found)
    for stored_id in request.references:
        upstream_id = await conversations.resolved(held_for, stored_id)
        if upstream_id != stored_id:
            request = request.renamed(upstream_id)
    return request


def _is_aside(request: LoopingRequest, identity: Identity) -> bool:
    if _SMALL_MODEL.search(request.model.lower()) is None:
        return False
    return client_apps.recognise(identity.headers) in _AGENTS and not request.client_tools


def _capped(toolset: Toolset, request: LoopingRequest, dialect: DialectName, most: int) -> Toolset:
    if dialect != "messages" and len(toolset.tools) + request.client_tools_at_most(toolset) > _MOST_OF_OPENAI:
        most = min(most, max(0, _MOST_OF_OPENAI - len(request.client_tools)))
    offered, is_new = toolset.first(most)
    if is_new:
        names = [tool.id for tool in toolset.tools[most:]]
        _LOG.warning("too many tools: some are not offered", extra={"offered": most, "left_out": names})
    return offered
