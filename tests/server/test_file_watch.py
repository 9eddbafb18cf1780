"""Which files a configuration is made of, and when a change of one is told."""

import asyncio
import os
from pathlib import Path

import pytest

from aibridge.server.config import load
from aibridge.server.file_watch import FileWatch, files_of

pytestmark = pytest.mark.anyio

QUICK = 0.005  # seconds
BOUND = 5.0


async def told(watch: FileWatch) -> None:
    async with asyncio.timeout(BOUND):
        await watch.changed()


async def is_told(watch: FileWatch) -> bool:
    """Within some looks."""
    try:
        async with asyncio.timeout(20 * QUICK):
            await watch.changed()
    except TimeoutError:
        return False
    return True


def test_the_file_and_what_it_names_are_watched(tmp_path: Path) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(
        'upstream.ca_bundle = "authorities.pem"\n[[providers]]\ntype = "openai"\nkeys = ["file:one.key", "file:/two.key"]\n'
        'client_cert = "us.pem"\n[[mcp_servers]]\nname = "wiki"\nurl = "https://wiki.test"\nauth = "token"\ntoken = "file:t"\n'
        '[[providers]]\ntype = "anthropic"\n[providers.vertex]\nproject = "p"\ncredentials_file = "google.json"\n'
    )
    names = {"aibridge.toml", "authorities.pem", "one.key", "us.pem", "t", "google.json"}

    assert files_of(load(file, {})) == {*(tmp_path / name for name in names), Path("/two.key")}


def test_without_a_file_only_named_secrets_are_watched(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "AIBRIDGE_SERVER__SECRET_FILE": str(tmp_path / "secret")}

    assert files_of(load(None, environ)) == {tmp_path / "secret"}


async def test_a_change_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    watch = FileWatch([file], QUICK)
    assert not await is_told(watch)
    file.write_text("other")
    await told(watch)
    assert not await is_told(watch)


async def test_a_file_that_is_replaced_removed_or_there_at_last_has_changed(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("one")
    watch = FileWatch([file], QUICK)
    other.write_text("two")  # of the same length
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.rename(file)
    await told(watch)
    file.unlink()
    await told(watch)
    file.write_text("one")
    await told(watch)


async def test_a_mounted_secret_changes_by_what_its_link_points_to(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_text("same")
    (tmp_path / "now").symlink_to("1")
    watch = FileWatch([tmp_path / "now" / "key"], QUICK)
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").rename(tmp_path / "now")

    await told(watch)


async def test_other_files_are_watched_from_now_on_and_a_change_in_between_is_not_missed(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("one")
    watch = FileWatch([first], QUICK)
    first.write_text("other")
    watch.watch([first, second])
    await told(watch)
    second.write_text("there")
    await told(watch)
    watch.watch([first])
    second.write_text("there no more")
    assert not await is_told(watch)
