"""Calls of injected tools are counted by server and name: those that ran, when their interception is durable."""

import pytest

from aibridge import providers
from aibridge.bridge import RequestBridge
from aibridge.metrics import Metrics
from aibridge.tool_settings import ToolSettings
from tests.exchanges import MESSAGES
from tests.fakes.asgi import asked
from tests.fakes.interceptions import KEY
from tests.fakes.journal import Journal
from tests.fakes.recorder import ScriptedRecorder
from tests.fakes.recorder import fails as recorder_fails
from tests.fakes.toolbox import ScriptedToolbox
from tests.fakes.toolbox import fails as tool_fails
from tests.fakes.turns import Call, Says
from tests.fakes.upstream import JSON, Scripted, ScriptedUpstream
from tests.scraping import total

pytestmark = pytest.mark.anyio

CALLS = (Call("call_1"), Call("call_2", "bmcp_wiki_read"), Call("call_3", "bmcp_gone"), Call("call_4"))


async def counted(*, keeps_tools: bool = True, max_turns: int = 25) -> Metrics:
    """One reply of two turns, in the first of which four tools are called."""
    metrics, recorder = Metrics(), ScriptedRecorder(Journal())
    upstream, toolbox = ScriptedUpstream(Journal()), ScriptedToolbox()
    toolbox.does["read"] = tool_fails
    if not keeps_tools:
        recorder.faults["record_tool_usage"] = recorder_fails
    for turn in (Says(1, "", CALLS), Says(2, "Fine.")):
        upstream.answers.append(Scripted((turn.body("messages"),), 200, (JSON,)))
    bridge = RequestBridge(
        providers=[providers.anthropic(base_url="http://anthropic.test", key=KEY)],
        recorder=metrics.recording(recorder),
        upstream=upstream,
        observer=metrics,
        toolbox=toolbox,
        tools=ToolSettings(max_turns=max_turns),
        fail="usage-only",
    )
    async with bridge:
        client = await asked(bridge, "/anthropic/v1/messages", MESSAGES.asked(stream=False))
        assert client.status == 200
    return metrics


async def test_what_ran_is_counted_by_server_and_name_also_where_it_failed() -> None:
    metrics = await counted()

    of = {"provider": "anthropic", "model": MESSAGES.request["model"], "server": "wiki"}
    name = "injected_tool_invocations_total"
    assert total(metrics.registry, name, **of, name="search") == 2
    assert total(metrics.registry, name, **of, name="read") == 1
    assert total(metrics.registry, name) == 3
    assert total(metrics.registry, "non_injected_tool_selections_total") == 0
    assert total(metrics.registry, "tokens_total", type="output") == 10
    assert total(metrics.registry, "interceptions_total", status="completed") == 1


async def test_what_a_limit_kept_from_running_is_not_counted() -> None:
    metrics = await counted(max_turns=1)

    assert total(metrics.registry, "injected_tool_invocations_total") == 0


async def test_what_is_not_on_record_is_not_counted() -> None:
    metrics = await counted(keeps_tools=False)

    assert total(metrics.registry, "injected_tool_invocations_total") == 0
    assert total(metrics.registry, "recording_failures_total", record="tool") == 4
