"""Who gets in, with which header, and what is left of the request afterwards."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aibridge.clock import new_id
from aibridge.errors import Problem, Refused
from aibridge.ports import Identity
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.auth.bad_tokens import BadTokens
from aibridge.server.auth.key_format import make
from aibridge.server.people import People
from tests.durable import SetClock, database

pytestmark = pytest.mark.anyio

NEVER_MADE = make(new_id(), bytes(32))


@dataclass
class Desk:
    """An authenticator with one user and one key."""

    people: People
    clock: SetClock
    authenticator: GatewayAuthenticator
    key: str
    key_id: str
    user_id: str

    async def ask(
        self, *headers: tuple[str, str], query: str = "", address: str = "10.0.0.1", path: str = "/anthropic/v1/models"
    ) -> Identity:
        scope: dict[str, Any] = {
            "type": "http",
            "headers": [(name.encode(), value.replace("KEY", self.key).encode()) for name, value in headers],
            "query_string": query.replace("KEY", self.key).encode(),
            "raw_path": path.replace("KEY", self.key).encode(),
            "client": (address, 1234),
        }
        return await self.authenticator.authenticate(scope)

    async def refused(self, *headers: tuple[str, str], address: str = "10.0.0.1") -> Problem:
        with pytest.raises(Refused) as raised:
            await self.ask(*headers, address=address)
        return raised.value.problem


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = SetClock()
    with closing(People(database(tmp_path), hash_key=bytes(32), clock=clock, ids=new_id)) as people:
        user = people.create_user("alice", email="alice@example.org", groups=["staff"])
        made = people.create_key("alice", name="laptop")
        authenticator = GatewayAuthenticator(people, BadTokens(), clock)
        yield Desk(people, clock, authenticator, made.secret, made.key.id, user.id)


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        # Ours in any credential header; once it is, all of them are dropped.
        ([("authorization", "Bearer KEY")], []),
        ([("Authorization", "bearer   KEY")], []),
        ([("authorization", "KEY")], []),
        ([("x-api-key", "KEY")], []),
        ([("api-key", "KEY")], []),
        ([("x-goog-api-key", "KEY")], []),
        ([("authorization", "Bearer KEY"), ("x-api-key", "sk-forgotten")], []),
        ([("authorization", "Bearer sk-forgotten"), ("x-api-key", "KEY")], []),
        ([("authorization", f"Bearer {NEVER_MADE}"), ("x-api-key", "KEY")], []),
        ([("authorization", ""), ("x-api-key", "KEY")], []),
        # The gateway's own header decides alone, and leaves the others to the provider.
        ([("x-aibridge-token", "KEY")], []),
        ([("X-AIBridge-Token", "Bearer KEY")], []),
        ([("x-coder-ai-governance-token", "KEY")], []),
        ([("x-aibridge-token", "KEY"), ("authorization", "Bearer sk")], [("authorization", "Bearer sk")]),
        ([("x-aibridge-token", "KEY"), ("x-api-key", "sk")], [("x-api-key", "sk")]),
        ([("x-aibridge-token", "KEY"), ("x-api-key", "KEY")], []),
        # Keys of ours go nowhere, wherever they stand and whether they live.
        ([("x-api-key", "KEY"), ("x-trace", f"a {NEVER_MADE} b")], [("x-trace", "a   b")]),
        ([("x-api-key", "KEY"), ("cookie", "k=KEY")], [("cookie", "k=")]),
        ([("x-api-key", "KEY"), ("accept", "*/*")], [("accept", "*/*")]),
    ],
)
async def test_a_key_lets_in_and_nothing_of_ours_is_left(
    desk: Desk, headers: list[tuple[str, str]], left: list[tuple[str, str]]
) -> None:
    identity = await desk.ask(*headers, query="beta=true&key=KEY")

    assert identity.actor.id == desk.user_id
    assert identity.actor.described() == {"username": "alice", "email": "alice@example.org"}
    assert identity.actor.groups == ("staff",)
    assert identity.headers == [(name.encode(), value.encode()) for name, value in left]
    assert identity.query == b"beta=true"
    assert identity.credential_id == desk.key_id


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer KEY"), ("Authorization", "Bearer KEY")],
        [("x-api-key", "KEY"), ("x-api-key", "sk")],
        [("x-api-key", "KEY"), ("authorization", "a"), ("authorization", "b")],
        [("x-aibridge-token", "KEY"), ("x-aibridge-token", "KEY")],
        [("x-aibridge-token", "KEY"), ("x-coder-ai-governance-token", "KEY")],
        [("x-aibridge-token", "KEY"), ("authorization", "a"), ("authorization", "b")],
    ],
)
async def test_a_credential_header_that_is_there_twice_is_refused(desk: Desk, headers: list[tuple[str, str]]) -> None:
    problem = await desk.refused(*headers)

    assert problem.status == 400
    assert "more than once" in problem.message


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "no gateway key"),
        ([("authorization", "")], "no gateway key"),
        ([("authorization", "Bearer ")], "no gateway key"),
        ([("accept", "KEY")], "no gateway key"),
        ([("authorization", "Bearer sk-ant-of-the-user")], "this is no key of this gateway"),
        ([("authorization", f"Bearer {NEVER_MADE}")], "this is no key of this gateway"),
        ([("x-api-key", "KEYx")], "this is no key of this gateway"),
        ([("authorization", "Basic KEY")], "this is no key of this gateway"),
        ([("x-api-key", "\N{SNOWMAN}")], "this is no key of this gateway"),
        # No fallback from the header that decides alone.
        ([("x-aibridge-token", NEVER_MADE), ("authorization", "Bearer KEY")], "this is no key of this gateway"),
        ([("x-aibridge-token", "sk"), ("x-api-key", "KEY")], "this is no key of this gateway"),
    ],
)
async def test_without_a_key_nobody_gets_in_and_is_told_what_to_do(
    desk: Desk, headers: list[tuple[str, str]], says: str
) -> None:
    problem = await desk.refused(*headers)

    assert problem.status == 401
    assert problem.message.startswith(says)
    assert dict(problem.headers) == {b"www-authenticate": b'Bearer realm="aibridge"', b"x-should-retry": b"false"}
    assert desk.key not in problem.message


async def test_what_was_revoked_opens_nothing_from_the_next_request_on(desk: Desk) -> None:
    await desk.ask(("x-api-key", "KEY"))
    desk.people.revoke_key(desk.key_id)

    problem = await desk.refused(("x-api-key", "KEY"), ("authorization", "Bearer sk"))

    assert (problem.status, "has been revoked" in problem.message) == (401, True)


async def test_a_suspended_user_is_out_until_activated(desk: Desk) -> None:
    desk.people.suspend("alice")
    problem = await desk.refused(("x-api-key", "KEY"))
    desk.people.activate("alice")

    assert (problem.status, "suspended" in problem.message) == (401, True)
    assert (await desk.ask(("x-api-key", "KEY"))).actor.id == desk.user_id


async def test_a_key_opens_nothing_once_its_time_has_come(desk: Desk) -> None:
    short = desk.people.create_key("alice", name="short", life=timedelta(hours=1)).secret
    await desk.ask(("x-api-key", short))
    desk.clock.advance(3600)

    problem = await desk.refused(("x-api-key", short))

    assert (problem.status, "has expired" in problem.message) == (401, True)


async def test_a_key_without_the_scope_may_not_ask_models(desk: Desk) -> None:
    reader = desk.people.create_key("alice", name="reader", scopes=["read:own"]).secret

    problem = await desk.refused(("x-api-key", reader))

    assert (problem.status, "`use`" in problem.message) == (403, True)


async def test_too_many_bad_keys_from_an_address_are_told_to_wait_and_good_ones_never_are(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(40):
        assert (await desk.refused()).status == 401  # a missing key does not count
    for _ in range(30):
        assert (await desk.refused(("x-api-key", NEVER_MADE))).status == 401
    assert caplog.records == []
    problem = await desk.refused(("x-api-key", NEVER_MADE))
    await desk.refused(("x-api-key", NEVER_MADE))
    elsewhere = await desk.refused(("x-api-key", NEVER_MADE), address="10.0.0.2")
    desk.clock.advance(60)
    later = await desk.refused(("x-api-key", NEVER_MADE))

    assert problem.status == 429
    assert dict(problem.headers) == {b"retry-after": b"60", b"x-should-retry": b"false"}
    assert (elsewhere.status, later.status) == (401, 401)
    assert [record.message for record in caplog.records] == ["too many bad keys or tokens from one address"]
    assert (await desk.ask(("x-api-key", "KEY"))).actor.id == desk.user_id


@pytest.mark.parametrize(
    "path", ["/anthropic/v1/models/KEY", "/openai/v1/responses/xKEYy/cancel", "/a%2FKEY", "/KEY%41"]
)
async def test_a_key_in_the_path_goes_no_further_and_is_not_said_again(desk: Desk, path: str) -> None:
    with pytest.raises(Refused) as raised:
        await desk.ask(("authorization", "Bearer KEY"), path=path)

    assert raised.value.problem.status == 400
    assert "aib_" not in raised.value.problem.message


async def test_an_encoded_key_in_the_path_is_one_too(desk: Desk) -> None:
    with pytest.raises(Refused) as raised:
        await desk.ask(("authorization", "Bearer KEY"), path=f"/anthropic/v1/models/%61ib_{desk.key[4:]}")

    assert raised.value.problem.status == 400
