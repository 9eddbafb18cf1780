from collections.abc import Iterable
from typing import Any

import pytest

from aibridge.dialects.base import DialectName
from aibridge.providers.anthropic import anthropic
from aibridge.providers.copilot import copilot
from aibridge.providers.openai import openai
from aibridge.routes import PREFIXES, NoRoute, Route, RouteTable, raw_path_of, upstream_url

TABLE = RouteTable(
    [
        anthropic(),
        openai(),
        copilot(),
        openai(name="openai-eu", base_url="https://eu.example.com/openai/v1/"),
        anthropic(name="off", enabled=False),
    ]
)


def found(method: str, path: str) -> Route:
    route = TABLE.find(method, path.encode())
    assert route is not None
    return route


def refusal(method: str, path: bytes) -> NoRoute:
    with pytest.raises(NoRoute) as refused:
        TABLE.find(method, path)
    return refused.value


BRIDGED: list[tuple[str, str, DialectName]] = [
    ("anthropic", "/v1/messages", "messages"),
    ("openai", "/v1/chat/completions", "chat_completions"),
    ("openai", "/v1/responses", "responses"),
    ("openai", "/v1/responses/compact", "responses"),
    ("copilot", "/chat/completions", "chat_completions"),
    ("copilot", "/responses", "responses"),
    ("copilot", "/v1/messages", "messages"),
]
READ = ["GET", "HEAD"]
PASSED: list[tuple[str, str, list[str]]] = [
    ("anthropic", "/v1/models", READ),
    ("anthropic", "/v1/models/claude-opus-4-6", READ),
    ("anthropic", "/v1/messages/count_tokens", ["POST"]),
    ("anthropic", "/api/event_logging/v2/batch", ["POST"]),
    ("openai", "/v1/responses/resp_1", ["GET", "DELETE"]),
    ("openai", "/v1/responses/resp_1/input_items", ["GET", "DELETE", "POST"]),
    ("openai", "/v1/responses/resp_1/cancel", ["GET", "DELETE", "POST"]),
    ("openai", "/v1/responses/input_tokens", ["POST"]),
    ("openai", "/v1/conversations", ["POST"]),
    ("openai", "/v1/conversations/conv_1", ["GET", "POST", "DELETE"]),
    ("openai", "/v1/conversations/conv_1/items/msg_2", ["GET", "POST", "DELETE"]),
    ("openai", "/v1/models", READ),
    ("openai", "/v1/models/ft:gpt-4.1@x_y", READ),
    ("copilot", "/models", READ),
    ("copilot", "/models/session", [*READ, "POST"]),
    ("copilot", "/agents/swe/v1/jobs", [*READ, "POST", "PUT", "PATCH", "DELETE"]),
    ("copilot", "/mcp/", ["GET", "POST", "DELETE"]),
    ("copilot", "/mcp/x/readonly", ["GET", "POST", "DELETE"]),
    ("copilot", "/.well-known/oauth-protected-resource/mcp", READ),
    ("copilot", "/_ping", READ),
    ("copilot", "/auto", [*READ, "POST"]),
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"]
BASES = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",  # the table's /v1 is the one in the base URL
    "copilot": "https://api.individual.githubcopilot.com",
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("name", "path", "dialect"), BRIDGED)
def test_bridged_routes_take_post_and_say_so(name: str, path: str, dialect: DialectName, prefix: str) -> None:
    route = found("POST", f"{prefix}/{name}{path}")

    assert route.bridged
    assert (route.provider.name, route.template, route.params, route.errors.name) == (name, path, (), dialect)
    assert upstream_url(route, b"") == BASES[name] + path
    for method in set(METHODS) - {"POST"}:
        refused = refusal(method, f"{prefix}/{name}{path}".encode())
        assert (refused.problem.status, list(refused.problem.headers)) == (405, [(b"allow", b"POST")])
        assert refused.dialect is route.rule.dialect


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("name", "path", "methods"), PASSED)
def test_passthrough_routes_take_the_methods_that_the_resource_has(
    name: str, path: str, methods: Iterable[str], prefix: str
) -> None:
    for method in methods:
        route = found(method, f"{prefix}/{name}{path}")
        assert not route.bridged
        assert route.errors is route.provider.errors
        assert upstream_url(route, b"") == BASES[name] + path
    for method in set(METHODS) - set(methods):
        refused = refusal(method, f"{prefix}/{name}{path}".encode())
        allow = ", ".join(sorted(methods)).encode()
        assert (refused.problem.status, list(refused.problem.headers)) == (405, [(b"allow", allow)])


@pytest.mark.parametrize(
    ("path", "template", "params", "adaptation"),
    [
        ("/openai/v1/responses/resp_1", "/v1/responses/*", ("resp_1",), "stored_response"),
        ("/openai/v1/responses/resp_1/", "/v1/responses/*", ("resp_1",), "stored_response"),
        ("/openai/v1/responses/a/input_items", "/v1/responses/*", ("a", "input_items"), "stored_response"),
        ("/openai/v1/conversations/c/items/m", "/v1/conversations/*", ("c", "items", "m"), "conversation"),
        ("/openai/v1/models/gpt-5.4", "/v1/models/*", ("gpt-5.4",), None),
        ("/openai/v1/models/org/gpt", "/v1/models/*", ("org", "gpt"), None),
        ("/openai/v1/models/", "/v1/models/*", (), None),
        ("/openai/v1/models", "/v1/models", (), None),
        ("/openai/v1/responses/compacted", "/v1/responses/*", ("compacted",), "stored_response"),
    ],
)
def test_a_star_stands_for_checked_parts(
    path: str, template: str, params: tuple[str, ...], adaptation: str | None
) -> None:
    route = found("GET", path)

    assert (route.template, route.params, route.rule.adaptation) == (template, params, adaptation)
    assert "/openai" + "/v1" + route.upstream_url_path == path


def test_the_base_url_keeps_its_path_and_the_query_comes_last() -> None:
    route = found("POST", "/openai-eu/v1/responses")

    assert upstream_url(route, b"beta=true&x=%20/?") == "https://eu.example.com/openai/v1/responses?beta=true&x=%20/?"


@pytest.mark.parametrize("query", [b"a b", b"a\nb", b"a#b", b"\xff", b"\x7f", b"\x00", b"a=\xc3\xa9"])
def test_a_query_with_what_is_not_of_a_query_is_refused(query: bytes) -> None:
    with pytest.raises(NoRoute) as refused:
        upstream_url(found("POST", "/openai/v1/responses"), query)

    assert refused.value.problem.status == 400
    assert refused.value.dialect is not None


def test_an_id_has_one_spelling_whatever_a_url_builder_escapes() -> None:
    plain = found("GET", "/openai/v1/models/ft:gpt@x")

    for spelled in ("ft%3Agpt@x", "ft%3agpt%40x"):
        assert found("GET", f"/openai/v1/models/{spelled}") == plain


@pytest.mark.parametrize(
    "path",
    [
        "/openai",
        "/openai/",
        "/openai/v1",
        "/openai/v1/",
        "/openai/v1/embeddings",
        "/openai/v1/files/file-1",
        "/openai/v1/chat/completions/",
        "/openai/v1/chat/completions/x",
        "/openai/v1/responses/",
        "/openai/v1/conversations/",
        "/openai/v1/responses/compact/",
        "/openai/v1/responses/compact/x",
        "/openai/v1/responses/Compact",
        "/openai/v1/responses/input_tokens/",
        "/openai/v1/responses/INPUT_TOKENS/x",
        "/openai/v1/Responses/resp_1",
        "/OpenAI/v1/responses/resp_1",
        "/openai/responses",
        "/openai/v1/responses/a%20b",
        "/openai/v1/responses/a~b",
        "/openai/v1/responses/a+b",
        "/openai/v1/responses/" + "x" * 257,
        "/openai/v1/responses/%72esp_1",
        "/openai/%761/models",
        "/anthropic/v1/messages/",
        "/anthropic/v1/messages/batches",
        "/anthropic/v1/messages/count_tokens/",
        "/anthropic/v1/complete",
        "/copilot/agents",
        "/copilot/v1/responses",
        "/unknown/v1/messages",
        "/",
        "/api/v2/aibridge",
        "/api/v2/other/openai/v1/responses",
        "/api/v2/aibridge/api/v2/aibridge/openai/v1/models",
    ],
)
def test_what_is_not_in_the_table_is_not_supported(path: str) -> None:
    for method in ("POST", "GET", "DELETE"):
        problem = refusal(method, path.encode()).problem
        assert problem.status == 404
        shown = "/".join(part if len(part) < 32 else "..." for part in path.split("/"))
        assert problem.message == f"route not supported: {method} {shown}"


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"*",
        b"openai/v1/models",
        b"http://evil.example/openai/v1/models",
        b"//openai/v1/models",
        b"/openai//v1/models",
        b"/openai/v1/models//x",
        b"/openai/v1/models/x//",
        b"/openai/v1/../v1/models",
        b"/openai/v1/models/..",
        b"/openai/v1/models/.",
        b"/openai/v1/models/./x",
        b"/openai/v1/models/../files",
        b"/openai/v1/models/%2e%2e/files",
        b"/openai/v1/models/%2E",
        b"/openai/v1/models/.%2e/files",
        b"/openai/v1/models/..%2ffiles",
        b"/openai/v1/models/%2F",
        b"/openai/v1/models/a%5Cb",
        b"/openai/v1/models/a\\b",
        b"/openai/v1/models/..;/files",
        b"/openai/v1/models/a;b=c",
        b"/openai/v1/models/a%3bb",
        b"/openai/v1/models/%252e%252e",
        b"/openai/v1/models/%25",
        b"/openai/v1/models/%00",
        b"/openai/v1/models/%0d%0aHost:x",
        b"/openai/v1/models/%1F",
        b"/openai/v1/models/%7f",
        b"/openai/v1/models/%c3%a9",
        b"/openai/v1/models/\xc3\xa9",
        b"/openai/v1/models/a b",
        b"/openai/v1/models/a\tb",
        b"/openai/v1/models/\x00",
        b"/openai/v1/models/\x7f",
        b"/openai/v1/models/%",
        b"/openai/v1/models/%4",
        b"/openai/v1/models/%zz",
        b"/openai/v1/models/%u002e",
    ],
)
def test_what_some_server_reads_as_another_path_is_refused(path: bytes) -> None:
    for method in ("POST", "GET", "BREW"):
        assert refusal(method, path).problem.status == 400


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        (b"/openai/v1/nope", "chat_completions"),
        (b"/copilot/nope", "chat_completions"),
        (b"/anthropic/v1/nope", "messages"),
        (b"/anthropic/v1/../nope", "messages"),
        (b"/api/v2/ai-gateway/anthropic/nope", "messages"),
        (b"/nope", None),
        (b"http://anthropic/v1/messages", None),
    ],
)
def test_a_refusal_speaks_as_the_provider_that_was_meant(path: bytes, dialect: str | None) -> None:
    spoken = refusal("POST", path).dialect

    assert (spoken.name if spoken else None) == dialect


def test_a_copilot_messages_route_refuses_in_the_words_of_messages() -> None:
    spoken = refusal("GET", b"/copilot/v1/messages").dialect

    assert spoken is not None
    assert spoken.name == "messages"


def test_a_provider_that_is_switched_off_is_named() -> None:
    for path in (b"/off/v1/messages", b"/api/v2/aibridge/off/v1/models/x", b"/off/anything"):
        problem = refusal("POST", path).problem
        assert (problem.status, "off" in problem.message) == (503, True)


def test_a_refusal_shows_a_path_in_visible_characters_and_not_all_of_it() -> None:
    problem = refusal("GET\x1b", b"/x?\"'<script>" + b"/y" * 5000).problem

    assert problem.message.startswith("route not supported: GET? /x?\"'<script>/y/y")
    assert problem.message.endswith(("/y...", "/y/..."))
    assert len(problem.message) < 300
    assert refusal("GET", b"/\x1b[2J").problem.message.isprintable()


KEYS = ["aib_" + "0123456789abcdef" * 2 + "_" + "aB3" * 16 + "z", "sk-ant-api03-" + "x" * 95, "AIza" + "y" * 35]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "path", ["/KEY/v1/messages", "/anthropic/KEY", "/KEY", "/anthropic/x=KEY/v1", "/openai/%61KEY"]
)
def test_a_refusal_shows_no_part_of_a_path_that_may_be_a_key(path: str, key: str) -> None:
    for method in ("POST", "GET"):
        message = refusal(method, path.replace("KEY", key).encode()).problem.message

        assert message.startswith(f"route not supported: {method} /")
        assert key[4:12] not in message
        assert "..." in message


@pytest.mark.parametrize(
    "path", [b"/", b"/openai", b"/openai/", b"/api/v2/aibridge", b"/api/v2/aibridge/", b"/api/v2/ai-gateway/openai"]
)
def test_a_probe_finds_something_there(path: bytes) -> None:
    assert TABLE.find("HEAD", path) is None
    assert refusal("GET", path).problem.status == 404


@pytest.mark.parametrize(
    ("path", "status"), [(b"/nope", 404), (b"/openai/v1", 404), (b"//", 400), (b"/off", 503), (b"/api", 404)]
)
def test_a_probe_of_nothing_finds_nothing(path: bytes, status: int) -> None:
    assert refusal("HEAD", path).problem.status == status


def test_mounted_only_the_bare_names_are_there() -> None:
    table = RouteTable([anthropic()], prefixes=("",))

    assert table.find("POST", b"/anthropic/v1/messages") is not None
    with pytest.raises(NoRoute):
        table.find("POST", b"/api/v2/aibridge/anthropic/v1/messages")


def test_the_longest_prefix_wins_over_a_provider_named_like_its_beginning() -> None:
    table = RouteTable([openai(name="api"), anthropic()])

    for path, name in ((b"/api/v1/models", "api"), (b"/api/v2/aibridge/api/v1/models", "api")):
        route = table.find("GET", path)
        assert route is not None
        assert route.provider.name == name
    route = table.find("GET", b"/api/v2/aibridge/anthropic/v1/models")
    assert route is not None
    assert route.provider.name == "anthropic"


def test_two_providers_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'openai': given twice"):
        RouteTable([openai(), openai(base_url="https://other.example")])


@pytest.mark.parametrize("prefix", ["/", "api", "/api/", "/a//b", "/a/%41", "/ä"])
def test_a_prefix_that_is_no_plain_path_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        RouteTable([openai()], prefixes=(prefix,))


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"path": "/x", "raw_path": b"/a/b"}, b"/a/b"),
        ({"path": "/x", "raw_path": b"/a/%2e"}, b"/a/%2e"),
        ({"path": "/x", "raw_path": b"/a?b=/c"}, b"/a"),
        ({"path": "/a/b", "raw_path": None}, b"/a/b"),
        ({"path": "/a/b", "raw_path": b""}, b"/a/b"),
        ({"path": "/a/b"}, b"/a/b"),
        ({"path": "/a b\\;é?"}, b"/a%20b\\;%C3%A9%3F".replace(b"\\", b"%5C")),
        ({"path": ""}, b"/"),
        ({"path": "/m/a", "raw_path": b"/m/a", "root_path": "/m"}, b"/a"),
        ({"path": "/m/a", "raw_path": b"/m/a", "root_path": "/m/"}, b"/a"),
        ({"path": "/m", "raw_path": b"/m", "root_path": "/m"}, b"/"),
        ({"path": "/m/a", "root_path": "/m"}, b"/a"),
        ({"path": "/a", "raw_path": b"/a", "root_path": "/m"}, b"/a"),
        ({"path": "/mm/a", "raw_path": b"/mm/a", "root_path": "/m"}, b"/mm/a"),
        ({"path": "/m/a", "raw_path": b"/%6d/a", "root_path": "/m"}, b"/%6d/a"),
        ({"path": "/m/a", "raw_path": b"/m/a", "root_path": None}, b"/m/a"),
        ({"path": "/m/m/a", "raw_path": b"/m/m/a", "root_path": "/m"}, b"/m/a"),
    ],
)
def test_the_raw_path_is_found_below_the_mount(scope: dict[str, Any], path: bytes) -> None:
    assert raw_path_of(scope) == path


@pytest.mark.parametrize("path", ["/a%2e", "/%", "/a%20b"])
def test_a_decoded_path_that_may_have_been_escaped_twice_is_refused(path: str) -> None:
    with pytest.raises(NoRoute) as refused:
        raw_path_of({"path": path})

    assert refused.value.problem.status == 400
