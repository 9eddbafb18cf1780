"""The lines that make a client use the demo's gateway, and the commands that show what it recorded."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from aibridge.server.demo import helpdesk
from aibridge.server.demo.assignment import CLAUDE, GPT

# Not one of our settings, which are all other names with AIBRIDGE_: the commands below can run in the same shell.
_KEY_VARIABLE = "AIBRIDGE_TOKEN"


def lines(address: str, key: str, file: Path) -> Iterator[str]:
    """What to try, for a person called `you`. Each block works as it stands in a POSIX shell."""
    yield "Now with your own client. These lines use your key, so what you do is recorded as yours (user `you`)."
    yield ""
    yield "Claude Code:"
    yield f"  ANTHROPIC_BASE_URL={address}/anthropic ANTHROPIC_AUTH_TOKEN={key} claude"
    yield ""
    yield "Codex:"
    yield f"  {_KEY_VARIABLE}={key} codex -c model={GPT} -c model_provider=aibridge \\"
    yield f"    -c 'model_providers.aibridge={_codex_provider(address)}'"
    yield ""
    yield "curl:"
    yield f"  curl {address}/anthropic/v1/messages -H 'x-api-key: {key}' \\"
    yield "    -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \\"
    yield f'    -d \'{{"model":"{CLAUDE}","max_tokens":500,"messages":[{{"role":"user","content":"Hello"}}]}}\''
    yield ""
    yield f"The models can ask an MCP server of the demo's, the {helpdesk.NAME}. Your client does not notice. Say:"
    yield "  Who works on helpdesk ticket 17?"
    yield "  Find helpdesk ticket 42, then find the helpdesk person who has it."
    yield ""
    yield "Python, with Anthropic's SDK and with OpenAI's:"
    yield f'  Anthropic(base_url="{address}/anthropic", api_key="{key}")'
    yield f'  OpenAI(base_url="{address}/openai/v1", api_key="{key}")'
    yield ""
    yield "What was recorded, from another terminal:"
    yield f"  {_command()} interceptions list --config {shlex.quote(str(file))}"
    yield ""
    yield "What tools are offered:"
    yield f"  {_command()} mcp tools {helpdesk.NAME} --config {shlex.quote(str(file))}"
    yield ""
    yield "Ctrl-C ends the demo and removes everything that it wrote."


def _codex_provider(address: str) -> str:
    return f'{{name="aibridge",base_url="{address}/openai/v1",wire_api="responses",env_key="{_KEY_VARIABLE}"}}'


def _command() -> str:
    """The `aibridge` of this installation, as it can be called from anywhere."""
    beside = Path(sys.executable).with_name("aibridge")
    found = shutil.which("aibridge")
    if not beside.exists() or (found is not None and Path(found) == beside):
        return "aibridge"
    return shlex.quote(str(beside))
