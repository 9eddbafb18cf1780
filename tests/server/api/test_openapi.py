"""The document describes the API that there is: every route of it, and every answer in its shape."""

from typing import Any

import msgspec
import pytest
from starlette.routing import Route

from aibridge.server.api.app import MOUNTS
from aibridge.server.api.openapi import document
from tests.server.api.conftest import Api

pytestmark = pytest.mark.anyio


async def test_every_route_is_described_and_everything_described_is_a_route(api: Api) -> None:
    app: Any = api.client._transport.app  # type: ignore[attr-defined]  # of the test's own transport
    routes = {route.path for route in app.routes if isinstance(route, Route)}

    assert routes - {"/openapi.json"} == {f"{mount}{path}" for mount in MOUNTS for path in document()["paths"]}


async def test_it_is_served_to_everybody(api: Api) -> None:
    answer = await api.client.get("/openapi.json")

    assert answer.json() == msgspec.json.decode(msgspec.json.encode(document()))


@pytest.mark.parametrize("limit", ["1", "100"], ids=["a first page", "all of them"])
async def test_answers_have_the_described_shape(api: Api, limit: str) -> None:
    answer = await api.get("/interceptions", api.key("alice"), limit=limit)

    def checked(value: Any, schema: dict[str, Any], at: str) -> None:
        if "$ref" in schema:
            schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for choice in [
            choice for choice in schema.get("anyOf", []) if choice.get("type") != "null" and value is not None
        ]:
            checked(value, choice, at)
        if schema.get("type") == "object" and "properties" in schema:
            assert set(schema["required"]) <= value.keys() <= schema["properties"].keys(), at
            for name, member in value.items():
                checked(member, schema["properties"][name], f"{at}.{name}")
        if schema.get("type") == "array":
            assert isinstance(value, list)
            for item in value:
                checked(item, schema["items"], f"{at}[]")

    [page] = [
        answered["content"]["application/json"]["schema"]
        for status, answered in document()["paths"]["/interceptions"]["get"]["responses"].items()
        if status == "200"
    ]
    checked(answer.json(), page, "page")
    assert answer.json()["results"]
    assert ("next_after_id" in answer.json()) is (limit == "1")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_refused(api: Api, method: str) -> None:
    answer = await api.client.request(method, "/api/v2/aibridge/interceptions")

    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/api/v2/aibridge/sessions", "/metrics", "/api/v3/anything", "/openapi.json/"])
async def test_other_pages_are_not_there(api: Api, path: str) -> None:
    answer = await api.client.get(path, follow_redirects=False)

    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no such page")
