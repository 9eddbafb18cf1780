"""Files with secrets are whole or not there, and nobody else can read them."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aibridge.server.private_files import PrivateFileUnusable, kept, read, write


def test_what_was_made_once_is_read_ever_after(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "secret"

    assert kept(path, lambda: "first") == "first"
    assert kept(path, lambda: "second") == "first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_of_many_that_make_it_at_once_one_does_and_all_have_its_text(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda number: kept(path, lambda: f"text {number}"), range(64)))

    assert set(texts) == {path.read_text().strip()}
    assert list(tmp_path.iterdir()) == [path]


def test_writing_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)

    write(path, "new")

    assert (read(path), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    assert read(tmp_path / "nowhere") is None


@pytest.mark.parametrize(("content", "says"), [(b" \n", "is empty"), (b"\xff", "cannot be read")])
def test_a_file_that_holds_no_secret_is_refused_and_stays_as_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)

    with pytest.raises(PrivateFileUnusable, match=says):
        kept(path, lambda: "made")

    assert path.read_bytes() == content


def test_nothing_is_left_beside_one_that_the_disk_had_no_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(PrivateFileUnusable, match="cannot be written \\(No space left on device\\)"):
        kept(tmp_path / "secret", lambda: "made")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(PrivateFileUnusable, match="file/secret: cannot be written"):
        write(tmp_path / "file" / "secret", "x")
