"""Where the pages are, as the configuration says it."""

from pathlib import Path

import pytest

from aibridge.server.config import load
from aibridge.server.configured_logins import check_logins, pages_address


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("https://ai.example", "https://ai.example"),
        ("https://AI.example/", "https://ai.example"),
        ("https://ai.example:443", "https://ai.example"),
        ("https://ai.example:8443", "https://ai.example:8443"),
        ("https://ai.example:80", "https://ai.example:80"),
        ("https://ai.example:", "https://ai.example"),
        ("https://[2001:db8::443]", "https://[2001:db8::443]"),
        ("http://localhost:80", "http://localhost"),
    ],
)
def test_the_pages_are_named_as_browsers_name_them(tmp_path: Path, written: str, said: str) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(f'[server]\npublic_url = "{written}"\n')
    configuration = load(file, {})

    check_logins(configuration)
    assert pages_address(configuration) == said
