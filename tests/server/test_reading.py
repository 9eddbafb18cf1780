"""What was recorded, as readers ask for it: the right ones, newest first, page by page, and nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from aibridge.clock import new_id
from aibridge.database.files import DatabaseFile
from aibridge.server.filters import BadFilter, Filters, parsed_query
from aibridge.server.people import People
from aibridge.server.reading import Reading, TookTooLong
from tests.durable import START, SetClock, ended, interception, prompt, recording, thought, tool, usage

pytestmark = pytest.mark.anyio


class Hurrying:
    """A clock on which every look costs a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds

    now = SetClock().now


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[DatabaseFile]:
    """Eight interceptions a second apart, alice's and bob's in turn; the last is still open."""
    async with recording(tmp_path) as at_work:
        for number in range(8):
            name = f"i{number}"
            record = interception(name, initiator=("alice", "bob")[number % 2], at=number, session=f"s{number // 4}")
            if number == 5:
                record = replace(record, provider="openai", provider_name="openai-eu", model="gpt-4.1", client="Codex")
            await at_work.recorder.record_interception(record)
            await at_work.recorder.record_token_usage(usage(name, output=number))
            if number != 7:
                await at_work.recorder.record_interception_ended(
                    ended(name, "client_gone" if number == 2 else "completed")
                )
        yield at_work.file


@pytest.fixture
def reading(file: DatabaseFile) -> Iterator[Reading]:
    with closing(Reading(file, SetClock())) as opened:
        yield opened


def ids(reading: Reading, query: str, *, only: str | None = None) -> list[str]:
    return [found["id"] for found in reading.interceptions(parsed_query(query, START), only_initiator=only).results]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "6543210"),
        ("initiator:alice", "6420"),
        ("initiator:nobody", ""),
        ("provider:openai", "5"),
        ("provider:openai-eu", "5"),
        ("provider:anthropic initiator:bob", "31"),
        ("model:gpt-4.1", "5"),
        ('client:"Claude Code" session:s1', "64"),
        ("session:s0", "3210"),
        ("state:open", "7"),
        ("state:client_gone", "2"),
        ("started_after:2026-11-20T12:00:04Z", "65"),
        ("started_before:2026-11-20T12:00:02Z", "10"),
        ("started_after:2026-11-20T12:00:01Z started_before:2026-11-20T12:00:03Z", "2"),
    ],
)
async def test_filters_find_the_right_ones_newest_first(reading: Reading, query: str, expected: str) -> None:
    page = reading.interceptions(parsed_query(query, START))

    assert [found["id"] for found in page.results] == [f"i{digit}" for digit in expected]
    assert page.count == len(expected)


async def test_pages_join_without_gap_or_overlap(reading: Reading) -> None:
    seen: list[str] = []
    after: str | None = None
    while page := reading.interceptions(Filters(), limit=3, after_id=after).results:
        seen += [found["id"] for found in page]
        after = seen[-1]

    assert seen == ["i6", "i5", "i4", "i3", "i2", "i1", "i0"]


async def test_a_page_ends_where_its_content_grows_too_long_and_the_next_goes_on_there(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        for number, length in enumerate((5_000, 100_000, 5_000, 1_000, 3_000, 0)):
            name = f"i{number}"
            await at_work.recorder.record_interception(interception(name, at=number))
            await at_work.recorder.record_prompt_usage(prompt(name, "\N{EURO SIGN}" * (length // 3)))
            await at_work.recorder.record_model_thought(thought(name, "t" * (length // 3)))
            await at_work.recorder.record_tool_usage(tool(name, arguments={"all": "a" * (length // 3)}))
            await at_work.recorder.record_interception_ended(ended(name))
        with closing(Reading(at_work.file, SetClock(), page_content=15_000)) as reading:
            pages, after = [], None
            while True:
                page = reading.interceptions(Filters(), after_id=after)
                pages.append([found["id"] for found in page.results])
                texts = [found["user_prompts"][0]["prompt"] for found in page.results]
                assert page.count == 6
                if page.next_after_id is None:
                    break
                after = page.next_after_id

    assert pages == [["i5", "i4", "i3"], ["i2"], ["i1"], ["i0"]]
    assert texts == ["\N{EURO SIGN}" * 1666]


async def test_long_content_beyond_the_first_that_are_weighed_counts_too(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        for number in range(120):
            await at_work.recorder.record_interception(interception(f"i{number:03}", at=number))
            await at_work.recorder.record_prompt_usage(prompt(f"i{number:03}", "x" * 488))
            await at_work.recorder.record_interception_ended(ended(f"i{number:03}"))
        with closing(Reading(at_work.file, SetClock(), page_content=110_000)) as reading:
            page = reading.interceptions(Filters(), limit=1000)

    assert (len(page.results), page.next_after_id) == (110, "i010")


async def test_the_last_page_says_that_it_is_the_last(reading: Reading) -> None:
    assert reading.interceptions(Filters(), limit=7).next_after_id is None
    assert reading.interceptions(Filters(), limit=6).next_after_id == "i1"
    assert reading.interceptions(Filters(model="nothing")).next_after_id is None


async def test_interceptions_that_began_at_the_same_moment_are_paged_in_order_of_arrival(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        for number in range(5):
            await at_work.recorder.record_interception(interception(f"i{number}"))
            await at_work.recorder.record_interception_ended(ended(f"i{number}"))
        with closing(Reading(at_work.file, SetClock())) as reading:
            first = [found["id"] for found in reading.interceptions(Filters(), limit=2).results]
            rest = [found["id"] for found in reading.interceptions(Filters(), after_id=first[-1]).results]

    assert first + rest == ["i4", "i3", "i2", "i1", "i0"]


async def test_whoever_may_see_only_their_own_sees_nothing_else_and_no_sign_of_it(reading: Reading) -> None:
    assert ids(reading, "", only="bob") == ["i5", "i3", "i1"]
    assert ids(reading, "initiator:alice", only="bob") == []
    assert reading.interception("i3", only_initiator="bob") is not None
    assert reading.interception("i2", only_initiator="bob") is None
    with pytest.raises(BadFilter, match="there is no interception i2"):
        reading.interceptions(Filters(), after_id="i2", only_initiator="bob")
    with pytest.raises(BadFilter, match="there is no interception nothing"):
        reading.interceptions(Filters(), after_id="nothing")


async def test_a_person_is_found_by_name_and_by_id(file: DatabaseFile, reading: Reading) -> None:
    with closing(People(file, hash_key=bytes(32), clock=SetClock(), ids=new_id)) as people:
        carol = people.create_user("carol")
    async with recording(file.path.parent) as at_work:
        await at_work.recorder.record_interception(interception("c", initiator=carol.id))
        await at_work.recorder.record_interception_ended(ended("c"))

    assert ids(reading, "initiator:carol") == ids(reading, f"initiator:{carol.id}") == ["c"]


async def test_one_interception_has_everything_in_order(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        await at_work.recorder.record_interception(interception("i", session="s"))
        await at_work.recorder.record_prompt_usage(prompt("i", "zuerst"))
        for output in (1, 2):
            await at_work.recorder.record_token_usage(usage("i", output=output))
        await at_work.recorder.record_tool_usage(tool("i", arguments={"path": ["/a", 1.0, None]}))
        await at_work.recorder.record_tool_usage(tool("i", "toolu_2"))
        await at_work.recorder.record_model_thought(thought("i"))
        await at_work.recorder.record_interception_ended(ended("i"))
        with closing(Reading(at_work.file, SetClock())) as reading:
            found = reading.interception("i")

    assert found is not None
    assert found["initiator"] == {"id": "alice", "username": "alice"}
    assert (found["started_at"], found["ended_at"]) == (START, START + timedelta(seconds=5))
    assert (found["state"], found["metadata"], found["session_id"]) == ("completed", {"username": "alice"}, "s")
    assert [one["prompt"] for one in found["user_prompts"]] == ["zuerst"]
    assert [one["output_tokens"] for one in found["token_usages"]] == [1, 2]
    assert found["token_usages"][0]["extra"] == {"cache_ephemeral_5m_input": 100}
    assert [one["input"] for one in found["tool_usages"]] == [{"path": ["/a", 1.0, None]}, None]
    assert [one["content"] for one in found["model_thoughts"]] == ["the parser splits too early"]
    assert "boot_id" not in found
    assert "arrival" not in found


async def test_costs_are_summed_and_unknown_where_one_is(file: DatabaseFile, reading: Reading) -> None:
    with file.writing() as connection:
        connection.execute("UPDATE aibridge_token_usages SET cost = 40 WHERE interception_id = 'i1'")
        connection.execute(
            "INSERT INTO aibridge_token_usages SELECT 100, 'second', 'i1', NULL, 0, 0, 0, 0, '{}', 0, 2, created_at, 'm'"
            " FROM aibridge_token_usages WHERE interception_id = 'i1'"
        )
        connection.execute(
            "INSERT INTO aibridge_token_usages SELECT 101, 'second', 'i2', NULL, 0, 0, 0, 0, '{}', 0, 2, created_at, 'm'"
            " FROM aibridge_token_usages WHERE interception_id = 'i2'"
        )

    costs = {found["id"]: found["cost"] for found in reading.interceptions(Filters()).results}
    assert (costs["i1"], costs["i2"], costs["i3"]) == (42, None, None)


async def test_an_open_interception_is_shown_as_open(reading: Reading) -> None:
    found = reading.interception("i7")

    assert found is not None
    assert (found["state"], found["ended_at"]) == ("open", None)
    assert reading.interception("nothing") is None


async def test_an_answer_is_never_longer_than_its_limit(reading: Reading) -> None:
    assert len(reading.interceptions(Filters(), limit=2).results) == 2
    assert len(reading.interceptions(Filters(), limit=0).results) == 1
    assert len(reading.interceptions(Filters(), limit=10**9).results) == 7


def fill(file: DatabaseFile) -> None:
    """Twenty thousand old interceptions."""
    with file.writing() as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO aibridge_interceptions (id, boot_id, initiator_id, metadata, model, provider, provider_name,"
            " dialect, route, streaming, started_at, ended_at, client, credential_kind, credential_hint, session_id)"
            " SELECT 'x' || i, '', 'x', '{}', 'm', 'p', 'p', 'd', 'r', 0, '2025', '2025', 'c', 'k', 'h', 's' FROM n"
        )


async def test_a_question_that_takes_too_long_is_given_up_and_the_next_is_answered(file: DatabaseFile) -> None:
    fill(file)
    with closing(Reading(file, Hurrying())) as reading:
        with pytest.raises(TookTooLong, match="ask for less"):
            reading.interceptions(Filters(model="no such model"))
        assert reading.interception("i1") is not None


async def test_readers_beyond_those_that_are_let_in_are_told_to_ask_again(reading: Reading) -> None:
    reading._engine.pool._timeout = 0.01  # type: ignore[attr-defined] # the bound itself is two seconds
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(reading._borrowed())
        with pytest.raises(TookTooLong, match="too many are reading"):
            reading.interception("i1")

    assert reading.interception("i1") is not None


async def test_a_count_that_takes_too_long_is_left_out(file: DatabaseFile) -> None:
    fill(file)
    with closing(Reading(file, Hurrying())) as reading:
        page = reading.interceptions(Filters(), limit=5)

    assert page.count is None
    assert [found["id"] for found in page.results] == ["i6", "i5", "i4", "i3", "i2"]


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("ended_at IS NOT NULL", "aibridge_interceptions_listed (started_at<?)"),
        (
            "ended_at IS NOT NULL AND initiator_id = 'alice'",
            "aibridge_interceptions_initiator (initiator_id=? AND started_at<?)",
        ),
    ],
)
async def test_lists_are_answered_from_an_index_and_not_sorted(file: DatabaseFile, condition: str, index: str) -> None:
    query = (
        f"SELECT * FROM aibridge_interceptions WHERE {condition} AND (started_at, arrival) < ('2026', 1)"
        " ORDER BY started_at DESC, arrival DESC LIMIT 100"
    )
    with closing(file.connection()) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()

    assert [step[-1] for step in plan] == [f"SEARCH aibridge_interceptions USING INDEX {index}"]
