"""What a bridge between fakes moves, and when: nothing before the end is durable, and all of it then."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from aibridge import providers
from aibridge.bridge import RequestBridge
from aibridge.errors import UpstreamReset, UpstreamStalled, UpstreamUnreachable
from aibridge.metrics import Metrics
from aibridge.metrics.names import OTHER, Names
from aibridge.providers.base import Provider
from aibridge.records import InterceptionRecord, InterceptionRecordEnded
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, PROMPT, Exchange
from tests.fakes.asgi import asked, call, scope_of
from tests.fakes.clock import BEGINNING, FakeClock
from tests.fakes.house import path_of
from tests.fakes.interceptions import ADA, KEY
from tests.fakes.journal import Journal
from tests.fakes.recorder import ScriptedRecorder, fails, hangs
from tests.fakes.upstream import JSON, Scripted, ScriptedUpstream, Step
from tests.scraping import labels_of, total
from tests.waiting import until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])


@dataclass
class Counted:
    """A bridge between fakes, with metrics."""

    metrics: Metrics = field(default_factory=Metrics)
    observed: bool = True
    fail: str = "closed"
    providers: Sequence[Provider] = (
        providers.anthropic(base_url="http://anthropic.test", key=KEY),
        providers.openai(name="openai-eu", base_url="http://openai.test/v1", key=KEY),
    )

    def __post_init__(self) -> None:
        journal = Journal()
        self.upstream = ScriptedUpstream(journal)
        self.recorder = ScriptedRecorder(journal)
        settings: dict[str, Any] = {"observer": self.metrics} if self.observed else {}
        self.bridge = RequestBridge(
            providers=self.providers,
            recorder=self.metrics.recording(self.recorder),
            upstream=self.upstream,
            fail=self.fail,  # type: ignore[arg-type]  # a test says it as text
            **settings,
        )

    def answers(self, *steps: Step, status: int = 200, stream: bool = True) -> None:
        self.upstream.answers.append(Scripted(steps, status) if stream else Scripted(steps, status, (JSON,)))

    async def ask(self, exchange: Exchange, *, stream: bool = True, model: str | None = None) -> int | None:
        body = json.loads(exchange.asked(stream=stream))
        if model is not None:
            body["model"] = model
        return (await asked(self.bridge, path(exchange), json.dumps(body).encode())).status

    def value(self, name: str, /, **labels: str) -> float:
        """The sum of the series that have these labels."""
        return total(self.metrics.registry, name, **labels)


def path(exchange: Exchange) -> str:
    return path_of(exchange).replace("/openai/", "/openai-eu/")


@asynccontextmanager
async def counted(**options: Any) -> AsyncIterator[Counted]:
    house = Counted(**options)
    async with house.bridge:
        yield house


@every_dialect
@pytest.mark.parametrize("observed", [True, False], ids=["observed", "recorder only"])
async def test_a_completed_interception_is_counted_once_with_all_that_it_holds(
    exchange: Exchange, observed: bool
) -> None:
    async with counted(observed=observed) as house:
        house.answers(*exchange.events)
        assert await house.ask(exchange) == 200

    provider = "anthropic" if exchange is MESSAGES else "openai-eu"
    labels = {"provider": provider, "model": exchange.request["model"], "client": "Unknown"}
    (tokens,) = house.recorder.kept.token_usages
    assert house.value(
        "interceptions_total", **labels, status="completed", method="POST", route=exchange.path
    ) == house.value("interceptions_total")
    assert house.value("interceptions_total") == 1
    assert house.value("prompts_total", **labels) == 1
    assert house.value("tokens_total", **labels, type="input") == exchange.final.input == tokens.input_tokens
    assert house.value("tokens_total", **labels, type="output") == exchange.final.output
    assert house.value("tokens_total", **labels, type="cache_read") == exchange.final.cache_read
    assert house.value("non_injected_tool_selections_total", name="weather", provider=provider) == 1
    assert house.value("interceptions_duration_seconds_count", provider=provider) == 1
    assert house.value("time_to_first_byte_seconds_count", provider=provider) == 1
    assert house.value("gateway_overhead_seconds_count", provider=provider) == (1 if observed else 0)
    assert house.value("interceptions_inflight") == 0


async def test_nothing_moves_before_the_end_is_durable_and_all_of_it_then() -> None:
    async with counted() as house:
        durable = asyncio.Event()
        house.recorder.slow["record_interception_ended"] = lambda: _wait(durable)
        house.answers(*MESSAGES.events)
        running = call(house.bridge, scope_of(path(MESSAGES)), MESSAGES.asked(stream=True))
        await until(lambda: bool(house.recorder.kept.ends))
        before = {name: house.value(name) for name in ("interceptions_total", "prompts_total", "tokens_total")}
        in_flight = house.value("interceptions_inflight", provider="anthropic", route="/v1/messages")
        durable.set()
        await running.done()

    assert before == dict.fromkeys(before, 0)
    assert in_flight == 1
    assert house.value("interceptions_total") == house.value("prompts_total") == 1
    assert house.value("interceptions_inflight") == 0


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def test_an_end_that_cannot_be_kept_counts_as_a_failure_of_recording_and_as_nothing_else() -> None:
    async with counted() as house:
        house.recorder.faults["record_interception_ended"] = fails
        house.answers(*MESSAGES.events)
        await house.ask(MESSAGES)

    assert house.value("recording_failures_total", record="end") == 1
    assert house.value("interceptions_total") == house.value("tokens_total") == house.value("prompts_total") == 0
    assert house.value("interceptions_inflight") == 0
    assert house.metrics._followed == {}


async def test_a_start_that_cannot_be_kept_is_a_refusal_and_leaves_nothing_in_flight() -> None:
    async with counted() as house:
        house.recorder.faults["record_interception"] = fails
        assert await house.ask(MESSAGES) == 503

    assert house.value("recording_failures_total", record="start") == 1
    assert house.value("refused_requests_total", provider="anthropic", route="/v1/messages", status="503") == 1
    assert house.value("interceptions_inflight") == 0
    assert house.metrics._followed == {}


async def test_what_is_served_without_a_record_is_not_counted() -> None:
    async with counted(fail="open") as house:
        house.recorder.faults["record_interception"] = fails
        house.answers(*MESSAGES.events)
        assert await house.ask(MESSAGES) == 200

    assert house.value("interceptions_total") == house.value("tokens_total") == 0
    assert house.value("interceptions_inflight") == 0


async def test_records_that_the_recorder_goes_on_without_are_not_counted() -> None:
    async with counted() as house:

        async def leave_out() -> None:
            house.metrics.left_out(house.recorder.kept.prompts[-1])

        house.recorder.slow["record_prompt_usage"] = leave_out
        house.answers(*MESSAGES.events)
        await house.ask(MESSAGES)

    assert house.value("interceptions_total") == 1
    assert house.value("prompts_total") == 0
    assert house.metrics._followed == {}


@pytest.mark.parametrize(
    ("steps", "status", "kind"),
    [
        pytest.param([UpstreamUnreachable("no connection")], None, "unreachable", id="no connection"),
        pytest.param([UpstreamStalled("silence")], None, "stalled", id="no answer"),
        pytest.param([*MESSAGES.events[:3], UpstreamStalled("silence")], 200, "stalled", id="silence in a stream"),
        pytest.param([*MESSAGES.events[:3], UpstreamReset("reset")], 200, "broken_off", id="cut"),
        pytest.param([*MESSAGES.events[:3]], 200, "broken_off", id="end before the end"),
        pytest.param([*MESSAGES.events[:3], MESSAGES.error], 200, "in_reply", id="error in a stream"),
        pytest.param([b"{}"], 401, "unauthorized", id="refused key"),
        pytest.param([b"{}"], 302, "redirect", id="redirect"),
        pytest.param([b"{}"], 429, "rate_limited", id="too many"),
        pytest.param([b"{}"], 529, "overloaded", id="overloaded"),
        pytest.param([b"{}"], 400, "client_error", id="bad request"),
        pytest.param([b"{}"], 500, "server_error", id="their fault"),
    ],
)
async def test_errors_of_the_provider_are_told_apart(steps: list[Step], status: int | None, kind: str) -> None:
    async with counted() as house:
        before = steps if status is None else ()
        house.upstream.answers.append(Scripted([] if status is None else steps, status or 200, before=before))
        await house.ask(MESSAGES)

    assert house.value("upstream_errors_total", kind=kind) == house.value("upstream_errors_total") == 1
    assert house.value("interceptions_total", status="failed") == house.value("interceptions_total") == 1
    assert house.value("client_disconnects_total") == 0


@pytest.mark.parametrize(("status", "kind"), [(401, "unauthorized"), (429, "rate_limited")])
async def test_a_pool_without_a_usable_key_is_the_kind_of_its_keys(status: int, kind: str) -> None:
    pooled = providers.anthropic(base_url="http://anthropic.test", keys=["sk-one-0123456789", "sk-two-0123456789"])
    async with counted(providers=[pooled]) as house:
        for _ in range(2):
            house.answers(b"{}", status=status, stream=False)
        for _ in range(2):
            await house.ask(MESSAGES)

    assert house.value("upstream_errors_total", kind=kind) == house.value("upstream_errors_total") == 2
    assert house.value("key_pool_exhaustions_total", provider="anthropic") == 2


async def test_a_client_that_hangs_up_is_a_disconnect_and_no_error_of_the_provider() -> None:
    async with counted() as house:
        house.answers(*MESSAGES.events[:3], asyncio.Event())
        running = call(house.bridge, scope_of(path(MESSAGES)), MESSAGES.asked(stream=True))
        await running.client.until(1)
        running.hang_up()
        await running.done()

    assert house.value("client_disconnects_total", provider="anthropic", client="Unknown") == 1
    assert house.value("interceptions_total", status="failed") == 1
    assert house.value("upstream_errors_total") == 0


async def test_what_leaves_no_record_is_counted_by_provider_route_and_status() -> None:
    async with counted() as house:
        house.answers(b'{"data": []}', stream=False)
        statuses = [
            (await asked(house.bridge, "/anthropic/v1/models", method="GET")).status,
            (await asked(house.bridge, "/anthropic/v1/messages", b"{")).status,
            (await asked(house.bridge, "/anthropic/v1/messages", b"{}", actor=None)).status,
            (await asked(house.bridge, "/nobody/v1/messages", b"{}")).status,
        ]

    assert statuses == [200, 400, 401, 404]
    assert house.value("passthrough_total", provider="anthropic", route="/v1/models", method="GET") == 1
    assert house.value("refused_requests_total", provider="anthropic", route="/v1/messages", status="400") == 1
    assert house.value("refused_requests_total", provider="anthropic", route="/v1/messages", status="401") == 1
    assert house.value("refused_requests_total", provider="-", route="-", status="404") == 1
    assert house.value("refused_requests_total") == 3
    assert house.value("interceptions_total") == 0


async def test_what_cannot_be_read_and_answers_without_usage_are_counted() -> None:
    async with counted() as house:
        without = {name: value for name, value in json.loads(MESSAGES.body).items() if name != "usage"}
        house.answers(json.dumps(without).encode(), stream=False)
        house.answers(MESSAGES.events[0], b"event: ping\ndata: {\n\n", *MESSAGES.events[1:])
        await house.ask(MESSAGES, stream=False)
        await house.ask(MESSAGES)

    assert house.value("replies_without_usage_total", provider="anthropic") == 1
    assert house.value("parse_errors_total", provider="anthropic") == 1
    assert house.value("interceptions_total", status="completed") == 2


async def test_overhead_is_what_passes_before_the_provider_is_asked_and_after_its_last_byte() -> None:
    clock = FakeClock()

    async def passes(seconds: float) -> None:
        clock.passed += seconds

    async with counted(metrics=Metrics(monotonic=clock.monotonic)) as house:
        house.recorder.slow["record_interception"] = lambda: passes(0.25)
        house.recorder.slow["record_token_usage"] = lambda: passes(0.5)  # after the last byte
        house.recorder.slow["record_interception_ended"] = lambda: passes(1.0)
        house.recorder.slow["record_model_thought"] = lambda: passes(8.0)  # while the provider still speaks
        house.answers(*MESSAGES.events)
        await house.ask(MESSAGES)

    assert house.value("gateway_overhead_seconds_sum") == 1.75
    assert house.value("interceptions_duration_seconds_sum") == 9.75


# -- labels ---------------------------------------------------------------------------------------------


async def test_models_and_tools_beyond_the_cap_are_one_other(seed: int) -> None:
    chance = random.Random(seed)
    async with counted(metrics=Metrics(names=3)) as house:
        for _ in range(20):
            house.answers(*[event.replace(b"weather", b"tool%d" % chance.randrange(10**9)) for event in CHAT.events])
            await house.ask(CHAT, model=f"model-{chance.randrange(10**9)}")

    models = {labels["model"] for labels in labels_of(house.metrics.registry, "interceptions_total")}
    tools = {labels["name"] for labels in labels_of(house.metrics.registry, "non_injected_tool_selections_total")}
    assert len(models) == len(tools) == 4
    assert OTHER in models & tools
    assert house.value("interceptions_total") == 20
    assert house.value("interceptions_total", model=OTHER) == 17


@pytest.mark.parametrize("name", ["", "x" * 129, "two\nlines", "\ud800", "nul\0"])
def test_a_name_that_no_model_has_is_other(name: str) -> None:
    assert Names(10).label(name) == OTHER


async def test_an_exposition_holds_no_prompt_no_key_and_nobody_by_default() -> None:
    async with counted() as house:
        house.answers(*MESSAGES.events)
        house.answers(b'{"error": {"message": "bad"}}', status=400, stream=False)
        await house.ask(MESSAGES)
        await house.ask(MESSAGES)
    text = generate_latest(house.metrics.registry).decode()

    for secret in (KEY, PROMPT, "Nantes", "I should look it up", ADA.id, "ada@example.org"):
        assert secret not in text


async def test_people_are_named_where_that_is_asked_for_and_only_on_interceptions() -> None:
    async with counted(metrics=Metrics(include_initiator=True)) as house:
        house.answers(*MESSAGES.events)
        await house.ask(MESSAGES)
    text = generate_latest(house.metrics.registry).decode()

    assert house.value("interceptions_total", initiator_id=ADA.id, status="completed") == 1
    assert {line.partition("{")[0] for line in text.splitlines() if ADA.id in line} == {
        "aibridge_interceptions_total"
    } | ({"aibridge_interceptions_created"} if "interceptions_created" in text else set())


# -- two of them ----------------------------------------------------------------------------------------


async def test_two_bridges_in_one_process_never_meet() -> None:
    async with counted() as one, counted() as other:
        one.answers(*MESSAGES.events)
        other.answers(*CHAT.events)
        other.answers(*CHAT.events)
        await asyncio.gather(one.ask(MESSAGES), other.ask(CHAT), other.ask(CHAT))

    assert (one.value("interceptions_total"), other.value("interceptions_total")) == (1, 2)
    assert other.value("interceptions_total", provider="anthropic") == 0


async def test_a_hosts_registry_takes_the_series_beside_its_own_and_a_name_cannot_be_taken_twice() -> None:
    registry = CollectorRegistry()
    Counter("host_requests_total", "Of the host.", registry=registry).inc()
    async with counted(metrics=Metrics(registry, prefix="gateway_")) as house:
        house.answers(*MESSAGES.events)
        await house.ask(MESSAGES)

    text = generate_latest(registry).decode()
    assert "host_requests_total 1.0" in text
    assert "gateway_prompts_total{" in text
    assert "aibridge_" not in text
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry, prefix="gateway_")


async def test_an_end_that_takes_too_long_and_is_cancelled_leaves_nothing_behind() -> None:
    house = Counted()
    recorder = house.metrics.recording(house.recorder)
    house.recorder.faults["record_interception_ended"] = hangs
    await recorder.record_interception(interception())
    house.metrics.intercepting(interception())
    ending = asyncio.create_task(recorder.record_interception_ended(ended()))
    await until(lambda: bool(house.recorder.attempts[1:]))
    ending.cancel()
    await asyncio.wait([ending])

    assert ending.cancelled()
    assert house.metrics._followed == {}
    assert house.value("recording_failures_total", record="end") == 1
    assert house.value("interceptions_total") == 0


def interception() -> InterceptionRecord:
    return InterceptionRecord(
        id="01980000-0000-7000-8000-000000000001",
        initiator_id="user-ada",
        model="claude-sonnet-4-5",
        provider="anthropic",
        provider_name="anthropic",
        dialect="messages",
        route="/v1/messages",
        streaming=True,
        started_at=BEGINNING,
        client="Unknown",
        credential_kind="centralized",
        credential_hint="sk-a...cdef",
    )


def ended() -> InterceptionRecordEnded:
    return InterceptionRecordEnded(interception_id=interception().id, ended_at=BEGINNING, state="completed")
