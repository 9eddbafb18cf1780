"""Which of several voices holds, and what each setting's source is."""

from pathlib import Path

import pytest

from aibridge.server.config import Configuration, load
from aibridge.server.config.layers import At
from aibridge.server.config.showing import dotted, shown

HOME = {"HOME": "/home/somebody"}


def written(folder: Path, text: str) -> Path:
    file = folder / "aibridge.toml"
    file.write_text(text)
    return file


def source_of(configuration: Configuration, name: str) -> str:
    return next(setting.source for setting in shown(configuration) if setting.name == name)


@pytest.mark.parametrize(
    ("in_file", "in_alias", "in_variable", "in_flag", "holds", "source"),
    [
        (None, None, None, None, 0, "default"),
        (1, None, None, None, 1, "FILE"),
        (1, "2", None, None, 2, "CODER_AIBRIDGE_MAX_CONCURRENCY"),
        (1, None, "3", None, 3, "AIBRIDGE_SERVER__MAX_CONCURRENCY"),
        (1, "2", "3", None, 3, "AIBRIDGE_SERVER__MAX_CONCURRENCY"),
        (1, "2", "3", 4, 4, "the command line"),
        (None, None, None, 4, 4, "the command line"),
    ],
)
def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(
    tmp_path: Path,
    in_file: int | None,
    in_alias: str | None,
    in_variable: str | None,
    in_flag: int | None,
    holds: int,
    source: str,
) -> None:
    file = written(tmp_path, "" if in_file is None else f"[server]\nmax_concurrency = {in_file}\n")
    environ = dict(HOME)
    if in_alias is not None:
        environ["CODER_AIBRIDGE_MAX_CONCURRENCY"] = in_alias
    if in_variable is not None:
        environ["AIBRIDGE_SERVER__MAX_CONCURRENCY"] = in_variable
    flags: dict[At, object] = {} if in_flag is None else {("server", "max_concurrency"): in_flag}

    configuration = load(file, environ, flags)

    assert configuration.settings.server.max_concurrency == holds
    assert source_of(configuration, "server.max_concurrency") == (str(file) if source == "FILE" else source)


def test_the_environment_names_a_file_and_changes_one_setting_of_one_provider_in_it(tmp_path: Path) -> None:
    file = written(tmp_path, '[[providers]]\ntype = "openai"\n[[providers]]\ntype = "openai"\nname = "openai-eu"\n')
    environ = {
        "AIBRIDGE_CONFIG": str(file),
        "AIBRIDGE_PROVIDERS__1__BASE_URL": "https://eu.example/v1",
        "AIBRIDGE_PROVIDERS__1__KEYS": "env:ONE, env:TWO",
        "AIBRIDGE_PROVIDERS__2": '{"type": "anthropic"}',
    }

    one, two, three = load(None, environ).settings.providers

    assert (one.instance, one.base_url) == ("openai", None)
    assert (two.instance, two.base_url, two.keys) == ("openai-eu", "https://eu.example/v1", ["env:ONE", "env:TWO"])
    assert three.instance == "anthropic"


def test_every_provider_can_come_from_the_environment() -> None:
    environ = {**HOME, "AIBRIDGE_PROVIDERS__0__TYPE": "openai", "AIBRIDGE_PROVIDERS__0__KEYS": '["a,b"]'}

    [provider] = load(None, environ).settings.providers

    assert (provider.type, provider.keys) == ("openai", ["a,b"])


def test_a_secret_can_be_in_a_file_that_a_variable_names() -> None:
    environ = {**HOME, "AIBRIDGE_SERVER__SECRET_FILE": "/run/secrets/aibridge"}

    assert load(None, environ).settings.server.secret == "file:/run/secrets/aibridge"


def test_without_any_configuration_all_types_are_there_with_the_keys_that_the_environment_has() -> None:
    environ = {**HOME, "OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "https://openai.example/v1"}

    providers = load(None, environ).settings.providers

    assert [(p.type, p.keys, p.base_url) for p in providers] == [
        ("anthropic", [], None),
        ("openai", ["env:OPENAI_API_KEY"], "https://openai.example/v1"),
        ("copilot", [], None),
    ]


@pytest.mark.parametrize(
    ("environ", "database", "data"),
    [
        ({"HOME": "/home/x", "XDG_DATA_HOME": "/xdg"}, "/xdg/aibridge/aibridge.db", "/xdg/aibridge"),
        ({"HOME": "/home/x", "AIBRIDGE_DATA_DIR": "/data"}, "/data/aibridge.db", "/data"),
        ({"HOME": "/home/x", "AIBRIDGE_DATABASE__URL": "sqlite:////var/db/x.db"}, "/var/db/x.db", "/var/db"),
        (
            {"HOME": "/home/x", "AIBRIDGE_DATABASE__URL": "sqlite:////var/db/x.db", "AIBRIDGE_DATA_DIR": "/data"},
            "/var/db/x.db",
            "/data",
        ),
    ],
)
def test_secrets_lie_beside_the_database_unless_a_folder_is_named(
    environ: dict[str, str], database: str, data: str
) -> None:
    configuration = load(None, environ)

    assert (str(configuration.database), str(configuration.data)) == (database, data)


def test_a_relative_database_is_beside_the_file_that_names_it(tmp_path: Path) -> None:
    configuration = load(written(tmp_path, '[database]\nurl = "sqlite:///records/a.db"\n'), {})

    assert configuration.database == tmp_path / "records" / "a.db"


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_setting() -> None:
    environ = {
        **HOME,
        "AIBRIDGE_PORT": "tcp://10.0.0.1:8787",
        "AIBRIDGE_PORT_8787_TCP": "tcp://10.0.0.1:8787",
        "AIBRIDGE_PORT_8787_TCP_ADDR": "10.0.0.1",
        "AIBRIDGE_SERVICE_HOST": "10.0.0.1",
        "AIBRIDGE_SERVICE_PORT": "8787",
        "AIBRIDGE_SERVICE_PORT_HTTP": "8787",
    }

    assert load(None, environ).settings.server.port == 8787


def test_every_setting_is_shown_with_its_source_and_secrets_are_masked(tmp_path: Path) -> None:
    secret = "sk-ant-a-secret-that-nobody-sees"
    text = f"""
        [server]
        secret = "{secret}"
        [auth.coder]
        client_secret = "{secret}"
        [[providers]]
        type = "anthropic"
        keys = ["{secret}", "env:ANTHROPIC_API_KEY"]
        [[mcp_servers]]
        name = "github"
        token = "{secret}"
        headers = {{ Authorization = "Bearer {secret}" }}
    """
    file = written(tmp_path, text)

    settings = {setting.name: setting for setting in shown(load(file, {}))}

    assert secret not in "\n".join(setting.text for setting in settings.values())
    assert settings["providers[0].keys"].value == ["sk-a...sees", "env:ANTHROPIC_API_KEY"]
    assert settings["providers[0].keys"].source == str(file)
    assert settings["server.port"].source == "default"
    assert dotted(("providers", 0, "keys")) == "providers[0].keys"
    assert secret not in repr(load(file, {}))
