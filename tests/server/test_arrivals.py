"""People of an identity provider as users: once each, by who they are and not by what they are called."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from aibridge.clock import new_id
from aibridge.database.files import DatabaseFile
from aibridge.server.arrivals import Arrivals
from aibridge.server.auth.oidc.claims import ClaimedPerson
from aibridge.server.people import People
from aibridge.server.persons import NotPossible
from tests.durable import START, SetClock, database

ADA = ClaimedPerson(
    issuer="https://id.example",
    subject="sub-ada",
    username="ada",
    email="ada@example.org",
    groups=("staff",),
    role="member",
    claimed_at=START,
)
UUID = "0192f0c1-7a5b-7c3d-8e9f-a0b1c2d3e4f5"
LATER = START + timedelta(minutes=5)


@dataclass
class Door:
    file: DatabaseFile
    arrivals: Arrivals
    people: People
    clock: SetClock


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    file, clock = database(tmp_path), SetClock()
    with (
        closing(Arrivals(file, clock, new_id)) as arrivals,
        closing(People(file, hash_key=bytes(32), clock=clock, ids=new_id)) as people,
    ):
        yield Door(file, arrivals, people, clock)


def test_somebody_who_comes_for_the_first_time_is_a_user_from_then_on(door: Door) -> None:
    made = door.arrivals.arrived(ADA)

    assert (made.username, made.email, made.groups, made.role, made.status) == (
        "ada",
        "ada@example.org",
        ("staff",),
        "member",
        "active",
    )
    assert door.people.user("ada") == made
    assert door.arrivals.user(made.id) == made
    assert door.arrivals.arrived(ADA) == made


def test_what_did_not_change_is_not_written(door: Door) -> None:
    door.arrivals.arrived(ADA)
    mark = door.file.change_mark("people")
    before = mark.seen()
    door.arrivals.arrived(replace(ADA, claimed_at=LATER))

    assert mark.seen() == before
    mark.close()


def test_name_address_groups_and_role_follow_the_claims_and_others_see_it_at_once(door: Door) -> None:
    made = door.arrivals.arrived(ADA)
    with closing(Arrivals(door.file, door.clock, new_id)) as other:
        before = other.user(made.id)
        renamed = replace(ADA, username="adele", email=None, groups=("root",), role="admin", claimed_at=LATER)
        changed = door.arrivals.arrived(renamed)
        after = other.user(made.id)

    assert before == made
    assert after == changed == replace(made, username="adele", email=None, groups=("root",), role="admin")


def test_claims_that_are_older_than_the_last_change_change_nothing(door: Door) -> None:
    now = door.arrivals.arrived(replace(ADA, role="member", claimed_at=LATER))

    assert door.arrivals.arrived(replace(ADA, groups=("root",), role="admin")) == now


def test_a_name_stays_with_whoever_has_it(door: Door) -> None:
    local = door.people.create_user("ada", role="admin")
    ada = door.arrivals.arrived(ADA)
    other = door.arrivals.arrived(replace(ADA, issuer="https://other.example"))

    assert len({local.id, ada.id, other.id}) == 3
    assert door.people.user("ada") == local
    assert ada.username.startswith("ada~")
    assert other.username.startswith("ada~")
    assert ada.role == "member"
    assert door.arrivals.arrived(replace(ADA, claimed_at=LATER)) == ada


def test_somebody_who_is_renamed_to_a_name_of_others_gets_a_mark(door: Door) -> None:
    door.arrivals.arrived(ADA)
    bob = door.arrivals.arrived(replace(ADA, subject="sub-bob", username="bob"))
    renamed = door.arrivals.arrived(replace(ADA, subject="sub-bob", username="ada", claimed_at=LATER))

    assert renamed.id == bob.id
    assert renamed.username.startswith("ada~")


def test_nobody_is_called_admin_nor_takes_the_last_name_there_is(door: Door) -> None:
    named = door.arrivals.arrived(replace(ADA, username="admin"))
    nameless = door.arrivals.arrived(replace(ADA, subject="sub-2", username=None))
    mark = named.username.removeprefix("admin~")

    assert len(mark) == 8
    assert nameless.username.startswith("user~")

    stranger = replace(ADA, subject="sub-3", username="x" * 128)
    assert len(door.arrivals.arrived(stranger).username) == 128
    for name in ("eve", *[f"eve~{found}" for found in _marks(replace(ADA, subject="sub-4"))]):
        door.people.create_user(name)
    with pytest.raises(NotPossible):
        door.arrivals.arrived(replace(ADA, subject="sub-4", username="eve"))


@pytest.mark.parametrize("name", ["admin", "Admin", "\uff41dmin", "me", "ME", UUID, UUID.upper()])
def test_nobody_is_called_what_stands_for_somebody_else(door: Door, name: str) -> None:
    assert door.arrivals.arrived(replace(ADA, username=name)).username.startswith(f"{name}~")


def test_nobody_is_called_by_the_id_of_somebody_else(door: Door) -> None:
    local = door.people.create_user("local")
    mallory = door.arrivals.arrived(replace(ADA, username=local.id))
    door.people.suspend(local.id)

    assert door.people.user(local.id) == replace(local, status="suspended")
    assert door.people.user(mallory.id) == mallory
    assert door.arrivals.arrived(replace(ADA, username=local.id, claimed_at=LATER)) == mallory


def _marks(person: ClaimedPerson) -> list[str]:
    from aibridge.server.arrivals import _names  # noqa: PLC0415  for the one test that takes all names

    return [name.partition("~")[2] for name in _names(person) if "~" in name]


def test_of_many_who_bring_the_same_person_at_once_one_makes_it(door: Door) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(door.arrivals.arrived(ADA).id)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(found) == 20
    assert len(set(found)) == 1


def test_of_many_who_want_the_same_name_at_once_one_gets_it(door: Door) -> None:
    found: list[str] = []

    def arrive(number: int) -> None:
        with closing(Arrivals(door.file, door.clock, new_id)) as arrivals:  # as in a process of its own
            found.append(arrivals.arrived(replace(ADA, subject=f"sub-{number % 5}")).username)

    threads = [threading.Thread(target=arrive, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(found) == 20
    assert len(set(found)) == 5
    assert found.count("ada") == 4
    assert all(name == "ada" or name.startswith("ada~") for name in found)


def test_a_suspended_user_stays_suspended_whatever_the_claims_say(door: Door) -> None:
    made = door.arrivals.arrived(ADA)
    door.people.suspend("ada")
    again = door.arrivals.arrived(replace(ADA, groups=("new",), claimed_at=LATER))

    assert again.status == "suspended"
    assert door.arrivals.user(made.id) == again
