"""Users and keys: what opens the door, what no longer does, and that every process sees it at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from aibridge.clock import new_id
from aibridge.database.files import DatabaseUnusable
from aibridge.server.auth import key_format
from aibridge.server.key_use import KeyUse
from aibridge.server.people import DEFAULT_LIFE, People
from aibridge.server.persons import Denial, Key, KnownKey, NotPossible, Role, Scope
from aibridge.server.store import open_people
from tests.durable import BOUND, START, SetClock, database, recording, rows, until

HASH_KEY = b"h" * 32
REVOKE = """
import sys
from aibridge.clock import SystemClock, new_id
from aibridge.server.store import open_people
path, what, whom = sys.argv[1:]
with open_people(path, hash_key=b"h" * 32, clock=SystemClock(), ids=new_id) as people:
    {"revoke": people.revoke_key, "suspend": people.suspend, "activate": people.activate}[what](whom)
"""


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def people(tmp_path: Path, clock: SetClock) -> Iterator[People]:
    numbers = count()
    with closing(
        People(
            database(tmp_path),
            hash_key=HASH_KEY,
            clock=clock,
            ids=new_id,
            random=lambda size: next(numbers).to_bytes(size),
        )
    ) as opened:
        yield opened


def owner_of(found: KnownKey | Denial) -> str | None:
    return found.user.id if isinstance(found, KnownKey) else None


def test_a_key_opens_the_door_for_its_owner(people: People) -> None:
    alice = people.create_user("alice", email="alice@example.org", groups=["dev", "ops", "dev"])
    made = people.create_key("alice", name="laptop")

    known = people.identify(made.secret)

    assert isinstance(known, KnownKey)
    assert known.user == alice
    assert known.key == made.key
    assert (alice.groups, alice.role, alice.status) == (("dev", "ops"), "member", "active")
    assert made.key.scopes == ("use", "read:own")
    assert made.key.expires_at == START + DEFAULT_LIFE


def test_a_key_that_is_not_ours_opens_nothing(people: People) -> None:
    people.create_user("alice")
    made = people.create_key("alice", name="laptop")
    another_secret = key_format.make(made.key.id, b"\xff" * 32)

    for value in ("", "sk-ant-api03-abc", made.secret[:-1], made.secret + "0", another_secret, "aib_\ud800"):
        assert people.identify(value) == "unknown"
    assert people.identify(key_format.make(new_id(), bytes(32))) == "unknown"


def test_a_key_that_was_seen_before_is_looked_at_just_as_closely(people: People, clock: SetClock) -> None:
    alice, bob = people.create_user("alice"), people.create_user("bob")
    hers, his = people.create_key("alice", name="laptop"), people.create_key("bob", name="desktop")
    for _ in range(2):
        assert [owner_of(people.identify(made.secret)) for made in (hers, his)] == [alice.id, bob.id]
    half = len(hers.secret) // 2

    assert people.identify(hers.secret[:half] + his.secret[half:]) == "unknown"
    assert people.identify(hers.secret[:-1]) == "unknown"
    people.revoke_key(hers.key.id)
    assert people.identify(hers.secret) == "revoked"
    assert owner_of(people.identify(his.secret)) == bob.id
    clock.advance(DEFAULT_LIFE.total_seconds())
    assert people.identify(his.secret) == "expired"


def test_keys_of_another_secret_open_nothing(people: People, tmp_path: Path, clock: SetClock) -> None:
    people.create_user("alice")
    made = people.create_key("alice", name="laptop")

    with open_people(tmp_path / "aibridge.db", hash_key=b"o" * 32, clock=clock, ids=new_id) as others:
        assert others.identify(made.secret) == "unknown"


@pytest.mark.parametrize(
    ("close_the_door", "denial"),
    [
        (lambda people, key, clock: people.revoke_key(key.id), "revoked"),
        (lambda people, key, clock: people.suspend("alice"), "suspended"),
        (lambda people, key, clock: clock.advance(DEFAULT_LIFE.total_seconds()), "expired"),
    ],
)
def test_what_closes_the_door_does_so_at_the_next_look(
    people: People, clock: SetClock, close_the_door: Callable[..., object], denial: str
) -> None:
    people.create_user("alice")
    made = people.create_key("alice", name="laptop")
    assert isinstance(people.identify(made.secret), KnownKey)

    close_the_door(people, made.key, clock)

    assert people.identify(made.secret) == denial


def test_a_key_lives_to_its_last_moment_and_one_without_end_for_ever(people: People, clock: SetClock) -> None:
    people.create_user("alice")
    short = people.create_key("alice", name="short", life=timedelta(seconds=10))
    eternal = people.create_key("alice", name="eternal", life=None)

    clock.advance(9.999)
    assert isinstance(people.identify(short.secret), KnownKey)
    clock.advance(0.001)
    assert people.identify(short.secret) == "expired"
    clock.advance(10**9)
    assert isinstance(people.identify(eternal.secret), KnownKey)


def test_what_another_process_does_holds_at_the_next_look(people: People, tmp_path: Path) -> None:
    def elsewhere(what: str, whom: str) -> None:
        command = [sys.executable, "-c", REVOKE, str(tmp_path / "aibridge.db"), what, whom]
        subprocess.run(command, check=True, timeout=BOUND)

    people.create_user("alice")
    made = people.create_key("alice", name="laptop")
    seen = [people.identify(made.secret)]
    for what, whom in (("suspend", "alice"), ("activate", "alice"), ("revoke", made.key.id)):
        elsewhere(what, whom)
        seen.append(people.identify(made.secret))

    assert [one if isinstance(one, str) else "known" for one in seen] == ["known", "suspended", "known", "revoked"]


def test_no_secret_is_in_the_file_or_in_what_is_printed(people: People, tmp_path: Path) -> None:
    people.create_user("alice")
    made = people.create_key("alice", name="laptop")
    listed = repr(people.list_keys())
    people.close()

    secret = made.secret.rpartition("_")[2]
    assert made.secret not in repr(made)
    assert secret not in listed
    for path in tmp_path.iterdir():
        assert path.is_dir() or secret.encode() not in path.read_bytes()
    people._reading = people._file.reading()  # so that the fixture can close it


def test_the_first_revocation_counts(people: People, clock: SetClock) -> None:
    people.create_user("alice")
    made = people.create_key("alice", name="laptop")

    first = people.revoke_key(made.key.id)
    clock.advance(60)

    assert people.revoke_key(made.key.id) == first == replace(made.key, revoked_at=START)


def test_lists_show_everything_in_order(people: People, clock: SetClock) -> None:
    bob, alice = people.create_user("bob", role="admin"), people.create_user("alice")
    made: list[Key] = []
    for owner in ("alice", "bob", alice.id):
        made.append(people.create_key(owner, name=f"key {len(made)}").key)
        clock.advance(1)
    people.suspend(bob.id)

    assert people.list_users() == [alice, replace(bob, status="suspended")]
    assert people.list_keys() == made
    assert people.list_keys("alice") == [made[0], made[2]]
    assert people.user("bob") == people.user(bob.id) == replace(bob, status="suspended")
    assert people.user("nobody") is None


def test_the_user_that_must_exist_is_made_once(people: People) -> None:
    made = people.ensure_user("admin", role="admin")

    assert people.ensure_user("admin", role="admin") == made
    assert people.list_users() == [made]


KING = cast("Role", "king")  # as a command hands on what somebody typed
ALL = cast("Scope", "all")
IMPOSSIBLE: dict[str, tuple[Callable[[People], object], str]] = {
    "taken name": (lambda people: people.create_user("alice"), "there is a user alice already"),
    "no name": (lambda people: people.create_user(""), "a user name must have"),
    "line break": (lambda people: people.create_user("al\nice"), "control characters"),
    "long name": (lambda people: people.create_user("x" * 200), "1 to 128"),
    "blank address": (lambda people: people.create_user("eve", email=" "), "an e-mail address must have"),
    "NUL in a group": (lambda people: people.create_user("eve", groups=["a\0"]), "control characters"),
    "unknown role": (lambda people: people.create_user("eve", role=KING), "one of member, auditor, admin"),
    "no such owner": (lambda people: people.create_key("nobody", name="k"), "there is no user nobody"),
    "no key name": (lambda people: people.create_key("alice", name=""), "a key's name must have"),
    "no scope": (lambda people: people.create_key("alice", name="k", scopes=[]), "without a scope"),
    "unknown scope": (lambda people: people.create_key("alice", name="k", scopes=[ALL]), "there is no scope all"),
    "no life": (lambda people: people.create_key("alice", name="k", life=timedelta(0)), "a key lives for"),
    "endless life": (lambda people: people.create_key("alice", name="k", life=timedelta.max), "a key lives for"),
    "keys of nobody": (lambda people: people.list_keys("nobody"), "there is no user nobody"),
    "no such key": (lambda people: people.revoke_key("nothing"), "there is no key nothing"),
    "no such user": (lambda people: people.suspend("nobody"), "there is no user nobody"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_cannot_be_done_is_said_in_one_line(people: People, what: str) -> None:
    act, said = IMPOSSIBLE[what]
    people.create_user("alice")

    with pytest.raises(NotPossible, match=said) as raised:
        act(people)

    assert "\n" not in str(raised.value)
    assert len(people.list_users()) == 1


def test_names_are_the_same_however_they_are_typed(people: People) -> None:
    people.create_user("Ame\u0301lie")

    with pytest.raises(NotPossible, match="already"):
        people.create_user("Am\u00e9lie")


def test_people_are_kept_before_a_server_ever_started(tmp_path: Path, clock: SetClock) -> None:
    with open_people(tmp_path / "new" / "aibridge.db", hash_key=HASH_KEY, clock=clock, ids=new_id) as people:
        people.create_user("alice")

    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["aibridge.db", "aibridge.db.locks"]


def test_a_file_that_cannot_be_read_denies_nobody_wrongly(people: People) -> None:
    people.create_user("alice")
    made = people.create_key("alice", name="laptop")
    people._reading.close()

    with pytest.raises(DatabaseUnusable, match="cannot be read"):
        people.identify(made.secret)
    people._reading = people._file.reading()


@pytest.mark.anyio
async def test_use_is_noted_at_most_once_a_minute(tmp_path: Path) -> None:
    clock = SetClock()
    async with recording(tmp_path) as at_work:
        with closing(
            People(at_work.file, hash_key=HASH_KEY, clock=clock, ids=new_id, note_use=KeyUse(at_work.writer, clock))
        ) as people:
            people.create_user("alice")
            made = people.create_key("alice", name="laptop")
            assert people.identify("aib_wrong") == "unknown"
            noted = []
            for seconds in (0, 30, 29, 2):
                clock.advance(seconds)
                people.identify(made.secret)
                await until(lambda: at_work.writer.statistics().held == 0)
                noted.append(rows(at_work.file, "SELECT substr(last_used_at, 12, 8) FROM aibridge_keys")[0][0])

            assert noted == ["12:00:00", "12:00:00", "12:00:00", "12:01:01"]
            assert people.list_keys()[0].last_used_at == START + timedelta(seconds=61)
