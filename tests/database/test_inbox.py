"""The queue to the writer thread: bounded for whoever asks, open for what must not be lost."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aibridge.database.inbox import Closed, Entry, Inbox
from aibridge.database.statements import Statement, insert
from tests.durable import BOUND

STATEMENT: Statement = insert("notes", "text", rank=0)


def entry(size: int) -> Entry:
    return Entry(STATEMENT, lambda: ("x",), size)


def test_an_offer_beyond_the_capacity_is_turned_down_and_what_must_go_in_goes_in() -> None:
    inbox = Inbox(100)

    assert inbox.offer(entry(60))
    assert not inbox.offer(entry(60))
    inbox.put(entry(60))

    assert inbox.held == 120
    assert len(inbox.take(0)[0]) == 2


def test_reserved_room_is_kept_from_others_until_it_is_released() -> None:
    inbox = Inbox(100)

    assert inbox.offer(entry(10), reserve=50)
    assert not inbox.offer(entry(60))
    inbox.release(50)
    assert inbox.offer(entry(60))


def test_room_comes_back_when_entries_are_settled_not_when_they_are_taken() -> None:
    inbox = Inbox(100)

    assert inbox.offer(entry(60))
    inbox.take(0)
    assert not inbox.offer(entry(60))
    inbox.settled(60)
    assert inbox.offer(entry(60))


@pytest.mark.parametrize("what", ["entry", "work", "closing"])
def test_a_sleeping_taker_is_woken_by_whatever_comes(what: str) -> None:
    inbox = Inbox(100)
    thread = threading.Thread(target=inbox.take, args=(None,))
    thread.start()
    match what:
        case "entry":
            inbox.put(entry(1))
        case "work":
            inbox.put_later(lambda connection, keys: None, "key")
        case _:
            inbox.close("over")
    thread.join(BOUND)

    assert not thread.is_alive()


def test_while_room_is_reserved_only_who_waits_wakes_the_taker() -> None:
    inbox = Inbox(1000)
    assert inbox.offer(entry(1), reserve=10)
    inbox.take(0)
    taken: list[Entry] = []
    thread = threading.Thread(target=lambda: taken.extend(inbox.take(BOUND)[0]))
    thread.start()
    inbox.put(entry(2))
    waiter: asyncio.Future[None] = asyncio.Future(loop=asyncio.new_event_loop())
    inbox.put(Entry(STATEMENT, lambda: ("x",), 3, waiter))
    thread.join(BOUND)
    waiter.get_loop().close()

    assert [found.size for found in taken] == [2, 3]


def test_much_that_nobody_waits_for_wakes_the_taker_all_the_same() -> None:
    inbox = Inbox(1000)
    assert inbox.offer(entry(1), reserve=10)
    inbox.take(0)
    thread = threading.Thread(target=inbox.take, args=(None,))
    thread.start()
    inbox.put(entry(200))
    thread.join(BOUND)

    assert not thread.is_alive()


def test_nothing_is_woken_twice_and_time_runs_out() -> None:
    inbox = Inbox(100)

    for _ in range(3):
        assert inbox.take(0.001) == ([], [])
        inbox.put(entry(1))
        inbox.put(entry(1))
        assert len(inbox.take(None)[0]) == 2


def test_a_closed_inbox_says_why_and_gives_out_what_is_left() -> None:
    inbox = Inbox(100)
    inbox.put(entry(1))
    inbox.close("the first reason")
    inbox.close("another reason")

    with pytest.raises(Closed, match="the first reason"):
        inbox.put(entry(1))
    with pytest.raises(Closed, match="the first reason"):
        inbox.offer(entry(1))
    inbox.put_later(lambda connection, keys: None, "forgotten")
    entries, later = inbox.take(None)
    assert (len(entries), later) == (1, [])
