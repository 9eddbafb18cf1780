"""Whose the things are that providers store: the first owner stays, and a restart changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from aibridge.errors import RecordingFailed
from aibridge.ports import ConversationStore
from aibridge.server.sealing import Sealing
from aibridge.stores.conversations import MemoryConversationStore
from aibridge.stores.sqlite import SqliteConversationStore
from tests.durable import SetClock, recording

pytestmark = pytest.mark.anyio

CIPHER = Sealing(bytes(32))


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ConversationStore]:
    if request.param == "memory":
        yield MemoryConversationStore()
    else:
        async with recording(tmp_path) as at_work:
            with closing(SqliteConversationStore(at_work.file, at_work.writer, SetClock(), CIPHER)) as opened:
                yield opened


async def test_an_id_has_the_owner_that_it_was_given(store: ConversationStore) -> None:
    await store.own("openai", ["resp_1", "resp_2"], "alice")

    assert [await store.owner("openai", stored) for stored in ("resp_1", "resp_2")] == ["alice", "alice"]
    assert [await store.owner("openai", stored) for stored in ("resp_1", "resp_2")] == ["alice", "alice"]


async def test_an_id_that_nobody_made_here_has_no_owner_until_it_gets_one(store: ConversationStore) -> None:
    assert await store.owner("openai", "resp_1") is None
    await store.own("openai", ["resp_1"], "alice")
    assert await store.owner("openai", "resp_1") == "alice"


async def test_the_first_owner_stays(store: ConversationStore) -> None:
    await store.own("openai", ["resp_1"], "alice")
    await store.own("openai", ["resp_1"], "mallory")

    assert await store.owner("openai", "resp_1") == "alice"


async def test_the_same_id_at_another_provider_is_another_thing(store: ConversationStore) -> None:
    await store.own("openai", ["resp_1"], "alice")

    assert await store.owner("openai-eu", "resp_1") is None


async def test_owning_nothing_changes_nothing(store: ConversationStore) -> None:
    await store.own("openai", ["resp_1"], "alice")
    await store.own("openai", [], "bob")

    assert await store.owner("openai", "resp_1") == "alice"


async def test_an_owner_is_durable_and_seen_by_other_processes(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        with (
            closing(SqliteConversationStore(at_work.file, at_work.writer, SetClock(), CIPHER)) as one,
            closing(SqliteConversationStore(at_work.file, at_work.writer, SetClock(), CIPHER)) as another,
        ):
            assert await another.owner("openai", "resp_1") is None
            await one.own("openai", ["resp_1"], "alice")

            assert at_work.rows("SELECT provider_name, stored_id, actor_id FROM aibridge_stored_ids") == [
                ("openai", "resp_1", "alice")
            ]
            assert await another.owner("openai", "resp_1") == "alice"


async def test_an_owner_that_cannot_be_made_durable_is_refused(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        store = SqliteConversationStore(at_work.file, at_work.writer, SetClock(), CIPHER)
    with closing(store):
        with pytest.raises(RecordingFailed, match="closed"):
            await store.own("openai", ["resp_1"], "alice")
        for unfit in ("r" * 600, "resp_\ud800"):
            with pytest.raises(RecordingFailed, match="can be kept"):
                await store.own("openai", ["resp_2", unfit], "alice")


async def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        with closing(SqliteConversationStore(at_work.file, at_work.writer, SetClock(), CIPHER)) as store:
            ids = [f"resp_{number}" for number in range(5000)]
            await store.own("openai", ids, "alice")
            for stored in ids:
                assert await store.owner("openai", stored) == "alice"

            assert len(store._owners) == 4096
