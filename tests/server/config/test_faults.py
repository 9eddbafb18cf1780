"""A configuration that cannot be used: one line that says what, where, and what is allowed."""

from pathlib import Path

import pytest

from aibridge.server.config import RESERVED, Wrong, load
from aibridge.server.configured_providers import configured_providers
from aibridge.server.configured_tools import configured_rules
from aibridge.tool_settings import ToolSettings

OIDC = '[auth.oidc]\nissuer = "https://id.example"\n'
ANTHROPIC = '[[providers]]\ntype = "anthropic"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[servre]\nport = 1", "FILE: servre: unknown key; did you mean server?"),
        ("[server]\nprot = 1", "FILE: server.prot: unknown key; did you mean port?"),
        ("[tracing]\nzzz = 1", "FILE: tracing.zzz: unknown key; known here: enabled, propagate"),
        (ANTHROPIC + 'base-url = "x"', "FILE: providers[0].base-url: unknown key; did you mean base_url?"),
        (
            ANTHROPIC + "circuit_breaker = {on = true}",
            "FILE: providers[0].circuit_breaker.on: unknown key; known here: ",
        ),
        ('[server]\nport = "x"', "FILE: server.port: must be a whole number"),
        ("[server]\nport = 70000", "FILE: server.port: must be less than or equal to 65535"),
        ("[server]\nport = 1.5", "FILE: server.port: must be a whole number"),
        ("[server]\nworkers = 0", "FILE: server.workers: must be greater than or equal to 1"),
        ('[server]\ndrain_timeout = "soon"', 'FILE: server.drain_timeout: must be a duration such as "30s"'),
        ('[server]\nmax_body = "big"', 'FILE: server.max_body: must be a size such as "512KiB"'),
        ('[server]\nlog = "xml"', "FILE: server.log: must be 'auto', 'json' or 'text'"),
        ("server = 3", "FILE: server: must be a table"),
        ("providers = 3", "FILE: providers: must be a list"),
        ('[providers]\ntype = "openai"', "FILE: providers: must be a list"),
        ('[[providers]]\nname = "x"', "FILE: providers[0].type: is required"),
        ('[[providers]]\ntype = "anthropc"', "FILE: providers[0].type: must be 'anthropic', 'openai' or 'copilot'"),
        (
            ANTHROPIC + 'name = "Not A Name"',
            "FILE: providers[0].name: must be lower-case letters and digits, in groups with one hyphen between them",
        ),
        (ANTHROPIC + ANTHROPIC, "FILE: providers[1].name: 'anthropic' is the name of another provider too"),
        ('[auth]\nmodes = ["cookie"]', "FILE: auth.modes[0]: must be 'key', 'oidc', 'header' or 'coder'"),
        ("[auth]\nmodes = []", "FILE: auth.modes: must be a list with something in it"),
        ('[auth]\nmodes = ["coder"]', 'FILE: auth.modes: must contain "key" or "oidc"'),
        ('[auth]\nmodes = ["oidc"]', 'FILE: auth.modes: must not contain "oidc" without auth.oidc.issuer'),
        ('[auth.oidc]\naudience = "a"', "FILE: auth.oidc.issuer: is required"),
        ('[auth.oidc]\nissuer = "https://id.example"', "FILE: auth.oidc.audience: is required"),
        (OIDC + "audience = []", "FILE: auth.oidc.audience: must be a list with something in it"),
        (OIDC + 'audience = "a"\nalgorithms = ["HS256"]', "FILE: auth.oidc.algorithms[0]: must be 'RS256', "),
        (OIDC + 'audience = "a"\nalgorithms = ["none"]', "FILE: auth.oidc.algorithms[0]: must be 'RS256', "),
        (OIDC + 'audience = "a"\nleeway = "10m"', "FILE: auth.oidc.leeway: must be less than or equal to 300"),
        (OIDC + 'audience = "a"\nclient_id = "x"', "FILE: auth.oidc.client_id: unknown key"),
        ('[database]\nurl = "postgresql://u:hunter2@h/x"', "FILE: database.url: must be sqlite:///PATH"),
        ('[database]\nurl = "sqlite:///:memory:"', "FILE: database.url: must be sqlite:///PATH"),
        (
            '[[providers]]\ntype = "openai"\nbedrock = {}',
            "FILE: providers[0].bedrock: only a provider of type anthropic can be on this",
        ),
        (ANTHROPIC + 'keys = ["a"]\nbedrock = {}', "FILE: providers[0].keys: must not be set beside bedrock"),
        (
            ANTHROPIC + 'base_url = "http://a"\nbedrock = {}',
            "FILE: providers[0].base_url: must not be set beside bedrock",
        ),
        (
            "[recording]\nredact = ['hunter2']",
            "FILE: recording.redact: is not built yet; remove it, or set prompts, tool_arguments and thoughts in [rec",
        ),
        *(
            (
                f"[recording]\n{kind} = false\n[dumps]\nfolder = 'd'",
                "FILE: dumps.folder: must not be set while [recording]",
            )
            for kind in ("prompts", "tool_arguments", "thoughts")
        ),
        ("[dumps]\nmax_exchanges = 0", "FILE: dumps.max_exchanges: must be greater than or equal to 1"),
        ("[server\n", "FILE: is not valid TOML: "),
    ],
)
def test_a_file_with_a_fault_is_refused_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(text)

    with pytest.raises(Wrong) as raised:
        load(file, {})

    said = str(raised.value)
    assert said.startswith(line.replace("FILE", str(file)))
    assert "\n" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_provider_is_named_like_a_page(tmp_path: Path, name: str) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(f'{ANTHROPIC}name = "{name}"')

    with pytest.raises(Wrong, match=f"'{name}' is the name of a page of the server"):
        load(file, {})


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("AIBRIDGE_SERVER__PORT", "x", "AIBRIDGE_SERVER__PORT: server.port: must be a whole number"),
        ("AIBRIDGE_SERVER__PROT", "1", "AIBRIDGE_SERVER__PROT: server.prot: unknown key; did you mean port?"),
        ("AIBRIDGE_SEVER__PORT", "1", "AIBRIDGE_SEVER__PORT: sever: unknown key; did you mean server?"),
        ("AIBRIDGE_SERVER", "1", "AIBRIDGE_SERVER: server: must be a table"),
        ("AIBRIDGE_SERVER____PORT", "1", "AIBRIDGE_SERVER____PORT: is no setting"),
        ("AIBRIDGE_PROVIDERS__1__TYPE", "openai", "AIBRIDGE_PROVIDERS__1__TYPE: lists count from 0 without gaps"),
        ("AIBRIDGE_PROVIDERS", "[oops", "AIBRIDGE_PROVIDERS: is not valid JSON"),
        ("AIBRIDGE_SERVER__HOST_FILE", "/x", "AIBRIDGE_SERVER__HOST_FILE: only secrets are read from files"),
        ("CODER_AIBRIDGE_RETENTION", "soon", "CODER_AIBRIDGE_RETENTION: database.retention: must be a duration"),
    ],
)
def test_a_variable_with_a_fault_is_named(variable: str, value: str, line: str) -> None:
    with pytest.raises(Wrong) as raised:
        load(None, {"HOME": "/home/x", variable: value})

    assert str(raised.value).startswith(line)


@pytest.mark.parametrize(
    ("text", "environ", "line"),
    [
        ("", {"AIBRIDGE_SERVER": "1", "AIBRIDGE_SERVER__PORT": "1"}, "AIBRIDGE_SERVER: server: must be a table"),
        ("server = 3", {"AIBRIDGE_SERVER__PORT": "1"}, "FILE: server: must be a table"),
        ("providers = 3", {"AIBRIDGE_PROVIDERS__0__NAME": "a"}, "FILE: providers: must be a list"),
        ("", {"AIBRIDGE_SERVER__0": "1"}, "AIBRIDGE_SERVER__0: server is no list"),
    ],
)
def test_who_gave_a_value_for_a_table_is_named_and_not_who_sets_something_in_it(
    tmp_path: Path, text: str, environ: dict[str, str], line: str
) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(text)

    with pytest.raises(Wrong) as raised:
        load(file, environ)

    assert str(raised.value) == line.replace("FILE", str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match=r"nowhere\.toml: cannot be read"):
        load(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (ANTHROPIC + 'base_url = "ftp://x"', "providers[0]: base_url of provider 'anthropic': must be http://HOST"),
        (ANTHROPIC + 'keys = ["env:NOT_SET"]', "providers[0].keys: the environment variable NOT_SET is not set"),
        ('[[providers]]\ntype = "copilot"\nkeys = ["k"]', "providers[0]: provider 'copilot': copilot takes no central"),
    ],
)
def test_what_a_provider_refuses_is_placed(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(text)

    with pytest.raises(Wrong) as raised:
        configured_providers(load(file, {}), {})

    assert str(raised.value).startswith(f"{file}: {line}")


def test_a_bad_pattern_of_tools_is_placed(tmp_path: Path) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text("[tools]\ndeny_client_tools = ['^mcp__', '(']")

    with pytest.raises(Wrong) as raised:
        configured_rules(load(file, {}))

    assert str(raised.value).startswith(f"{file}: tools.deny_client_tools: '(' is no regular expression")


def test_the_rules_for_tools_are_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(
        "[tools]\nmax_turns = 2\nmax_time = '1m'\ncall_timeout = '5s'\nmax_result = '1MiB'\nmax_repeats = 4\n"
        "max_offered = 5\nkeepalive = 'off'\nclient_mcp = { guests = 'deny' }\ndeny_client_tools = ['^mcp__']"
    )

    assert configured_rules(load(file, {})) == ToolSettings(
        max_turns=2,
        max_time=60,
        call_timeout=5,
        max_result=1024 * 1024,
        max_repeats=4,
        max_offered=5,
        keepalive="off",
        client_mcp={"guests": "deny"},
        deny_client_tools=("^mcp__",),
    )


def test_a_provider_that_is_switched_off_needs_no_key(tmp_path: Path) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(ANTHROPIC + 'keys = ["env:NOT_SET"]\nenabled = false')

    [provider] = configured_providers(load(file, {}), {})

    assert not provider.enabled


def test_the_whole_schema_parses_and_what_is_not_built_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(EVERYTHING)

    configuration = load(file, {})

    assert list(configuration.warnings) == [
        "database.retention is not built yet and has no effect (deleting old records)",
        "database.durability is not built yet and has no effect (PostgreSQL)",
        "auth mode 'coder' is not built yet and has no effect",
    ]


EVERYTHING = """
[server]
secret = "file:secret"
public_url = "https://ai.example"
host = "0.0.0.0"
port = 80
workers = 2
max_body = "64MiB"
max_concurrency = 100
drain_timeout = "10m"
[database]
url = "sqlite:///aibridge.db"
retention = "0"
durability = "local"
[auth]
modes = ["key", "oidc"]
[auth.oidc]
issuer = "https://idp.example"
audience = ["aibridge", "other"]
username_claim = "upn"
email_claim = "mail"
groups_claim = "realm_access.roles"
admin_groups = ["root"]
auditor_groups = ["audit"]
required_groups = "staff,guests"
algorithms = "RS256,ES256"
leeway = "1m"
jwks_url = "https://idp.example/keys"
allow_private = true
ca_bundle = "ca.pem"
[auth.coder]
url = "https://coder.example"
[[providers]]
type = "anthropic"
name = "anthropic-eu"
base_url = "https://api.anthropic.com/"
keys = ["env:ONE", "file:two"]
max_retries = 2
upstream_user = "hash"
send_actor_headers = { id = "X-AI-Bridge-Actor-ID" }
allow_byok = false
enabled = true
[providers.circuit_breaker]
enabled = true
failure_threshold = 5
interval = "10s"
timeout = "30s"
max_requests = 3
[[mcp_servers]]
name = "github"
url = "https://api.githubcopilot.com/mcp/"
transport = "auto"
allow_tools = '.+_gist.*'
deny_tools = 'create_gist'
auth = "oauth"
groups = ["developers"]
[tools]
client_mcp = "allow"
keepalive = "tools"
max_turns = 25
max_time = "10m"
call_timeout = "60s"
[recording]
prompts = true
tool_arguments = false
thoughts = true
max_bytes = "1MiB"
[metrics]
host = "127.0.0.1"
port = 9090
include_initiator = true
[tracing]
enabled = true
propagate = true
[dumps]
max_bytes = "64KiB"
max_exchanges = 10
"""
