"""What clients did not see of their replies: found by what they did see, by nobody else, also after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from aibridge.dialects.turns import Hidden
from aibridge.errors import RecordingFailed
from aibridge.ports import ConversationStore, HeldFor
from aibridge.server.sealing import Sealing
from aibridge.stores.conversations import MemoryConversationStore
from aibridge.stores.held_turns import KEPT
from aibridge.stores.sqlite import SqliteConversationStore
from tests.durable import Recording, SetClock, recording, until

pytestmark = pytest.mark.anyio

CIPHER = Sealing(b"k" * 32)
ALICE = HeldFor("alice", "anthropic", "messages")
MOST = 10_000


def hidden(content: bytes = b"[1]", *anchors: str, upstream_id: tuple[str, str] | None = None) -> Hidden:
    return Hidden(anchors or ("call:toolu_1",), content, upstream_id)


def opened(at_work: Recording, clock: SetClock | None = None, cipher: Sealing = CIPHER) -> SqliteConversationStore:
    return SqliteConversationStore(at_work.file, at_work.writer, clock or SetClock(), cipher, most_held=MOST)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ConversationStore]:
    if request.param == "memory":
        yield MemoryConversationStore(most_held=MOST)
    else:
        async with recording(tmp_path) as at_work:
            with closing(opened(at_work)) as one:
                yield one


async def test_what_is_held_is_found_by_each_of_its_anchors(store: ConversationStore) -> None:
    turns = hidden(b"[1]", "call:a", "text:b")
    await store.hold(ALICE, "reply-1", turns)

    assert await store.held(ALICE, ["call:a", "call:z", "text:b"]) == {"call:a": [turns], "text:b": [turns]}
    assert await store.held(ALICE, []) == {}
    assert await store.held(ALICE, ["call:z"]) == {}


async def test_nobody_else_finds_it_nor_does_another_provider_or_dialect(store: ConversationStore) -> None:
    await store.hold(ALICE, "reply-1", hidden(upstream_id=("resp_1", "resp_3")))
    others = [
        HeldFor("mallory", "anthropic", "messages"),
        HeldFor("alice", "anthropic-eu", "messages"),
        HeldFor("alice", "anthropic", "chat_completions"),
    ]

    assert [await store.held(other, ["call:toolu_1"]) for other in others] == [{}, {}, {}]
    assert [await store.resolved(other, "resp_1") for other in others[:2]] == ["resp_1", "resp_1"]


async def test_whether_something_is_held_is_known_of_each_actor(store: ConversationStore) -> None:
    before = store.may_hold("alice")
    await store.hold(ALICE, "reply-1", hidden())

    assert not before
    assert store.may_hold("alice")
    assert not store.may_hold("mallory")


async def test_a_reply_that_goes_on_takes_the_place_of_its_beginning(store: ConversationStore) -> None:
    await store.hold(ALICE, "reply-1", hidden(b"[1]", "call:a"))
    whole = hidden(b"[1,2]", "call:a", "call:b")
    await store.hold(ALICE, "reply-1", whole)

    assert await store.held(ALICE, ["call:a", "call:b"]) == {"call:a": [whole], "call:b": [whole]}


async def test_the_newest_reply_of_an_anchor_comes_first(store: ConversationStore) -> None:
    for number in range(3):
        await store.hold(ALICE, f"reply-{number}", hidden(b"[%d]" % number, "call:call_0"))

    found = await store.held(ALICE, ["call:call_0"])
    assert [one.content for one in found["call:call_0"]] == [b"[2]", b"[1]", b"[0]"]


async def test_a_response_is_known_under_the_id_of_its_last_turn(store: ConversationStore) -> None:
    whose = HeldFor("alice", "openai", "responses")
    await store.hold(whose, "reply-1", hidden(upstream_id=("resp_1", "resp_2")))
    await store.hold(whose, "reply-1", hidden(upstream_id=("resp_1", "resp_3")))

    assert await store.resolved(whose, "resp_1") == "resp_3"
    assert await store.resolved(whose, "resp_9") == "resp_9"


async def test_of_too_much_the_oldest_use_is_dropped(store: ConversationStore) -> None:
    for number in range(3):
        await store.hold(ALICE, f"reply-{number}", hidden(b"x" * 3000, f"call:{number}"))
    await store.hold(HeldFor("bob", "anthropic", "messages"), "reply-b", hidden(b"x" * 3000, "call:0"))
    await store.hold(ALICE, "reply-3", hidden(b"x" * 3000, "call:3"))
    if isinstance(store, SqliteConversationStore):
        await until(lambda: len(store._reading.execute("SELECT * FROM aibridge_held_anchors").fetchall()) == 4)

    held = await store.held(ALICE, [f"call:{number}" for number in range(4)])
    assert sorted(held) == ["call:1", "call:2", "call:3"]
    assert await store.held(HeldFor("bob", "anthropic", "messages"), ["call:0"])


async def test_what_is_larger_than_all_that_may_be_held_is_refused(store: ConversationStore) -> None:
    with pytest.raises(RecordingFailed, match="larger"):
        await store.hold(ALICE, "reply-1", hidden(b"x" * (MOST + 1)))


async def test_thousands_of_anchors_are_looked_up(store: ConversationStore) -> None:
    await store.hold(ALICE, "reply-1", hidden(b"[1]", "call:4999"))

    assert list(await store.held(ALICE, [f"call:{number}" for number in range(5000)])) == ["call:4999"]


# -- in the file ---------------------------------------------------------------------------------------


async def test_it_survives_a_restart_with_the_same_bytes(tmp_path: Path) -> None:
    turns = Hidden(("call:a",), bytes(range(256)), ("resp_1", "resp_2"))
    async with recording(tmp_path) as at_work:
        with closing(opened(at_work)) as store:
            await store.hold(ALICE, "reply-1", turns)
    async with recording(tmp_path) as at_work:
        with closing(opened(at_work)) as store:
            assert store.may_hold("alice")
            assert await store.held(ALICE, ["call:a"]) == {"call:a": [turns]}
            assert await store.resolved(ALICE, "resp_1") == "resp_2"


async def test_another_process_that_knew_of_nothing_learns_of_it(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        with closing(opened(at_work)) as one, closing(opened(at_work)) as another:
            assert not another.may_hold("alice")
            await one.hold(ALICE, "reply-1", hidden())

            assert another.may_hold("alice")
            assert await another.held(ALICE, ["call:toolu_1"])


async def test_the_file_holds_nothing_readable_of_it(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        with closing(opened(at_work)) as store:
            await store.hold(ALICE, "reply-1", hidden(b'["the secret plan"]'))
        [(content,)] = at_work.rows("SELECT content FROM aibridge_held_turns")

    assert b"secret plan" not in content
    whole = (tmp_path / "aibridge.db").read_bytes()
    assert b"secret plan" not in whole
    assert b"aibridge_held_turns" in whole


async def test_with_another_key_or_in_another_row_it_does_not_open(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        with closing(opened(at_work)) as store:
            await store.hold(ALICE, "reply-1", hidden())
        with closing(opened(at_work, cipher=Sealing(b"another key, also 32 bytes long."))) as store:
            assert await store.held(ALICE, ["call:toolu_1"]) == {}
        with at_work.file.writing() as connection:
            connection.execute("UPDATE aibridge_held_turns SET actor_id = 'mallory'")
            connection.execute("UPDATE aibridge_held_anchors SET actor_id = 'mallory'")
        with closing(opened(at_work)) as store:
            assert await store.held(HeldFor("mallory", "anthropic", "messages"), ["call:toolu_1"]) == {}


async def test_it_is_kept_for_thirty_days_after_its_last_use(tmp_path: Path) -> None:
    clock = SetClock()
    async with recording(tmp_path) as at_work:
        with closing(opened(at_work, clock)) as store:
            await store.hold(ALICE, "used", hidden(b"[1]", "call:used"))
            await store.hold(ALICE, "unused", hidden(b"[2]", "call:unused"))
            clock.time += KEPT - timedelta(days=1)
            assert await store.held(ALICE, ["call:used"])
            await until(lambda: len({used for (used,) in at_work.rows("SELECT used_at FROM aibridge_held_turns")}) == 2)
            clock.time += timedelta(days=2)

            assert list(await store.held(ALICE, ["call:used", "call:unused"])) == ["call:used"]
            await store.hold(ALICE, "new", hidden(b"[3]", "call:new"))
            await until(
                lambda: at_work.rows("SELECT held_id FROM aibridge_held_anchors ORDER BY 1") == [("new",), ("used",)]
            )


async def test_what_cannot_be_made_durable_is_refused(tmp_path: Path) -> None:
    async with recording(tmp_path, capacity=4096) as at_work:
        store = opened(at_work)
        with pytest.raises(RecordingFailed, match="queue"):
            await store.hold(ALICE, "reply-1", hidden(b"x" * 5000))
    with closing(store), pytest.raises(RecordingFailed, match="closed"):
        await store.hold(ALICE, "reply-1", hidden())


async def test_what_was_opened_is_remembered_within_bounds(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        store = SqliteConversationStore(at_work.file, at_work.writer, SetClock(), CIPHER)
        with closing(store):
            for number in range(9):
                await store.hold(ALICE, f"reply-{number}", hidden(bytes(4 * 1024 * 1024), f"call:{number}"))
                assert len(await store.held(ALICE, [f"call:{number}"])) == 1

            held = store._held
            assert held._remembered == sum(size for _, size in held._opened) <= 16 * 1024 * 1024
            assert await store.held(ALICE, ["call:8"]) == {"call:8": [hidden(bytes(4 * 1024 * 1024), "call:8")]}
