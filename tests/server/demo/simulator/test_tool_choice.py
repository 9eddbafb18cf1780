"""Which tool the simulated model calls, and what it makes up for a schema."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.server.demo.simulator.question import OfferedTool, Question
from aibridge.server.demo.simulator.schema_values import value_for
from aibridge.server.demo.simulator.tool_choice import calls_for
from aibridge.server.demo.simulator.wishes import wishes_of


def tool(name: str, /, **properties: object) -> OfferedTool:
    return OfferedTool(name, "json", {"properties": properties, "required": list(properties)})


TEXT = {"type": "string"}
AGENT = (
    tool("Agent", prompt=TEXT),
    tool("Bash", command=TEXT),
    tool("ListAgents"),
    tool("Read", file_path=TEXT),
    tool("get_weather", city=TEXT),
    tool("mcp__helpdesk__find_ticket", number={"type": "integer"}),
    tool("mcp__helpdesk__find_person", name=TEXT),
)
TICKET, PERSON = "mcp__helpdesk__find_ticket", "mcp__helpdesk__find_person"


def question(prompt: str, tools: tuple[OfferedTool, ...] = AGENT, **more: Any) -> Question:
    fields: dict[str, Any] = {
        "model": "m",
        "prompt": prompt,
        "prompt_is_new": True,
        "results": (),
        "rounds": 0,
        "tools": tools,
        "forced_tool": None,
        "tools_allowed": True,
        "parallel_allowed": True,
        "can_search": False,
        "thinks": False,
        "max_tokens": None,
        "shape": None,
        "message_count": 1,
        "size": 1,
        **more,
    }
    return Question(**fields)


def called(asked: Question) -> list[tuple[str, object]]:
    calls = calls_for(asked, wishes_of(asked.prompt, asked.model))
    return [(call.tool.name, call.arguments) for call in calls]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Use the Bash tool to list files", [("Bash", {"command": "ls"})]),
        ("List files", [("Bash", {"command": "ls"})]),
        ("Use the Read tool on src/main.py.", [("Read", {"file_path": "src/main.py"})]),
        ("Use a tool to see the weather", [("get_weather", {"city": "Berlin"})]),
        ("Run two commands in parallel", [("Bash", {"command": "ls"}), ("Bash", {"command": "pwd"})]),
        (
            "Call Read and get_weather in parallel",
            [("Read", {"file_path": "README.md"}), ("get_weather", {"city": "Lisbon"})],
        ),
        ("Who works on helpdesk ticket 17?", [(TICKET, {"number": 17})]),
        ("Where does Grace Hopper sit? Use find_person", [(PERSON, {"name": "Grace Hopper"})]),
        ("Use find_ticket for 17 and 23 in parallel", [(TICKET, {"number": 17}), (TICKET, {"number": 23})]),
        ("Read on, and say what the weather is", []),
        ("Good morning", []),
        ("That is useful", []),
    ],
)
def test_the_tool_that_the_prompt_means_is_called(prompt: str, expected: list[tuple[str, object]]) -> None:
    assert called(question(prompt)) == expected


def test_a_result_is_not_answered_with_another_call_until_the_person_speaks_again() -> None:
    assert called(question("Use Bash", results=("a",), rounds=1, prompt_is_new=False)) == []
    assert called(question("Use Bash", results=("a",), prompt_is_new=True)) == [("Bash", {"command": "ls"})]


def test_what_comes_then_is_done_with_the_results_of_what_came_before() -> None:
    prompt = "Find helpdesk ticket 17, then find the helpdesk person who has it"

    def asked(rounds: int, *results: str) -> list[tuple[str, object]]:
        return called(question(prompt, results=results, rounds=rounds, prompt_is_new=rounds == 0))

    assert asked(0) == [(TICKET, {"number": 17})]
    assert asked(1, "Ticket 17 is open, assigned to Grace Hopper.") == [(PERSON, {"name": "Grace Hopper"})]
    assert asked(2, "Grace Hopper sits in 3.14.") == []


def test_a_forced_tool_is_called_whatever_is_said() -> None:
    assert called(question("Hi", forced_tool="Read")) == [("Read", {"file_path": "README.md"})]
    assert [name for name, _ in called(question("Hi", forced_tool="any"))] == ["Bash"]
    assert called(question("Use Bash", tools_allowed=False)) == []
    assert called(question("Use Bash", tools=())) == []


def test_a_command_may_be_a_list_and_comes_with_what_claude_code_shows() -> None:
    words = {"type": "array", "items": TEXT}
    shell = OfferedTool("shell", "json", {"properties": {"command": words}, "required": ["command"]})
    bash = OfferedTool("Bash", "json", {"properties": {"command": TEXT, "description": TEXT}, "required": ["command"]})

    assert called(question("Run it", (shell,))) == [("shell", {"command": ["ls"]})]
    [(_, arguments)] = called(question("Run it", (bash,)))
    assert arguments == {"command": "ls", "description": "A call that the simulated model made up"}


def test_references_alternatives_and_formats_are_followed() -> None:
    schema = {
        "type": "object",
        "$defs": {"place": {"type": "object", "properties": {"city": TEXT}, "required": ["city"]}},
        "properties": {
            "where": {"$ref": "#/$defs/place"},
            "when": {"anyOf": [{"type": "null"}, {"type": "string", "format": "date"}]},
            "often": {"type": ["integer", "null"], "minimum": 3},
            "seldom": {"type": "integer", "maximum": 0},
            "kind": {"const": "fixed"},
            "unit": {"enum": ["c", "k"]},
            "many": {"type": "array", "items": {"type": "number"}, "minItems": 2},
            "deep": {"type": "boolean"},
            "short": {"type": "string", "maxLength": 4},
            "nothing": {"type": "null"},
        },
    }
    schema["required"] = list(schema["properties"])

    assert value_for(schema, name="x", prompt="p") == {
        "where": {"city": "Berlin"},
        "when": "2026-01-31",
        "often": 3,
        "seldom": 0,
        "kind": "fixed",
        "unit": "c",
        "many": [1, 1],
        "deep": True,
        "short": "simu",
        "nothing": None,
    }


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {
        "type": "object",
        "properties": {"child": {"$ref": "#"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["child", "children"],
    }
    value = value_for(schema, name="x", prompt="p")

    assert isinstance(value, dict)
    assert set(value) == {"child", "children"}


def test_a_schema_that_asks_for_too_much_gets_less() -> None:
    greedy = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": TEXT, "minItems": 10**9},
            "text": {"type": "string", "minLength": 10**9},
            **{f"again{number}": {"$ref": "#"} for number in range(50)},
        },
    }
    greedy["required"] = list(greedy["properties"])

    assert len(repr(value_for(greedy, name="x", prompt="p"))) < 100_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "enum", "anyOf", "$ref", "minItems", "maxLength", "x"]
            ),
            inner | st.sampled_from(["object", "array", "string", "#/properties/x", "#"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(schema=st.dictionaries(st.sampled_from(["type", "properties", "required", "items", "anyOf", "$ref"]), JSON))
def test_no_schema_however_odd_makes_it_fail(schema: dict[str, object]) -> None:
    first = value_for(schema, name="x", prompt="p")

    assert value_for(schema, name="x", prompt="p") == first
