"""Claude Code and Codex with tokens of a command, set up as docs/how-to/oidc.md says: one that has ended costs no turn."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.house.agents import for_claude, run_agent
from tests.house.company import EXCHANGE, LOOK_UP, Company, company_in

pytestmark = [pytest.mark.anyio, pytest.mark.agents]

AGENTS = {"claude": ("Claude Code", ("-p",)), "codex": ("Codex", ("exec", "--skip-git-repo-check"))}


@dataclass
class Fountain:
    """Where the command gets tokens for ada: the first has ended, those after it live."""

    company: Company
    given: list[str] = field(default_factory=list)

    async def token(self, _: Request) -> Response:
        self.given.append(self.company.token("ada", life=3600 if self.given else -60, jti=len(self.given)))
        return PlainTextResponse(self.given[-1])


def make_command(file: Path, url: str) -> None:
    file.write_text(
        f"#!{sys.executable}\nimport urllib.request\nprint(urllib.request.urlopen({url!r}).read().decode())\n"
    )
    file.chmod(0o755)


def configure(home: Path, command: Path, url: str) -> None:
    """Both, as the page prints them but for the address."""
    claude, codex = home / ".claude" / "settings.json", home / ".codex" / "config.toml"
    for file in (claude, codex):
        file.parent.mkdir(parents=True)
    environ = {"ANTHROPIC_BASE_URL": f"{url}/anthropic", "CLAUDE_CODE_API_KEY_HELPER_TTL_MS": "240000"}
    claude.write_text(json.dumps({"apiKeyHelper": str(command), "env": environ}))
    codex.write_text(
        f'model = "gpt-5.4"\nmodel_provider = "aibridge"\nsandbox_mode = "danger-full-access"\n\n'
        f'[model_providers.aibridge]\nname = "aibridge"\nbase_url = "{url}/openai/v1"\nwire_api = "responses"\n\n'
        f'[model_providers.aibridge.auth]\ncommand = "{command}"\ntimeout_ms = 20000\nrefresh_interval_ms = 240000\n\n'
        f"[analytics]\nenabled = false\n"
    )


@pytest.mark.parametrize("agent", ["claude", "codex"])
async def test_an_agent_gets_a_new_token_and_the_person_of_it_what_only_they_may_read(
    agents: dict[str, Path], tmp_path: Path, agent: str
) -> None:
    home, command = tmp_path / "agent", tmp_path / "company-token"
    client, words = AGENTS[agent]
    async with company_in(tmp_path) as company:
        fountain = Fountain(company)
        company.issuer.routes.append(Route("/ada", fountain.token))
        make_command(command, f"{company.issuer.url}/ada")
        company.configure(EXCHANGE)
        async with company.installation.serving() as server:
            configure(home, command, server.url)
            environ = {name: value for name, value in for_claude("", "").items() if not name.startswith("ANTHROPIC_")}
            said = await run_agent(agents[agent], *words, LOOK_UP, home=home, environ=environ)
        config = ("--config", str(company.installation.file))
        [interception] = (await company.installation.run("interceptions", "list", "--json", *config)).json()["results"]
    [called] = interception["tool_usages"]
    upstream = str([(turn.headers, turn.body) for turn in company.installation.provider.ledger])

    assert "read as sub-ada" in said
    assert _called(called) == ("read", company.url, True, None)
    assert (interception["initiator"]["username"], interception["client"]) == ("ada", client)
    assert [prompt["prompt"] for prompt in interception["user_prompts"]] == [LOOK_UP]
    assert (interception["state"], interception["http_status"]) == ("completed", 200)
    assert [asked["subject_token"] for asked in company.exchange.asked] == fountain.given[1:]
    assert len(fountain.given) == 2
    assert not any(token.split(".")[2] in upstream for token in fountain.given)


def _called(usage: dict[str, Any]) -> tuple[Any, ...]:
    return usage["tool"], usage["server_url"], usage["injected"], usage["invocation_error"]
