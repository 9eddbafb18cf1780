"""Durations, sizes and secrets as people write them."""

from pathlib import Path

import pytest

from aibridge.server.config.values import Unresolved, resolved, seconds, size


@pytest.mark.parametrize(
    ("written", "meant"),
    [("300s", 300.0), ("10m", 600.0), ("60d", 5_184_000.0), ("1.5h", 5400.0), ("250 ms", 0.25), ("0", 0.0), (7, 7.0)],
)
def test_durations_are_read(written: object, meant: float) -> None:
    assert seconds(written) == meant


@pytest.mark.parametrize("written", ["", "soon", "-1s", "1 fortnight", "1s 2s", None, True, -1, [], "nan", "inf"])
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        seconds(written)


@pytest.mark.parametrize(
    ("written", "meant"), [("32MiB", 32 * 1024**2), ("1 MB", 1_000_000), ("512KiB", 524_288), ("10", 10), (5, 5)]
)
def test_sizes_are_read(written: object, meant: int) -> None:
    assert size(written) == meant


@pytest.mark.parametrize("written", ["", "1.5MiB", "3 elephants", "-1", None, False, 1.5])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        size(written)


def test_a_secret_is_the_value_or_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")

    assert resolved("env:KEY", {"KEY": "from-a-variable"}).reveal() == "from-a-variable"
    assert resolved("file:key", {}, tmp_path).reveal() == "from-a-file"
    assert resolved(f"file:{tmp_path}/key", {}, Path("/elsewhere")).reveal() == "from-a-file"
    assert resolved("the-key-itself", {}).reveal() == "the-key-itself"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("env:MISSING", "the environment variable MISSING is not set"),
        ("env:EMPTY", "the environment variable EMPTY is not set"),
        ("file:missing", "the file .*missing cannot be read"),
        ("file:empty", "the file .*empty is empty"),
    ],
)
def test_a_secret_that_is_not_there_is_named_by_its_place(tmp_path: Path, reference: str, why: str) -> None:
    (tmp_path / "empty").write_text(" \n")

    with pytest.raises(Unresolved, match=why):
        resolved(reference, {"EMPTY": ""}, tmp_path)
