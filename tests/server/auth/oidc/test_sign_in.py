"""Who gets in with a token, with what rights, and what is left of the request: over a real issuer and a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from aibridge.clock import new_id
from aibridge.errors import Problem, Refused
from aibridge.ports import Identity
from aibridge.server.arrivals import Arrivals
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.auth.bad_tokens import PER_MINUTE, BadTokens
from aibridge.server.auth.caller_tokens import CallerTokens
from aibridge.server.auth.denials import Denied
from aibridge.server.auth.oidc.issuer import AGAIN, Issuer
from aibridge.server.auth.oidc.rules import OidcRules
from aibridge.server.auth.oidc.sign_in import TokenSignIn
from aibridge.server.people import People
from aibridge.server.persons import SignedIn
from tests.durable import SetClock, database
from tests.fakes.oidc import OidcIssuer, serving_oidc, signing_key

pytestmark = pytest.mark.anyio


@dataclass
class Desk:
    """An authenticator that takes tokens and keys, with one local user and key."""

    provider: OidcIssuer
    people: People
    clock: SetClock
    tokens: TokenSignIn
    callers: CallerTokens
    authenticator: GatewayAuthenticator
    key: str

    def token(self, subject: str = "sub-ada", **more: Any) -> str:
        return self.provider.token(subject, at=self.clock.now().timestamp(), **more)

    async def ask(
        self, *headers: tuple[str, str], query: str = "", path: str = "/", address: str = "10.0.0.1"
    ) -> Identity:
        scope: dict[str, Any] = {
            "type": "http",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
            "query_string": query.encode(),
            "raw_path": path.encode(),
            "client": (address, 1234),
        }
        return await self.authenticator.authenticate(scope)

    async def with_token(self, token: str) -> Identity:
        return await self.ask(("authorization", f"Bearer {token}"))

    async def refused(self, *headers: tuple[str, str], **more: Any) -> Problem:
        with pytest.raises(Refused) as raised:
            await self.ask(*headers, **more)
        return raised.value.problem


@asynccontextmanager
async def made(folder: Path, *, keys: bool = True, tokens_first: bool = False, **rules: Any) -> AsyncIterator[Desk]:
    clock, file = SetClock(), database(folder)
    async with serving_oidc() as provider:
        said = OidcRules(issuer=provider.url, audiences=("aibridge",), allow_private=True, **rules)
        with (
            closing(People(file, hash_key=bytes(32), clock=clock, ids=new_id)) as people,
            closing(Arrivals(file, clock, new_id)) as arrivals,
        ):
            people.create_user("local")
            key = people.create_key("local", name="laptop").secret
            async with Issuer(said, clock) as issuer:
                callers = CallerTokens(clock)
                tokens = TokenSignIn(issuer, arrivals, clock, callers)
                authenticator = GatewayAuthenticator(
                    people, BadTokens(), clock, tokens, keys=keys, tokens_first=tokens_first
                )
                yield Desk(provider, people, clock, tokens, callers, authenticator, key)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with made(tmp_path) as desk:
        yield desk


PLACES = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-aibridge-token", "x-coder-ai-governance-token"]


@pytest.mark.parametrize("place", PLACES)
async def test_a_token_lets_in_wherever_a_key_does_and_is_not_left(desk: Desk, place: str) -> None:
    token = desk.token(groups=["staff"])
    identity = await desk.ask((place, token), ("cookie", f"t={token}; b"), query=f"a=1&t={token}")

    assert identity.actor.described() == {"username": "ada", "email": "ada@example.org"}
    assert identity.actor.groups == ("staff",)
    assert identity.headers == [(b"cookie", b"t= ; b")]
    assert identity.query == b"a=1"
    assert (await desk.ask((place, f"Bearer {token}"))).credential_id == identity.credential_id


async def test_the_same_person_is_the_same_actor_and_another_is_another(desk: Desk) -> None:
    first = await desk.with_token(desk.token())
    desk.clock.advance(5)
    again = await desk.with_token(desk.token())
    other = await desk.with_token(desk.token("sub-bob"))

    assert first.actor == again.actor
    assert other.actor.id != first.actor.id
    assert first.credential_id is not None
    assert first.credential_id.startswith(f"oidc-{first.actor.id}-")


async def test_a_key_still_lets_in_beside_and_neither_is_taken_for_the_other(desk: Desk) -> None:
    assert (await desk.ask(("x-api-key", desk.key))).actor.username == "local"
    assert desk.provider.asked["keys"] == 0
    assert (await desk.ask(("x-api-key", f"{desk.key}0"), ("authorization", desk.token()))).actor.username == "ada"
    assert (await desk.ask(("authorization", desk.token(life=-100)), ("x-api-key", desk.key))).actor.username == "local"


@pytest.mark.parametrize(("tokens_first", "name"), [(False, "local"), (True, "ada")])
@pytest.mark.parametrize("places", [("authorization", "x-api-key"), ("x-api-key", "authorization")])
async def test_the_first_mode_counts_where_there_is_one_of_each(
    tmp_path: Path, tokens_first: bool, name: str, places: tuple[str, str]
) -> None:
    async with made(tmp_path, tokens_first=tokens_first) as desk:
        identity = await desk.ask((places[0], desk.key), (places[1], desk.token()))

    assert identity.actor.username == name
    assert identity.headers == []


async def test_where_keys_are_tried_first_a_good_one_lets_in_while_nobody_can_verify_the_token(desk: Desk) -> None:
    desk.provider.is_down = True
    identity = await desk.ask(("authorization", f"Bearer {desk.token()}"), ("x-api-key", desk.key))

    assert identity.actor.username == "local"
    assert identity.headers == []


async def test_the_token_of_another_issuer_is_the_callers_own_beside_the_gateways_header(desk: Desk) -> None:
    foreign = desk.provider.signed(desk.provider.claims(iss="https://auth.example"))
    own = ("x-aibridge-token", desk.token())
    beside = await desk.ask(own, ("authorization", f"Bearer {foreign}"))
    alone = await desk.refused(("authorization", f"Bearer {foreign}"))
    with_key = await desk.ask(("authorization", f"Bearer {foreign}"), ("x-api-key", desk.key))

    assert beside.headers == [(b"authorization", b"Bearer " + foreign.encode())]
    assert (alone.status, with_key.headers) == (401, [])
    assert "no token of the identity provider" in alone.message


async def test_our_token_goes_upstream_in_no_header_even_a_dead_one_or_twice(desk: Desk) -> None:
    dead = desk.token(life=-3600)
    own = ("x-aibridge-token", desk.token())
    left = await desk.ask(own, ("authorization", f"Bearer {dead}"), ("x-trace", f"a {dead} b"))

    assert left.headers == [(b"x-trace", b"a   b")]
    assert (await desk.refused(own, own)).status == 400
    assert (await desk.refused(("x-api-key", own[1]), ("x-api-key", "sk"))).status == 400
    assert (await desk.refused(own, path=f"/anthropic/{dead}/v1")).status == 400


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"aud": "other"}, "another audience"),
        ({"life": -60}, "expired"),
        ({"nbf": 9e9}, "not good yet"),
        ({"sub": None}, "whose"),
    ],
)
async def test_a_bad_token_is_refused_in_words(desk: Desk, more: dict[str, Any], why: str) -> None:
    problem = await desk.refused(("authorization", f"Bearer {desk.token(**more)}"))

    assert problem.status == 401
    assert why in problem.message
    assert (b"x-should-retry", b"false") in problem.headers


async def test_the_gateways_header_alone_decides(desk: Desk) -> None:
    bad = desk.token(aud="other")

    assert (await desk.refused(("x-aibridge-token", bad), ("authorization", desk.token()))).status == 401


async def test_too_many_bad_tokens_of_an_address_are_a_429_and_a_good_one_still_lets_in(desk: Desk) -> None:
    bad = ("authorization", f"Bearer {desk.token(aud='other')}")
    statuses = [(await desk.refused(bad)).status for _ in range(PER_MINUTE + 1)]

    assert statuses == [401] * PER_MINUTE + [429]
    assert (await desk.with_token(desk.token())).actor.username == "ada"


async def test_tokens_that_have_ended_are_no_guesses_however_many_share_an_address(desk: Desk) -> None:
    ended = [("authorization", desk.token(f"sub-{number}", life=-100)) for number in range(PER_MINUTE + 5)]
    problems = [await desk.refused(each) for each in ended]
    desk.clock.advance(AGAIN)  # the issuer may be asked for a newer key of that name
    forged = await desk.refused(("authorization", f"{ended[0][1][:-8]}AAAAAAAA"))

    assert {problem.status for problem in problems} == {401}
    assert all("has expired" in problem.message for problem in problems)
    assert forged.status == 401
    assert "expired" not in forged.message


async def test_a_token_is_good_until_it_ends_and_no_longer(desk: Desk) -> None:
    token = desk.token(life=100)
    first = await desk.with_token(token)
    desk.clock.advance(100 + 29)
    again = await desk.with_token(token)
    desk.clock.advance(1)
    ended = await desk.refused(("authorization", token))

    assert first == again
    assert "expired" in ended.message
    assert "expired" in (await desk.refused(("authorization", token))).message


async def test_a_verified_token_costs_no_look_at_the_issuer_and_memory_is_bounded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge.server.auth.oidc.sign_in._REMEMBERED", 3)
    tokens = [desk.token(jti=str(number)) for number in range(10)]
    for token in (*tokens, *tokens):
        await desk.with_token(token)

    assert len(desk.tokens._held) == 3
    assert desk.provider.asked["keys"] == 1
    assert not any(token in repr(desk.tokens._held) for token in tokens)


async def test_rotation_holds_at_once_both_ways(desk: Desk) -> None:
    old = desk.token()
    await desk.with_token(old)
    desk.clock.advance(AGAIN)
    desk.provider.rotate("key-2")
    assert (await desk.with_token(desk.token())).actor.username == "ada"
    desk.clock.advance(AGAIN)

    assert (await desk.refused(("authorization", old))).status == 401


async def test_a_key_of_the_same_name_that_was_replaced_is_found(desk: Desk) -> None:
    await desk.with_token(desk.token())
    desk.clock.advance(AGAIN)
    desk.provider.rotate("key-1")

    assert (await desk.with_token(desk.token())).actor.username == "ada"
    desk.clock.advance(AGAIN)
    forged = desk.provider.signed(desk.provider.claims(at=desk.clock.now().timestamp()), key=signing_key())
    assert (await desk.refused(("authorization", forged))).status == 401


async def test_while_the_issuer_is_down_who_is_known_comes_in_and_who_is_not_is_told_to_come_back(desk: Desk) -> None:
    desk.provider.is_down = True
    cold = await desk.refused(("authorization", desk.token()))
    desk.provider.is_down = False
    desk.clock.advance(AGAIN)
    await desk.with_token(desk.token())
    desk.provider.is_down = True
    desk.clock.advance(3600)
    known = await desk.with_token(desk.token())
    desk.provider.rotate("key-2")
    unknown = await desk.refused(("authorization", desk.token()))

    assert known.actor.username == "ada"
    for problem in (cold, unknown):
        assert problem.status == 503
        assert any(name == b"retry-after" for name, _ in problem.headers)


async def test_a_flood_of_tokens_with_made_up_keys_does_not_reach_the_issuer(desk: Desk) -> None:
    await desk.with_token(desk.token())
    desk.clock.advance(AGAIN)
    evil = signing_key()
    claims = desk.provider.claims(at=desk.clock.now().timestamp())
    flood = [desk.provider.signed(claims, key=evil, header={"kid": f"made-up-{number}"}) for number in range(200)]
    answers = await asyncio.gather(*(desk.refused(("authorization", token)) for token in flood))

    assert {problem.status for problem in answers} <= {401, 429, 503}
    assert desk.provider.asked["keys"] == 2


async def test_who_is_suspended_is_out_with_the_next_request_and_who_is_deleted_arrives_anew(desk: Desk) -> None:
    token = desk.token()
    first = await desk.with_token(token)
    assert first.credential_id is not None
    desk.people.suspend("ada")
    suspended = await desk.refused(("authorization", token))
    standing = desk.authenticator.standing(first.credential_id)
    desk.people.activate("ada")

    assert "suspended" in suspended.message
    assert isinstance(standing, Denied)
    assert (await desk.with_token(token)).actor == first.actor


async def test_what_let_somebody_in_stands_until_it_ends(desk: Desk) -> None:
    identity = await desk.with_token(desk.token(life=60))
    assert identity.credential_id is not None
    before = desk.authenticator.standing(identity.credential_id)
    desk.clock.advance(100)
    after = desk.authenticator.standing(identity.credential_id)

    assert isinstance(before, SignedIn)
    assert isinstance(after, Denied)
    assert "expired" in after.words
    assert isinstance(desk.authenticator.standing(f"oidc-{new_id()}-99999999999"), Denied)


async def test_roles_and_groups_follow_the_newest_token_for_older_ones_too(tmp_path: Path) -> None:
    async with made(tmp_path, admin_groups=frozenset({"root"}), required_groups=frozenset({"staff", "root"})) as desk:
        old = desk.token(groups=["root"])
        scope = {"headers": [(b"authorization", old.encode())], "client": ("10.0.0.1", 1)}
        before, _ = await desk.authenticator.sign_in(scope)
        desk.clock.advance(5)
        await desk.with_token(desk.token(groups=["staff"]))
        after, _ = await desk.authenticator.sign_in(scope)
        desk.clock.advance(5)
        outside = await desk.refused(("authorization", desk.token(groups=[])))
        old_one = await desk.refused(("authorization", old))

    assert "admin" in before.scopes
    assert after.scopes == ("use", "read:own")
    assert (outside.status, old_one.status) == (403, 403)


async def test_whom_the_configuration_made_an_admin_is_none_without_it(tmp_path: Path) -> None:
    async with made(tmp_path, admin_groups=frozenset({"root"})) as desk:
        token = desk.token(groups=["root"])
        scope = {"headers": [(b"authorization", token.encode())], "client": ("10.0.0.1", 1)}
        before, _ = await desk.authenticator.sign_in(scope)
        desk.tokens.issuer.rules = replace(desk.tokens.issuer.rules, admin_groups=frozenset())
        desk.tokens._held.clear()  # as after a restart
        after, _ = await desk.authenticator.sign_in(scope)

    assert (before.user.role, after.user.role) == ("admin", "member")
    assert after.scopes == ("use", "read:own")


async def test_who_may_not_use_the_gateway_becomes_no_user_and_takes_nobodys_name(tmp_path: Path) -> None:
    async with made(tmp_path, required_groups=frozenset({"staff"})) as desk:
        guest = desk.token("sub-guest", preferred_username="ada", groups=["guests"])
        outside = await desk.refused(("authorization", guest))
        ada = await desk.with_token(desk.token(groups=["staff"]))
        users = [user.username for user in desk.people.list_users()]

    assert outside.status == 403
    assert "none of the groups" in outside.message
    assert ada.actor.username == "ada"
    assert users == ["ada", "local"]


async def test_where_keys_are_not_taken_none_lets_in_and_none_is_left(tmp_path: Path) -> None:
    async with made(tmp_path, keys=False) as desk:
        problem = await desk.refused(("authorization", desk.key))
        identity = await desk.ask(("authorization", desk.token()), ("x-trace", desk.key))
        missing = await desk.refused()

    assert (problem.status, missing.status) == (401, 401)
    assert "keys are not taken here" in problem.message
    assert missing.message.startswith("no token")
    assert identity.headers == []


async def test_the_tokens_that_let_in_are_kept_for_servers_that_want_them(desk: Desk) -> None:
    token = desk.token(aud=["aibridge", "https://wiki.example/mcp"])
    identity = await desk.with_token(token)
    await desk.refused(("authorization", desk.token("sub-eve", aud="https://wiki.example/mcp")))
    found = desk.callers.of(identity.actor.id, "https://wiki.example/mcp")

    assert found is not None
    assert len(desk.callers) == 1


async def test_a_token_that_has_ended_goes_to_no_server_though_it_still_lets_in_here(desk: Desk) -> None:
    token = desk.token(life=100)
    identity = await desk.with_token(token)
    assert desk.callers.of(identity.actor.id, None) is not None
    desk.clock.advance(101)

    assert await desk.with_token(token) == identity
    assert desk.callers.of(identity.actor.id, None) is None
