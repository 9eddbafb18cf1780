"""Who sees whose interceptions, and how they are asked for."""

from typing import Any

import pytest

from aibridge.server.persons import Role, Scope
from tests.server.api.conftest import Api

pytestmark = pytest.mark.anyio

ALL = ["alice", "bob"]


@pytest.mark.parametrize(
    ("user", "role", "scopes", "sees"),
    [
        ("alice", "member", ["use", "read:own"], ["alice"]),
        ("alice", "member", ["read:own"], ["alice"]),
        # A key is worth no more than its owner, and an owner no more than the key.
        ("alice", "member", ["read:all"], ["alice"]),
        ("alice", "member", ["admin"], ["alice"]),
        ("auditor", "auditor", ["read:own"], []),
        ("auditor", "auditor", ["read:all"], ALL),
        ("auditor", "auditor", ["admin"], ALL),
        ("admin", "admin", ["use", "read:own"], []),
        ("admin", "admin", ["read:all"], ALL),
        ("admin", "admin", ["admin"], ALL),
    ],
)
async def test_members_see_their_own_and_auditors_and_admins_everybodys(
    api: Api, user: str, role: Role, scopes: list[Scope], sees: list[str]
) -> None:
    key = api.key(user, *scopes, role=role)

    listed = await api.listed(key)
    single = {name: (await api.get(f"/interceptions/{api.ids[name][0]}", key)).status_code for name in ALL}

    assert sorted(listed) == sorted(found for name in sees for found in api.ids[name])
    assert single == {name: 200 if name in sees else 404 for name in ALL}


@pytest.mark.parametrize("path", ["/interceptions", "/interceptions/ID"])
async def test_nobody_reads_without_a_key_or_with_one_that_may_only_ask_models(api: Api, path: str) -> None:
    path = path.replace("ID", api.ids["alice"][0])

    anonymous = await api.get(path)
    without_scope = await api.get(path, api.key("alice", "use"))

    assert (anonymous.status_code, without_scope.status_code) == (401, 403)
    assert anonymous.headers["www-authenticate"] == 'Bearer realm="aibridge"'
    assert "`read:own`" in without_scope.json()["detail"]


async def test_what_belongs_to_somebody_else_answers_like_what_does_not_exist(api: Api) -> None:
    key = api.key("alice")
    [theirs, nobodys] = [api.ids["bob"][0], "00000000-0000-7000-8000-000000000000"]

    answers = [await api.get(f"/interceptions/{wanted}", key) for wanted in (theirs, nobodys)]
    after = [(await api.get("/interceptions", key, after_id=wanted)) for wanted in (theirs, nobodys)]

    assert [a.json()["detail"].replace(theirs, nobodys) for a in answers] == [answers[1].json()["detail"]] * 2
    assert [answer.status_code for answer in (*answers, *after)] == [404, 404, 400, 400]
    assert [a.json()["detail"].replace(theirs, nobodys) for a in after] == [after[1].json()["detail"]] * 2
    assert await api.listed(key, initiator="bob") == []
    assert await api.listed(key, session="bob-1") == []


async def test_one_is_shown_with_everything_that_was_recorded(api: Api) -> None:
    [wanted] = api.ids["alice"][:1]

    answer = await api.get(f"/interceptions/{wanted}", api.key("alice"))
    found: dict[str, Any] = answer.json()

    assert found["id"] == wanted
    assert found["initiator"]["username"] is not None
    assert (found["provider"], found["model"], found["state"]) == ("anthropic", "model-0", "completed")
    assert found["started_at"] == "2026-11-20T12:00:00Z"
    assert found["user_prompts"][0]["prompt"] == "asked by alice"
    assert found["token_usages"][0]["extra"] == {"cache_ephemeral_5m_input": 100}
    assert found["token_usages"][0]["model"] == "model-that-answered"
    assert found["tool_usages"][0]["input"] == {"path": "a.py"}
    assert found["model_thoughts"][0]["source"] == "thinking"
    assert found["cost"] is None
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("parameters", "finds"),
    [
        ({}, [2, 1, 0]),
        ({"limit": "2"}, [2, 1]),
        ({"q": "model:model-1"}, [1]),
        ({"model": "model-1"}, [1]),
        ({"q": 'client:"Claude Code"', "session": "alice-2"}, [2]),
        ({"q": "me"}, [2, 1, 0]),
        ({"q": "initiator:me model:model-0"}, [0]),
        ({"q": "model:model-0 me"}, [0]),
        ({"initiator": "me"}, [2, 1, 0]),
        ({"initiator": "alice", "started_after": "2026-11-20T12:00:00.5Z"}, [2, 1]),
        ({"q": "started_before:2026-11-20T12:00:01Z"}, [0]),
        ({"q": "started_after:24h state:completed"}, [2, 1, 0]),
        ({"state": "open"}, []),
        ({"q": 'model:"not me here"'}, []),
    ],
)
async def test_questions_find_what_they_ask_for(api: Api, parameters: dict[str, str], finds: list[int]) -> None:
    assert await api.listed(api.key("alice"), **parameters) == [api.ids["alice"][number] for number in finds]


async def test_pages_follow_each_other_and_count_the_whole(api: Api) -> None:
    key = api.key("alice")
    first = (await api.get("/interceptions", key, limit="2")).json()
    second = (await api.get("/interceptions", key, limit="2", after_id=first["results"][-1]["id"])).json()

    assert (first["count"], second["count"]) == (3, 3)
    assert [found["id"] for found in first["results"] + second["results"]] == api.ids["alice"][::-1]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ("q=modle:x", "modle"),
        ("q=x", 'cannot read "x"'),
        ("modle=x", "there is no parameter modle"),
        ("limit=0", "limit must be a number from 1 to 1000"),
        ("limit=1001", "limit must be a number from 1 to 1000"),
        ("limit=ten", "limit must be a number from 1 to 1000"),
        ("limit=1&limit=2", "limit is there twice"),
        ("q=model:x&model=y", "model is there twice"),
        ("q=me%20me", "initiator is there twice"),
        ("state=gone", "there is no state gone"),
        ("started_after=yesterday", "yesterday is no time"),
        ("after_id=nothing", "there is no interception nothing"),
    ],
)
async def test_a_question_that_cannot_be_read_is_refused_as_a_problem(api: Api, parameters: str, says: str) -> None:
    answer = await api.get(f"/interceptions?{parameters}", api.key("alice"))

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() == {"type", "title", "status", "detail"}
    assert says in answer.json()["detail"]


async def test_a_failure_of_ours_tells_nothing(api: Api, tmp_path_factory: pytest.TempPathFactory) -> None:
    key = api.key("alice")
    with api.people._file.writing() as connection:
        connection.execute("ALTER TABLE aibridge_user_prompts RENAME TO gone")

    answer = await api.get("/interceptions", key)

    assert (answer.status_code, answer.json()["detail"]) == (503, "the database cannot be read at the moment")
