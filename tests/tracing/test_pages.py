"""The pages about traces, logs and dumps say what the code does."""

import re
import tomllib
from pathlib import Path

from aibridge import interception_log
from aibridge.dumps import exchange
from aibridge.server.config import load
from aibridge.tracing import names

DOCS = Path(__file__).resolve().parents[2] / "docs"
SPANS = {value for name, value in vars(names).items() if name.isupper() and value[0].isupper()}
ATTRIBUTES = {value for name, value in vars(names).items() if name.isupper() and value not in (*SPANS, names.CHAT)}


def first_cells(page: str, section: str) -> list[str]:
    """What the first column of a section's table names."""
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_every_span_is_on_its_page_and_no_other() -> None:
    page = (DOCS / "reference/tracing.md").read_text(encoding="utf-8")

    assert sorted(first_cells("reference/tracing.md", "Spans")) == sorted(SPANS)
    assert set(re.findall(r"^ *(Intercept\S*|S\w+Proxy\S+)$", page, re.MULTILINE)) == SPANS - {"Passthrough"}


def test_every_attribute_is_on_its_page_and_no_other() -> None:
    assert sorted(first_cells("reference/tracing.md", "Attributes")) == sorted(ATTRIBUTES)


def test_the_headers_that_dumps_show_are_on_their_page_and_no_others() -> None:
    page = (DOCS / "reference/logs-and-dumps.md").read_text(encoding="utf-8")
    headers = page.partition("are shown by this list")[2].partition("What was masked")[0]
    parameters = page.partition("Of the query, the values of")[2].partition("are shown")[0]

    shown = {name.decode() for name in exchange._SHOWN} | {f"{start.decode()}*" for start in exchange._SHOWN_STARTS}
    assert set(re.findall(r"`([^`]+)`", headers)) - {"[masked]"} == shown
    assert set(re.findall(r"`([^`]+)`", parameters)) == exchange._SHOWN_PARAMETERS


def test_every_log_line_of_an_interception_is_on_its_page() -> None:
    source = Path(interception_log.__file__).read_text(encoding="utf-8")
    said = set(re.findall(r'"((?:interception|a record) [a-z ]+)"', source))

    assert said <= set(first_cells("reference/logs-and-dumps.md", "Log lines"))
    assert len(said) == 4


def test_the_settings_of_the_pages_hold(tmp_path: Path) -> None:
    file = tmp_path / "aibridge.toml"
    for page in ("how-to/wire-a-collector.md", "reference/logs-and-dumps.md"):
        for found in re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
            assert tomllib.loads(found)
            file.write_text(found)
            assert load(file, environ={}).warnings == ()
