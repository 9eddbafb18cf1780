"""The folder in which workers count: private, gone with its supervisor, and no other's."""

import shutil
from pathlib import Path

from aibridge.server.metrics_files import metrics_folder


def test_the_folder_is_private_and_goes_with_the_block(tmp_path: Path) -> None:
    with metrics_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_supervisor_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    with metrics_folder(tmp_path) as living:
        left = shutil.copytree(living, tmp_path / "aibridge-metrics-left")  # its lock is held by nobody
        unfinished = tmp_path / "aibridge-metrics-unfinished"
        unfinished.mkdir()  # by somebody who has not locked it yet
        with metrics_folder(tmp_path) as other:
            assert not left.exists()
            assert sorted(tmp_path.iterdir()) == sorted([living, other, unfinished])
