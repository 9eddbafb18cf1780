import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.client_apps import CLIENT_APPS, LONGEST, UNKNOWN, agent_ids, recognise, session_of, user_agent
from aibridge.dialects.base import DialectName
from aibridge.errors import Header


def calling_itself(name: str, *more: Header) -> list[Header]:
    return [(b"user-agent", name.encode()), *more]


@pytest.mark.parametrize(
    ("name", "client"),
    [
        ("mux/1.2", "Mux"),
        ("claude-cli/2.1.329 (external, sdk-cli)", "Claude Code"),
        ("Claude-Code/3", "Claude Code"),
        ("codex_exec/0.169.0 (Debian 12; x86_64)", "Codex"),
        ("codex-tui/0.169.0", "Codex"),
        ("Zed/0.200", "Zed"),
        ("GitHubCopilotChat/0.39.0", "GitHub Copilot (VS Code)"),
        ("copilot/1.0.102", "GitHub Copilot (CLI)"),
        ("kilo/latest/7.7.9/cli ai-sdk/provider-utils/4.0.27 runtime/bun/1.3.14", "Kilo Code"),
        ("Kilo-Code/7.7.9 ai-sdk/provider-utils/4.0.40 runtime/bun/1.3.14", "Kilo Code"),
        ("Roo-Code/4", "Roo Code"),
        ("coder-agents/1", "Coder Agents"),
        ("Charm Crush/0.1", "Charm Crush"),
        ("charm-crush/0.1", "Charm Crush"),
        ("opencode/1.18.33 ai-sdk/provider-utils/4.0.23 runtime/bun/1.3.14", "OpenCode"),
        ("Junie:cli", "Junie"),
        ("Agents/Python 0.24.0", "OpenAI Agents"),
        ("pydantic-ai/2.62.0", "Pydantic AI"),
        ("langchain-anthropic/1.7.7", "LangChain"),
        ("litellm/1.81.10", "LiteLLM"),
        ("ai-sdk/openai-compatible/3.0.37 ai-sdk/provider-utils/5.0.30", "AI SDK"),
        ("ai-sdk-anthropic/4.0.105 ai-sdk-provider-utils/5.0.81 node.js/22", "AI SDK"),
        ("ai/7.0.173 ai-sdk-provider-utils/5.0.81 node.js/22", "AI SDK"),
        ("Anthropic/Python 2.11.0", "Anthropic SDK"),
        ("AsyncAnthropic/Python 2.11.0", "Anthropic SDK"),
        ("Anthropic/JS 1.11.0", "Anthropic SDK"),
        ("OpenAI/Python 3.52.0", "OpenAI SDK"),
        ("AsyncOpenAI/Python 3.52.0", "OpenAI SDK"),
        ("OpenAI/JS 7.55.0", "OpenAI SDK"),
        ("curl/8.7", UNKNOWN),
        ("Mozilla/5.0 claude-cli/2", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_client_is_known_by_how_its_user_agent_starts(name: str, client: str) -> None:
    assert recognise(calling_itself(name)) == client


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        (calling_itself("node", (b"originator", b"kilo-code")), "Kilo Code"),
        (calling_itself("node", (b"originator", b"roo-code")), "Roo Code"),
        (calling_itself("Go-http-client/2.0", (b"x-cursor-client-version", b"2.0")), "Cursor"),
        (calling_itself("OpenAI/JS 5.20.1", (b"x-initiator", b"user")), "GitHub Copilot (CLI)"),
        (calling_itself("Anthropic/JS 0.94.0", (b"x-initiator", b"agent")), "GitHub Copilot (CLI)"),
        (calling_itself("OpenAI/Python 3.52.0", (b"x-initiator", b"user")), "OpenAI SDK"),
        ([(b"agent-session-id", b"20261101_1")], "Goose"),
        (calling_itself("curl/8", (b"agent-session-id", b"1")), UNKNOWN),
        (calling_itself("codex_exec/1", (b"originator", b"kilo-code")), "Codex"),
        ([(b"User-Agent", b"codex_exec/1")], "Codex"),
        ([], UNKNOWN),
    ],
)
def test_some_clients_are_known_by_a_header(headers: list[Header], client: str) -> None:
    assert recognise(headers) == client


SESSION = "6e1c7f0a-9c55-4f43-9a0f-6f5a3f0c1d2e"
CLAUDE_TODAY = json.dumps({"device_id": "d", "account_uuid": "", "session_id": SESSION})
CLAUDE_BEFORE = f"user_0a1b_account__session_{SESSION}"


@pytest.mark.parametrize(
    ("client", "headers", "hint", "dialect", "session"),
    [
        ("Claude Code", ["x-claude-code-session-id: a"], CLAUDE_TODAY, "messages", "a"),
        ("Claude Code", [], CLAUDE_TODAY, "messages", SESSION),
        ("Claude Code", [], CLAUDE_BEFORE, "messages", SESSION),
        ("Claude Code", [], "somebody", "messages", None),
        ("Claude Code", [], '{"device_id":"d"}', "messages", None),
        ("Claude Code", [], '{"session_id":7}', "messages", None),
        ("Claude Code", [], "[1]", "messages", None),
        ("Claude Code", [], None, "messages", None),
        ("Anthropic SDK", [], CLAUDE_BEFORE, "messages", None),
        ("Codex", ["session_id: c", "thread-id: b", "session-id: a"], "k", "responses", "a"),
        ("Codex", ["session_id: c", "thread-id: b"], "k", "responses", "b"),
        ("Codex", ["session_id: c"], "k", "responses", "c"),
        ("Codex", [], "k", "responses", "k"),
        ("Mux", ["x-mux-workspace-id: a"], None, "messages", "a"),
        ("GitHub Copilot (VS Code)", ["x-interaction-id: a"], None, "chat_completions", "a"),
        ("GitHub Copilot (CLI)", ["x-client-session-id: a"], None, "chat_completions", "a"),
        ("Kilo Code", ["x-session-id: b", "x-kilocode-taskid: a"], None, "messages", "a"),
        ("Kilo Code", ["x-session-affinity: c", "x-session-id: b"], None, "messages", "b"),
        ("Coder Agents", ["x-coder-chat-id: a"], None, "messages", "a"),
        ("OpenCode", ["x-session-affinity: c", "x-opencode-session: b", "x-session-id: a"], None, "messages", "a"),
        ("OpenCode", ["x-session-affinity: c", "x-opencode-session: b"], None, "messages", "b"),
        ("OpenCode", ["x-session-affinity: c"], None, "messages", "c"),
        ("Goose", ["agent-session-id: 20261101_1"], None, "chat_completions", "20261101_1"),
        ("OpenAI SDK", ["session-id: a"], "k", "responses", "k"),
        ("OpenAI SDK", [], "k", "chat_completions", None),
        (UNKNOWN, ["x-session-id: a"], None, "responses", None),
    ],
)
def test_each_client_names_its_session_in_its_own_place(
    client: str, headers: list[str], hint: str | None, dialect: DialectName, session: str | None
) -> None:
    pairs = [(name.encode(), value.encode()) for name, _, value in (header.partition(": ") for header in headers)]

    assert session_of(client, pairs, hint, dialect) == session


@pytest.mark.parametrize("unusable", [b"", b"  ", b"a\x00b", b"a\tb", b"\xff", b"x" * (LONGEST + 1), b"\xe2\x80\xae"])
def test_an_id_that_is_too_long_or_no_text_counts_as_not_sent(unusable: bytes) -> None:
    headers = [(b"session-id", unusable), (b"thread-id", b"t")]

    assert session_of("Codex", headers, None, "responses") == "t"
    assert session_of("Codex", headers[:1], None, "responses") is None


def test_the_longest_id_is_kept_whole() -> None:
    assert session_of("Codex", [(b"session-id", b"x" * LONGEST)], None, "responses") == "x" * LONGEST
    assert session_of("Codex", [], "x" * (LONGEST + 1), "responses") is None


def test_subagents_are_told_with_their_parents() -> None:
    headers = [(b"x-claude-code-agent-id", b"a1"), (b"x-claude-code-parent-agent-id", b"a0")]

    assert agent_ids(headers) == ("a1", "a0")
    assert agent_ids(headers[1:]) == (None, "a0")
    assert agent_ids([]) == (None, None)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(b"curl/8", "curl/8"), (b"a\x00b\x1b[0m", "a?b?[0m"), (b"\xff", "\ufffd"), (b"", None), (b"x" * 600, "x" * 512)],
)
def test_a_user_agent_is_kept_as_one_line(sent: bytes, kept: str | None) -> None:
    assert user_agent([(b"user-agent", sent)]) == kept


def test_rows_of_one_client_agree_on_its_session() -> None:
    sessions: dict[str, set[tuple[bytes, ...]]] = {}
    for app in CLIENT_APPS:
        sessions.setdefault(app.name, set()).add(app.session_headers)

    assert {name: found for name, found in sessions.items() if len(found) > 1} == {}


NAMES = sorted({name for app in CLIENT_APPS for name in app.session_headers} | {b"user-agent", b"originator"})


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=300))),
    st.none() | st.text(st.characters(), max_size=300),
    st.sampled_from(["messages", "chat_completions", "responses"]),
)
def test_whatever_a_client_sends_an_id_is_short_and_printable(
    headers: list[Header], hint: str | None, dialect: DialectName
) -> None:
    for client in {app.name for app in CLIENT_APPS} | {recognise(headers)}:
        found = session_of(client, headers, hint, dialect)
        assert found is None or (0 < len(found) <= LONGEST and found.isprintable())
