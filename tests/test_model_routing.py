"""Which model a provider is asked for, in three dialects and both modes; and whom a request is refused for its model."""

import json
from typing import Any

import pytest

from aibridge import providers
from aibridge.actor import Actor
from aibridge.model_names import ModelRules
from tests.exchanges import EXCHANGES, MESSAGES, RESPONSES, Exchange
from tests.fakes.asgi import call, scope_of
from tests.fakes.client import Client
from tests.fakes.house import House, opened, path_of, problem
from tests.fakes.interceptions import KEY

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])


def mapping(names: dict[str, str]) -> dict[str, Any]:
    return {
        "providers": [
            providers.anthropic(base_url="http://anthropic.test", key=KEY, aliases=names),
            providers.openai(base_url="http://openai.test/v1", key=KEY, aliases=names),
        ]
    }


def body_of(exchange: Exchange, model: str, *, stream: bool) -> bytes:
    return json.dumps({**exchange.request, "model": model, "stream": stream}).encode()


async def ask(house: House, exchange: Exchange, model: str, *groups: str, stream: bool, path: str = "") -> Client:
    if stream:
        house.streams(exchange)
    else:
        house.answers(exchange)
    scope = scope_of(path or path_of(exchange), actor=Actor(id="1", username="ada", groups=groups))
    return await call(house.bridge, scope, body_of(exchange, model, stream=stream)).done()


@every_dialect
@both_modes
async def test_an_alias_is_asked_and_recorded_by_the_name_that_the_provider_knows(
    exchange: Exchange, stream: bool
) -> None:
    async with opened(**mapping({"fast": "real-model-1"})) as house:
        client = await ask(house, exchange, "fast", stream=stream)
        sent = json.loads(house.upstream.requests[0].body)
        (begun,) = house.recorder.kept.interceptions

        assert client.status == 200
        assert sent["model"] == "real-model-1"
        assert {name: sent[name] for name in exchange.request if name in sent and name != "model"}.items() >= {
            name: value for name, value in exchange.request.items() if name not in ("model", "metadata", "user")
        }.items()
        assert begun.model == "real-model-1"
        assert begun.metadata["requested_model"] == "fast"


@every_dialect
async def test_a_model_that_no_alias_names_goes_up_as_it_came(exchange: Exchange) -> None:
    async with opened(**mapping({"fast": "real-model-1"})) as house:
        await ask(house, exchange, "other", stream=False)
        (begun,) = house.recorder.kept.interceptions

        assert json.loads(house.upstream.requests[0].body)["model"] == "other"
        assert begun.model == "other"
        assert "requested_model" not in begun.metadata


@pytest.mark.parametrize(
    ("exchange", "path"),
    [(MESSAGES, "/anthropic/v1/messages/count_tokens"), (RESPONSES, "/openai/v1/responses/input_tokens")],
    ids=["count_tokens", "input_tokens"],
)
async def test_tokens_are_counted_for_the_model_that_is_asked(exchange: Exchange, path: str) -> None:
    async with opened(**mapping({"fast": "real-model-1"})) as house:
        await ask(house, exchange, "fast", stream=False, path=path)

        assert json.loads(house.upstream.requests[0].body)["model"] == "real-model-1"


@every_dialect
@both_modes
async def test_a_model_that_the_person_may_not_use_is_refused_and_the_refusal_recorded(
    exchange: Exchange, stream: bool
) -> None:
    rules = ModelRules({"interns": ["small-*"]})
    async with opened(models=rules) as house:
        refused = await ask(house, exchange, "large-1", "interns", stream=stream)
        end = house.recorder.end

        assert refused.status == 403
        assert problem(refused) == "the model 'large-1' is not among those that you may use here"
        assert json.loads(refused.body)["error"]["type"] == "permission_error" or exchange is not MESSAGES
        assert end.state == "rejected"
        assert house.upstream.requests == []


@every_dialect
async def test_others_may_use_it_and_so_may_a_list_allow_it(exchange: Exchange) -> None:
    rules = ModelRules({"interns": ["small-*"]})
    async with opened(models=rules) as house:
        assert (await ask(house, exchange, "large-1", stream=False)).status == 200
        assert (await ask(house, exchange, "small-1", "interns", stream=False)).status == 200


async def test_the_list_is_of_the_names_that_providers_are_asked_by() -> None:
    async with opened(models=ModelRules(["small-*"]), **mapping({"fast": "small-1", "small-large": "large"})) as house:
        allowed = await ask(house, MESSAGES, "fast", stream=False)
        refused = await ask(house, MESSAGES, "small-large", stream=False)

        assert (allowed.status, refused.status) == (200, 403)


async def test_another_list_holds_from_the_next_request_on() -> None:
    async with opened(models=ModelRules(["small"])) as house:
        house.bridge.reconfigure(models=None)
        client = await ask(house, MESSAGES, "large", stream=False)

        assert client.status == 200
