"""The page about compatible servers: its settings load, and every exchange that it names is there."""

import re
import tomllib
from pathlib import Path

from aibridge.providers import FACTORIES
from aibridge.server.config.schema import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs/how-to/compatible-endpoints.md").read_text(encoding="utf-8")


def test_the_settings_on_the_page_load_and_each_has_a_place_of_its_own() -> None:
    settings = Settings.model_validate(tomllib.loads(PAGE.partition("```toml\n")[2].partition("```")[0]))

    made = [
        FACTORIES[each.type](name=each.instance, base_url=each.base_url, keys=each.keys) for each in settings.providers
    ]
    assert len({provider.base_url for provider in made}) == len(made) >= 5


def test_the_exchanges_that_the_page_names_are_there() -> None:
    rows = [line for line in PAGE.partition("| exchange |")[2].splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[-2])}

    assert len(rows) >= 10
    stories = {path.stem for path in (CHECKOUT / "tests/transcripts/chat_completions").glob("*.txt")}
    assert named <= stories
