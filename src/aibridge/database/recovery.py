"""Ends the interceptions of processes that died, as `recovered`. Done by a server at its start, never by a command.

A living process's interceptions are never touched, and an end that was recorded is never replaced.
"""

from __future__ import annotations

from datetime import datetime

from aibridge.database.boots import the_dead
from aibridge.database.files import DatabaseFile
from aibridge.database.moments import as_text

# The last sign of life is the best that is known: a day that the machine was off is no part of an interception.
_END = """
UPDATE aibridge_interceptions AS i
SET state = 'recovered',
    error_type = 'recovered',
    error_message = 'the process ended before the interception did',
    ended_at = max(
        i.started_at,
        coalesce((SELECT max(created_at) FROM aibridge_token_usages WHERE interception_id = i.id), ''),
        coalesce((SELECT max(created_at) FROM aibridge_user_prompts WHERE interception_id = i.id), ''),
        coalesce((SELECT max(created_at) FROM aibridge_tool_usages WHERE interception_id = i.id), ''),
        coalesce((SELECT max(created_at) FROM aibridge_model_thoughts WHERE interception_id = i.id), '')
    )
WHERE i.boot_id = ? AND i.ended_at IS NULL
"""


def recover(file: DatabaseFile, now: datetime) -> int:
    """Ends what dead processes left open; how many interceptions that were.

    Raises:
        sqlite3.Error: nothing was changed.
    """
    with file.writing() as connection:
        unended = [boot_id for (boot_id,) in connection.execute("SELECT id FROM aibridge_boots WHERE ended_at IS NULL")]
    ended = 0
    with the_dead(file, unended) as dead, file.writing() as connection:
        for boot_id in dead:
            ended += connection.execute(_END, (boot_id,)).rowcount
            connection.execute("UPDATE aibridge_boots SET ended_at = ? WHERE id = ?", (as_text(now), boot_id))
    return ended
