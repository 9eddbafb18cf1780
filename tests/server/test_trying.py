"""Trying a provider: what is asked, and in which words the answer is told."""

import json
from typing import Any

import pytest

from aibridge import providers
from aibridge.errors import UpstreamUnreachable
from aibridge.providers import Provider
from aibridge.providers.bedrock import bedrock
from aibridge.server.persons import NotPossible
from aibridge.server.trying import Trial, trials
from tests.fakes.cloud import PlainProof
from tests.fakes.journal import Journal
from tests.fakes.upstream import JSON, Scripted, ScriptedUpstream

pytestmark = pytest.mark.anyio

KEYS = ["sk-one-0123456789abcdef-one", "sk-two-0123456789abcdef-two"]
LIST = b'{"data":[{"id":"a"},{"id":"b"}],"has_more":true}'


async def tried(
    provider: Provider, *answers: Scripted, model: str | None = None
) -> tuple[list[Trial], ScriptedUpstream]:
    upstream = ScriptedUpstream(Journal(), list(answers))
    return await trials(provider, upstream, model=model), upstream


def answer(status: int = 200, body: bytes = LIST, **headers: str) -> Scripted:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Scripted((body,), status, (JSON, *pairs))


async def test_each_key_asks_for_the_models() -> None:
    found, upstream = await tried(providers.anthropic(keys=KEYS), answer(), answer(401))

    assert [(trial.key, trial.works, trial.words) for trial in found] == [
        ("sk-o...-one", True, "answers, with 2 or more models"),
        ("sk-t...-two", False, "refuses the key (HTTP 401)"),
    ]
    assert [(one.method, one.url) for one in upstream.requests] == [("GET", "https://api.anthropic.com/v1/models")] * 2
    assert [dict(one.headers)[b"x-api-key"].decode() for one in upstream.requests] == KEYS
    assert dict(upstream.requests[0].headers)[b"anthropic-version"] == b"2023-06-01"


@pytest.mark.parametrize(
    ("scripted", "words"),
    [
        (answer(429, retry_after="17"), "limits the key for another 17 s (HTTP 429)"),
        (answer(429), "limits the key (HTTP 429)"),
        (answer(403), "refuses the key (HTTP 403)"),
        (answer(404), "has no list of models at this address (HTTP 404): is base_url right? else name a --model"),
        (answer(302), "leads elsewhere, which is not followed (HTTP 302): is base_url right?"),
        (answer(503), "is in trouble (HTTP 503)"),
        (answer(418), "refuses the request (HTTP 418)"),
        (answer(200, b"<html>"), "answers with something that is no list of models: is base_url right?"),
        (answer(200, b'{"data":{}}'), "answers with something that is no list of models: is base_url right?"),
        (Scripted(before=(UpstreamUnreachable("the provider's host name cannot be resolved"),)),
         "the provider's host name cannot be resolved"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_in_words(scripted: Scripted, words: str) -> None:
    [trial], _ = await tried(providers.openai(key=KEYS[0]), scripted)

    assert (trial.works, trial.words) == (False, words)


@pytest.mark.parametrize(
    ("scripted", "works", "words"),
    [
        (answer(200, b"{}"), True, "answers as opus"),
        (answer(403), False, "refuses the credentials, or what they may do (a message through the gateway says why)"),
        (answer(404), False, "does not know the model opus, or the address is wrong (HTTP 404)"),
        (answer(503), False, "is in trouble (HTTP 503)"),
    ],
)
async def test_a_provider_on_a_cloud_is_asked_for_a_message(scripted: Scripted, works: bool, words: str) -> None:
    on_aws = bedrock(credentials=PlainProof(), region="us-east-1", models={"opus": "us.opus"})
    [trial], upstream = await tried(on_aws, scripted)

    assert (trial.key, trial.works, trial.words) == ("AKIA...MPLE", works, words)
    assert [one.url for one in upstream.requests] == [f"{on_aws.base_url}/model/us.opus/invoke"]


@pytest.mark.parametrize(
    ("provider", "path", "limit"),
    [
        (providers.anthropic(key=KEYS[0]), "/v1/messages", {"max_tokens": 1}),
        (providers.openai(key=KEYS[0]), "/v1/chat/completions", {"max_completion_tokens": 16}),
    ],
    ids=["anthropic", "openai"],
)
async def test_a_model_that_is_named_is_asked_for_a_word(provider: Provider, path: str, limit: dict[str, Any]) -> None:
    [trial], upstream = await tried(provider, answer(200, b"{}"), model="some-model")
    [lost], _ = await tried(provider, answer(404), model="some-model")

    assert (trial.works, trial.words) == (True, "answers as some-model")
    assert lost.words == "does not know the model some-model, or the address is wrong (HTTP 404)"
    [sent] = upstream.requests
    assert (sent.method, sent.url.endswith(path)) == ("POST", True)
    assert json.loads(sent.body) == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "Hi"}],
        **limit,
    }


@pytest.mark.parametrize("provider", [providers.anthropic(), providers.openai(), providers.copilot()])
async def test_without_a_key_it_is_enough_that_somebody_answers(provider: Provider) -> None:
    [trial], upstream = await tried(provider, answer(401))
    [silent], _ = await tried(provider, answer(503))

    assert (trial.key, trial.works) == (None, True)
    assert trial.words == "answers; it has no key here, each caller brings their own"
    assert (silent.works, silent.words) == (False, "is in trouble (HTTP 503)")
    assert not {b"authorization", b"x-api-key"} & {name for name, _ in upstream.requests[0].headers}


async def test_a_provider_without_a_list_needs_the_name_of_a_model() -> None:
    copilot = providers.copilot()
    without = Provider(type="openai", name="bare", base_url="http://x", rules=copilot.rules[:3], errors=copilot.errors)

    with pytest.raises(NotPossible, match="has no list of models: name one with --model"):
        await trials(without, ScriptedUpstream(Journal()))
