from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from aibridge.database.change_mark import ChangeMark

_MOVES = """
import sys
from pathlib import Path
from aibridge.database.change_mark import ChangeMark
ChangeMark(Path(sys.argv[1])).move()
"""


def test_what_one_process_moves_another_sees_at_once(tmp_path: Path) -> None:
    with closing(ChangeMark(tmp_path / "mark")) as mark:
        before = mark.seen()
        subprocess.run([sys.executable, "-c", _MOVES, str(tmp_path / "mark")], check=True, timeout=30)

        assert mark.seen() != before


def test_a_mark_that_did_not_move_is_equal_and_one_that_did_never_comes_back(tmp_path: Path) -> None:
    with closing(ChangeMark(tmp_path / "mark")) as mark, closing(ChangeMark(tmp_path / "mark")) as same:
        seen = {mark.seen()}
        assert same.seen() in seen

        for _ in range(1000):
            same.move()
            assert mark.seen() not in seen
            seen.add(mark.seen())


def test_a_new_mark_has_its_room_on_the_disk_and_one_that_was_only_made_long_gets_it(tmp_path: Path) -> None:
    """Else the first look at it, when the disk is full, would end the process."""
    hole = tmp_path / "hole"
    with hole.open("wb") as file:
        file.truncate(8)

    for path in (hole, tmp_path / "new"):
        ChangeMark(path).close()
        assert path.stat().st_size == 8
        assert path.read_bytes() != bytes(8)
