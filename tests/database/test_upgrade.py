"""A database gets the present tables at start, whole or not at all; a newer one is refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import aibridge.database.migrations
from aibridge.database import schema
from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.database.statements import Statement
from aibridge.database.upgrade import REVISIONS, bring_up_to_date
from aibridge.recorders import rows
from tests.durable import BOUND, database

UPGRADE = """
import sys
from aibridge.database.files import DatabaseFile
from aibridge.database.statements import Statement
from aibridge.database.upgrade import bring_up_to_date
bring_up_to_date(DatabaseFile.at(sys.argv[1]))
print(sorted({"alembic", "sqlalchemy"} & set(sys.modules)))
"""


def database_at(folder: Path, revision: str) -> DatabaseFile:
    """A database as an older version left it."""
    file = DatabaseFile.at(folder / "aibridge.db")
    config = Config()
    config.set_main_option("script_location", str(Path(aibridge.database.migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{file.path}", poolclass=NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return file


def tables_of(file: DatabaseFile) -> set[str]:
    with closing(sqlite3.connect(file.path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_the_migrations_make_what_the_schema_says(tmp_path: Path) -> None:
    file = database(tmp_path)

    engine = create_engine(f"sqlite:///{file.path}", poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_usage_that_was_recorded_before_models_were_stays_with_no_model(tmp_path: Path) -> None:
    file = database_at(tmp_path, "0003")
    with file.writing() as connection:
        connection.execute(
            "INSERT INTO aibridge_token_usages (id, interception_id, input_tokens, output_tokens, cache_read_tokens,"
            " cache_write_tokens, extra, partial, created_at) VALUES ('u1', 'i1', 1, 2, 3, 4, '{}', 0, '2026-11-20')"
        )

    bring_up_to_date(file)

    with closing(sqlite3.connect(file.path)) as connection:
        assert connection.execute("SELECT id, output_tokens, model FROM aibridge_token_usages").fetchall() == [
            ("u1", 2, None)
        ]


def test_every_step_is_known_by_name() -> None:
    folder = Path(aibridge.database.migrations.__file__).parent
    steps = [step.revision for step in ScriptDirectory(str(folder)).walk_revisions()]

    assert tuple(reversed(steps)) == REVISIONS


@pytest.mark.parametrize(
    "statement", [rows.INTERCEPTION, rows.TOKEN_USAGE, rows.PROMPT, rows.TOOL_USAGE, rows.THOUGHT, rows.ENDED]
)
def test_what_the_recorder_writes_fits_the_tables(tmp_path: Path, statement: Statement) -> None:
    with closing(database(tmp_path).connection()) as connection:
        for text, values in statement.executions([[None] * statement.columns]):
            connection.execute(f"EXPLAIN {text}", values)


def test_an_end_finds_its_interception_by_the_index(tmp_path: Path) -> None:
    with closing(database(tmp_path).connection()) as connection:
        for text, values in rows.ENDED.executions([[None] * rows.ENDED.columns] * 32):
            plan = [step[-1] for step in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]

            assert any(step.startswith("SEARCH aibridge_interceptions") and "(id=?)" in step for step in plan), plan


def test_a_current_database_is_opened_without_loading_alembic(tmp_path: Path) -> None:
    path = tmp_path / "aibridge.db"

    first, second = (
        subprocess.run([sys.executable, "-c", UPGRADE, path], capture_output=True, check=True, timeout=BOUND).stdout
        for _ in range(2)
    )

    assert first == b"['alembic', 'sqlalchemy']\n"
    assert second == b"[]\n"


def test_processes_that_start_at_once_upgrade_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "aibridge.db"

    starting = [subprocess.Popen([sys.executable, "-c", UPGRADE, path], stdout=subprocess.PIPE) for _ in range(4)]
    said = [process.communicate(timeout=BOUND)[0] for process in starting]

    assert [process.returncode for process in starting] == [0, 0, 0, 0]
    assert sorted(said) == [b"['alembic', 'sqlalchemy']\n"] + [b"[]\n"] * 3
    assert "aibridge_interceptions" in tables_of(DatabaseFile.at(path))


def test_a_newer_database_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    file = database(tmp_path)
    with file.writing() as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(DatabaseUnusable, match=rf"made by a newer aibridge .*9999.*up to {REVISIONS[-1]}"):
        bring_up_to_date(file)

    with closing(sqlite3.connect(file.path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    file = DatabaseFile.at(tmp_path / "aibridge.db")
    with file.writing() as connection:
        connection.execute("CREATE VIEW aibridge_keys AS SELECT 1")  # in the way of the last table

    with pytest.raises(DatabaseUnusable, match="could not be upgraded"):
        bring_up_to_date(file)

    assert tables_of(file) == set()


def test_tables_without_a_version_are_refused(tmp_path: Path) -> None:
    file = DatabaseFile.at(tmp_path / "aibridge.db")
    with file.writing() as connection:
        connection.execute("CREATE TABLE aibridge_users (id TEXT)")

    with pytest.raises(DatabaseUnusable, match="not their version"):
        bring_up_to_date(file)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "aibridge.db"
    path.write_bytes(b"not a database at all, whatever its name says" * 100)

    with pytest.raises(DatabaseUnusable, match="not a database"):
        bring_up_to_date(DatabaseFile.at(path))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DatabaseUnusable, match="cannot be written"):
        DatabaseFile.at(tmp_path / "file" / "aibridge.db")


def test_only_the_owner_can_read_the_database_and_its_log(tmp_path: Path) -> None:
    file = database(tmp_path / "new" / "folder")

    with closing(file.connection()) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO aibridge_boots (id, pid, started_at) VALUES ('x', 1, '')")
        connection.execute("COMMIT")

        assert file.path.stat().st_mode & 0o777 == 0o600
        assert file.log.stat().st_mode & 0o777 == 0o600
        assert file.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_connection_commits_to_the_disk_and_leaves_checkpoints_to_the_writer(tmp_path: Path) -> None:
    with closing(database(tmp_path).connection()) as connection:
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
        }

    assert settings == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}
