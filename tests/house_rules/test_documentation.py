"""The documentation says what the code does: settings, commands, records, errors, routes, links, and the examples run."""

import ast
import asyncio
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import httpx2
import pytest
import typer
from anthropic import AsyncAnthropic
from fastapi import FastAPI
from msgspec import structs
from pydantic import BaseModel

from aibridge import Recorder, records
from aibridge.dialects import openai_errors
from aibridge.dialects.messages import errors as messages_errors
from aibridge.providers import FACTORIES
from aibridge.server.cli.commands import app as command_line
from aibridge.server.config import load
from aibridge.server.config.schema import Settings
from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])
NOT_WRITTEN_OUT = {"none", "required", "the type", "the provider's own"}


def page(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# -- settings ------------------------------------------------------------------------------------------


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every setting with the table that it is in; the optional tables of a provider count as one setting each."""
    for name, field in model.model_fields.items():
        tables = [part for part in (field.annotation, *get_args(field.annotation)) if is_table(part)]
        if tables and not prefix:
            yield from settings_of(tables[0], f"{name}.")
        else:
            yield f"{prefix}{name}", model, name


def is_table(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def documented_settings() -> dict[str, str]:
    """Name and default, as the page has them."""
    found = (cells for cells in rows(page("docs/reference/configuration.md")) if "." in cells[0])
    return {quoted(cells[0])[0]: cells[1] for cells in found}


def test_every_setting_is_documented_and_no_other() -> None:
    assert sorted(documented_settings()) == sorted(name for name, _, _ in settings_of(Settings))


@pytest.mark.parametrize(("name", "model", "key"), list(settings_of(Settings)))
def test_the_documented_default_is_the_default(name: str, model: type[BaseModel], key: str) -> None:
    said = documented_settings()[name]
    field = model.model_fields[key]
    if said in NOT_WRITTEN_OUT:
        assert field.is_required() is (said == "required")
        assert field.is_required() or field.default in (None, "")
        return

    value = tomllib.loads(f"value = {quoted(said)[0]}")["value"]
    needed: dict[str, Any] = {"type": "openai", "name": "x"}
    required = {other: needed[other] for other, its in model.model_fields.items() if its.is_required()}
    assert getattr(model.model_validate({**required, key: value}), key) == field.get_default(call_default_factory=True)


def test_the_settings_of_optional_tables_are_named() -> None:
    text = page("docs/reference/configuration.md")
    for table in ("azure", "bedrock", "vertex", "circuit_breaker"):
        row = next(line for line in text.splitlines() if line.startswith(f"| `providers.{table}`"))
        providers = next(part for part in get_args(Settings.model_fields["providers"].annotation) if is_table(part))
        model = next(part for part in get_args(providers.model_fields[table].annotation) if is_table(part))

        assert set(quoted(row.partition("Its settings:")[2])) == set(model.model_fields)


def test_the_settings_of_signing_in_with_tokens_are_documented_and_no_other() -> None:
    auth = Settings.model_fields["auth"].annotation
    assert isinstance(auth, type)
    assert issubclass(auth, BaseModel)
    oidc = next(part for part in get_args(auth.model_fields["oidc"].annotation) if is_table(part))
    text = page("docs/reference/configuration.md").partition("### `[auth.oidc]`")[2].partition("\n## ")[0]
    said = {quoted(cells[0])[0]: cells[1] for cells in rows(text) if cells[0].startswith("`")}

    assert list(said) == list(oidc.model_fields)
    for name, default in said.items():
        assert (default == "required") is oidc.model_fields[name].is_required()


# -- commands ------------------------------------------------------------------------------------------


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command with its words, and its arguments in capitals as headings have them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            given = [str(each.metavar or each.name) for each in command.params if each.param_type_name == "argument"]
            yield " ".join([path, name, *(word.strip("{}[]").upper() for word in given)]), command


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


COMMANDS = dict(commands(typer.main.get_command(command_line), "aibridge"))


def test_every_command_is_documented_and_no_other() -> None:
    assert sorted(sections(page("docs/reference/cli.md"))) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    said = set(re.findall(r"`(--[a-z-]+)", sections(page("docs/reference/cli.md"))[name]))
    has = {each.opts[0] for each in COMMANDS[name].params if each.param_type_name == "option"} - {"--help"}

    assert said == has


# -- records, errors, routes ---------------------------------------------------------------------------


def test_every_field_of_every_record_is_documented_and_no_other() -> None:
    found = sections(page("docs/reference/records.md"))
    for record in get_args(records.AnyRecord):
        first_table = found[record.__name__].split("\n\n")[1]

        named = [name for cells in rows(first_table) for name in quoted(cells[0])]
        assert sorted(named) == sorted(field.name for field in structs.fields(record))


def test_every_state_is_documented() -> None:
    said = re.findall(
        r"^\| `([a-z_]+)` \| [A-Z]", page("docs/reference/records.md").split("| state |")[1], re.MULTILINE
    )

    assert tuple(said[: len(get_args(records.State))]) == get_args(records.State)


def test_the_types_of_errors_are_those_that_clients_are_sent() -> None:
    table = [cells for cells in rows(page("docs/reference/errors.md")) if len(cells) == 3 and cells[0].isdigit()]
    typed = [cells for cells in table if len(quoted(cells[1])) == 1 and quoted(cells[1])[0] == cells[1].strip("`")]

    assert len(typed) >= 13
    for status, messages, openai in typed:
        assert messages.strip("`") == messages_errors.error_type(int(status))
        assert openai.strip("`") == openai_errors.error_type(int(status))


def test_the_routes_are_those_of_the_providers() -> None:
    table = {quoted(cells[0])[0]: cells for cells in rows(sections(page("README.md"))["Routes"]) if quoted(cells[0])}

    assert set(table) == set(FACTORIES)
    for kind, make in FACTORIES.items():
        rules = make().rules
        assert set(quoted(table[kind][1])) == {rule.path for rule in rules if rule.dialect is not None}
        assert set(quoted(table[kind][2])) == {rule.path for rule in rules if rule.dialect is None}


# -- pages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_and_paths_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:src|tests|docs|script)/[\w./-]+\.(?:py|md|txt))`", text)

    assert [link for link in links if link and not (path.parent / link).exists()] == []
    assert [name for name in named if not (CHECKOUT / name).exists()] == []


def test_every_page_is_in_the_index() -> None:
    listed = set(re.findall(r"\]\(([^)\s]+)\)", page("docs/index.md")))
    pages = {str(path.relative_to(CHECKOUT / "docs")) for path in CHECKOUT.glob("docs/**/*.md")} - {"index.md"}

    assert pages - listed == set()


def test_agents_md_stays_short() -> None:
    assert len(page("AGENTS.md").splitlines()) < 100


# -- examples ------------------------------------------------------------------------------------------


def example(name: str, *, having: str) -> ModuleType:
    """The first Python example of a page that has those words, run as a module."""
    found = re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)
    module = ModuleType("example")
    exec(compile(next(code for code in found if having in code), f"{name} (example)", "exec"), module.__dict__)
    return module


@pytest.mark.anyio
async def test_the_readmes_host_runs_and_records_under_the_persons_name(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = SimulatedProvider()
    async with asyncio.timeout(30), serve_simulator(simulator) as provider_url:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "central-key")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider_url)
        host = example("README.md", having="FastAPI")
        app: FastAPI = host.app
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as http,
        ):
            anthropic = AsyncAnthropic(
                base_url="http://host/ai/anthropic", auth_token="token-of-ada", http_client=http, max_retries=0
            )
            message = await anthropic.messages.create(
                model="claude-sonnet-5", max_tokens=500, messages=[{"role": "user", "content": "Hello from the README"}]
            )
            stranger = await http.post("http://host/ai/anthropic/v1/messages", json={"model": "m", "messages": []})

    (asked,) = simulator.ledger
    (interception,) = host.recorder.interceptions
    (end,) = host.recorder.ends
    (prompt,) = host.recorder.prompts
    assert message.content[0].type == "text"
    assert (interception.initiator_id, interception.metadata["username"]) == ("17", "ada")
    assert (interception.credential_kind, end.state, prompt.prompt) == (
        "centralized",
        "completed",
        "Hello from the README",
    )
    assert asked.header("x-api-key") == "central-key"
    assert asked.header("authorization") is None
    assert stranger.status_code == 401


def test_the_recorders_of_the_how_to_are_recorders() -> None:
    short = example("docs/how-to/new-recorder.md", having="CallbackRecorder")
    whole = example("docs/how-to/new-recorder.md", having="IntoMyQueue")
    methods = {name for name in dir(Recorder) if name.startswith("record_")}

    assert len(methods) == 6
    assert all(callable(getattr(short.recorder, name)) for name in methods)
    assert all(callable(getattr(whole.IntoMyQueue, name)) for name in methods)


def test_the_example_of_a_configuration_is_one_that_holds(tmp_path: Path) -> None:
    found = re.findall(r"```toml\n(.*?)```", page("docs/how-to/configure.md"), re.DOTALL)
    file = tmp_path / "aibridge.toml"
    file.write_text(found[0])

    configuration = load(file, environ={})
    assert [provider.instance for provider in configuration.settings.providers] == ["anthropic", "openai", "openai-eu"]
    assert configuration.warnings == ()


def test_the_python_examples_of_all_pages_can_be_parsed() -> None:
    for path in PAGES:
        for code in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            ast.parse(textwrap.dedent(code), str(path))
