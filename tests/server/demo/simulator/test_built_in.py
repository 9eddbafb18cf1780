"""The built-in behaviour whatever comes in: an answer in the provider's shape, never an exception."""

import ast
import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aibridge.server.demo.simulator
from aibridge.server.demo.simulator import Incoming
from aibridge.server.demo.simulator.built_in import BuiltInProvider

KEYS = [
    "cache_control content conversation display format function include input input_schema items json_schema max_tokens",
    "messages metadata model n name output output_config parameters previous_response_id reasoning response_format role",
    "schema stop stream stream_options summary system text thinking tool_choice tools ttl type",
]
WORDS = "Use the x tool in parallel|any|x|function|namespace|custom|message|user|assistant|tool_result|json_schema|auto"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(WORDS.split("|")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(" ".join(KEYS).split()), inner, max_size=5)
    ),
    max_leaves=25,
)
PATHS = ["messages", "messages/count_tokens", "chat/completions", "responses", "responses/compact", "conversations"]


def provider() -> BuiltInProvider:
    numbers = itertools.count()
    return BuiltInProvider(ids=lambda prefix: f"{prefix}{next(numbers)}", clock=lambda: 0.0)


def incoming(method: str, path: str, body: bytes = b"") -> Incoming:
    return Incoming(method, path, "", [(b"authorization", b"Bearer x")], body)


@given(path=st.sampled_from(PATHS), body=st.dictionaries(st.sampled_from(" ".join(KEYS).split()), JSON))
def test_no_body_however_odd_makes_it_fail(path: str, body: dict[str, object]) -> None:
    request = {"model": "m", "messages": [], "input": [], "max_tokens": 5, **body}

    answer = provider().answer(incoming("POST", f"/v1/{path}", msgspec.json.encode(request)))

    assert answer.status in {200, 400, 404}
    assert all(isinstance(step, bytes) for step in answer.steps)


@pytest.mark.parametrize(
    "path", ["", "*", "/", "//", "/v1", "/v1/", "/v1/models/", "/v1/responses//input_items", "/v2/models"]
)
def test_an_unknown_path_is_not_found(path: str) -> None:
    assert provider().answer(incoming("GET", path)).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/v1/models", 200),
        ("GET", "/models/claude-haiku-4-5", 200),
        ("GET", "/v1/responses", 405),
        ("POST", "/messages", 404),
        ("POST", "/api/event_logging/v2/batch", 200),
        ("POST", "/api/event_logging", 404),
        ("GET", "/v1/_ping", 404),
        ("DELETE", "/v1/models/gpt-5.4", 404),
    ],
)
def test_a_route_takes_its_own_methods_and_places(method: str, path: str, status: int) -> None:
    assert provider().answer(incoming(method, path)).status == status


def test_it_stands_alone_so_that_the_bridge_is_not_checked_with_its_own_code() -> None:
    folder = Path(aibridge.server.demo.simulator.__file__).parent
    imported = {
        node.module
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module is not None
    }

    of_the_house = {module for module in imported if module.startswith("aibridge")}
    assert len(of_the_house) > 10
    assert [module for module in of_the_house if not module.startswith("aibridge.server.demo.simulator")] == []
