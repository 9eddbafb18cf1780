"""What tools looked like when they were first seen: the first definition holds until another one is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aibridge.errors import RecordingFailed
from aibridge.mcp import MemoryPins
from aibridge.stores import pins as module
from aibridge.stores.pins import SqlitePins
from aibridge.tool_ports import Pins
from tests.durable import SetClock, database

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Pins]:
    """Gives the pins; in the file, as the next process finds them."""
    if request.param == "memory":
        kept = MemoryPins()
        return lambda: kept
    file = database(tmp_path)
    return lambda: SqlitePins(file, SetClock())


async def test_what_is_new_is_accepted_and_what_differs_later_has_changed(reopened: Callable[[], Pins]) -> None:
    first = await reopened().changed("wiki", {"read": "a", "write": "b"})
    same = await reopened().changed("wiki", {"read": "a", "write": "b"})
    later = await reopened().changed("wiki", {"read": "A", "write": "b", "new": "n"})
    back = await reopened().changed("wiki", {"read": "a"})
    other = await reopened().changed("other", {"read": "A"})

    assert [set(each) for each in (first, same, later)] == [set(), set(), {"read"}]
    assert [set(each) for each in (back, other)] == [set(), set()]


async def test_a_change_that_was_accepted_is_none_any_more(reopened: Callable[[], Pins]) -> None:
    await reopened().changed("wiki", {"read": "a", "write": "b", "same": "s"})
    await reopened().changed("wiki", {"read": "A", "write": "B", "same": "s"})
    one = await reopened().accept("wiki", "read")
    left = await reopened().changed("wiki", {"read": "A", "write": "B"})
    rest = await reopened().accept("wiki")
    none = await reopened().accept("wiki")
    after = await reopened().changed("wiki", {"read": "A", "write": "B"})
    before = await reopened().changed("wiki", {"read": "a"})

    assert [one, rest, none] == [["read"], ["write"], []]
    assert [set(each) for each in (left, after, before)] == [{"write"}, set(), {"read"}]


async def test_a_server_that_makes_up_names_does_not_fill_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    file = database(tmp_path)
    pins = SqlitePins(file, SetClock())
    for number in range(3):
        await pins.changed("wiki", {f"t{number}-{each}": "a" for each in range(2)})
    with file.writing() as connection:
        [(rows,)] = connection.execute("SELECT count(*) FROM aibridge_mcp_tools").fetchall()

    assert rows == 3
    assert await pins.changed("wiki", {"t0-0": "b"}) == {"t0-0"}


async def test_a_database_that_cannot_answer_is_said_so(tmp_path: Path) -> None:
    file = database(tmp_path)
    with file.writing() as connection:
        connection.execute("DROP TABLE aibridge_mcp_tools")
    with pytest.raises(RecordingFailed):
        await SqlitePins(file, SetClock()).changed("wiki", {"read": "a"})
    with pytest.raises(RecordingFailed):
        await SqlitePins(file, SetClock()).accept("wiki")
