"""Where requests for OpenAI's models go at Azure, and what in them changes: nothing but the name of the model."""

from typing import Any

import pytest

from aibridge.errors import Header, InvalidRequest, Refused
from aibridge.ports import UpstreamRequest
from aibridge.providers import azure
from aibridge.providers.base import Provider
from aibridge.providers.credential import choose_credential

ENDPOINT = "https://ours.openai.azure.com"
DATED = "2024-10-21"
BODY = b'{"stream":true, "model":"gpt-5","messages":[1e400]}'


def resource(**settings: Any) -> Provider:
    return azure(**{"base_url": ENDPOINT, "key": "k" * 32, "deployments": {"gpt-5": "our-gpt-5"}, **settings})


def sent(provider: Provider, path: str, body: bytes = BODY, query: str = "") -> UpstreamRequest:
    assert provider.addressed is not None
    url = f"{provider.base_url}{path}{query}"
    return provider.addressed(UpstreamRequest("POST", url, [(b"x", b"y")], body, link=provider.link), path)


@pytest.mark.parametrize(
    ("version", "path", "query", "goes_to"),
    [
        (None, "/chat/completions", "", "/openai/v1/chat/completions"),
        (None, "/chat/completions", "?a=b&c", "/openai/v1/chat/completions?a=b&c"),
        (None, "/chat/completions", "?api-version=2020-01-01&a=b", "/openai/v1/chat/completions?a=b"),
        ("preview", "/responses", "", "/openai/v1/responses?api-version=preview"),
        (DATED, "/chat/completions", "", f"/openai/deployments/our-gpt-5/chat/completions?api-version={DATED}"),
        (
            DATED,
            "/chat/completions",
            "?x=1&API-Version=2020-01-01",
            f"/openai/deployments/our-gpt-5/chat/completions?x=1&api-version={DATED}",
        ),
        (DATED, "/responses", "", f"/openai/responses?api-version={DATED}"),
        (DATED, "/responses/resp_1/cancel", "", f"/openai/responses/resp_1/cancel?api-version={DATED}"),
        (DATED, "/models", "", f"/openai/models?api-version={DATED}"),
    ],
)
def test_each_api_has_its_addresses(version: str | None, path: str, query: str, goes_to: str) -> None:
    assert sent(resource(api_version=version), path, query=query).url == ENDPOINT + goes_to


@pytest.mark.parametrize("version", [None, DATED])
def test_the_model_becomes_the_deployment_and_every_other_byte_stays(version: str | None) -> None:
    provider = resource(api_version=version)

    assert sent(provider, "/chat/completions").body == BODY.replace(b'"gpt-5"', b'"our-gpt-5"')
    own = BODY.replace(b"gpt-5", b"a.deployment_of-theirs")
    assert sent(provider, "/chat/completions", own).body == own
    for unread in (b"", b"[1]", b'{"metadata":{"model":"gpt-5"}}', b'{"model":17}'):
        assert sent(provider, "/conversations", unread).body == unread


@pytest.mark.parametrize("model", [b"\\ud800", b"\xff"], ids=["half a surrogate pair", "no UTF-8"])
def test_a_model_that_is_no_text_is_the_clients_mistake_also_where_nobody_else_reads_it(model: bytes) -> None:
    with pytest.raises(InvalidRequest, match="model: the string is not valid Unicode"):
        sent(resource(), "/conversations", b'{"model":"' + model + b'"}')


@pytest.mark.parametrize(
    "model", ["..", "a/b", "a?b", "a#b", "a%2fb", "", "a b", "é", ".hidden", "x" * 129, "our-gpt-5/../../x"]
)
def test_a_model_never_leads_to_another_address(model: str) -> None:
    body = f'{{"model":"{model}"}}'.encode()

    with pytest.raises(InvalidRequest, match="no name that a deployment can have"):
        sent(resource(api_version=DATED), "/chat/completions", body)


@pytest.mark.parametrize("written", ["", "/", "/openai", "/openai/", "/openai/v1", "/openai/v1/"])
@pytest.mark.parametrize(("version", "path"), [(None, "/openai/v1"), (DATED, "/openai")])
def test_the_endpoint_may_be_written_with_its_path(written: str, version: str | None, path: str) -> None:
    assert resource(base_url=ENDPOINT + written, api_version=version).base_url == ENDPOINT + path


@pytest.mark.parametrize(
    ("headers", "kind", "header"),
    [
        ([], "centralized", (b"api-key", b"k" * 32)),
        ([(b"Api-Key", b"own")], "byok", (b"api-key", b"own")),
        ([(b"api-key", b"own"), (b"authorization", b"Bearer other")], "byok", (b"api-key", b"own")),
        ([(b"authorization", b"Bearer eyJ.of.entra")], "byok", (b"authorization", b"Bearer eyJ.of.entra")),
        ([(b"x-api-key", b"of another provider")], "centralized", (b"api-key", b"k" * 32)),
    ],
)
def test_the_credential_goes_out_where_azure_looks_for_it(headers: list[Header], kind: str, header: Header) -> None:
    chosen = choose_credential(resource(), headers)

    assert (chosen.kind, chosen.header) == (kind, header)


def test_ones_own_credential_follows_the_rules_of_all_providers() -> None:
    with pytest.raises(Refused, match="occurs more than once"):
        choose_credential(resource(), [(b"api-key", b"a"), (b"Api-Key", b"b")])
    with pytest.raises(Refused, match="does not take credentials of your own"):
        choose_credential(resource(allow_byok=False), [(b"api-key", b"a")])
    with pytest.raises(Refused, match="send yours as Api-Key or Authorization: Bearer"):
        choose_credential(resource(key=None), [])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"api_version": "2024"}, "api_version of provider 'azure': a date"),
        ({"api_version": "2024-10-21&x=y"}, "api_version"),
        ({"deployments": {"gpt-5": "../x"}}, "deployments of provider 'azure'"),
        ({"deployments": {"": "x"}}, "deployments"),
        ({"base_url": "ours.openai.azure.com"}, "base_url of provider 'azure'"),
    ],
)
def test_what_cannot_be_is_refused_when_the_provider_is_made(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        resource(**wrong)
