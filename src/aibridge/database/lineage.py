"""Who follows whom: the interception that carries a tool's result follows the one in which that tool was called.

Found after arrival and again when a late parent arrives, always among the same person's interceptions. The root of a
thread is the chain's first; a first one has no root. The session is the client's own, else the root, else itself.
Everything here runs in the writer thread's transactions, as work for quiet moments.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

# Ids like `call_0` repeat: the parent is the latest that made such a call before this request came.
_PARENT = """
SELECT child.thread_parent_id, child.initiator_id, child.id, parent.id, coalesce(parent.thread_root_id, parent.id)
FROM aibridge_interceptions AS child
JOIN aibridge_interceptions AS parent ON parent.id = (
    SELECT call.interception_id FROM aibridge_tool_usages AS call
    WHERE call.initiator_id = child.initiator_id
      AND call.tool_call_id = child.correlating_tool_call_id
      AND call.created_at <= child.started_at
      AND call.interception_id <> child.id
    ORDER BY call.created_at DESC LIMIT 1
)
WHERE child.id = ?
"""
# The unary plus keeps SQLite from choosing an index by guess: the waiting ones of one call id are few.
_WAITING = """
SELECT child.id
FROM aibridge_tool_usages AS call
JOIN aibridge_interceptions AS child
  ON child.correlating_tool_call_id = call.tool_call_id AND child.initiator_id = call.initiator_id
WHERE call.interception_id = ?
  AND child.correlating_tool_call_id IS NOT NULL AND child.thread_parent_id IS NULL
LIMIT 1000
"""
_LINK = """
UPDATE aibridge_interceptions
SET thread_parent_id = ?, thread_root_id = ?, session_id = coalesce(client_session_id, ?)
WHERE id = ?
"""
# Whoever took the child for the root moves to the new root with it.
_MOVE = """
UPDATE aibridge_interceptions
SET thread_root_id = ?, session_id = coalesce(client_session_id, ?)
WHERE thread_root_id = ? AND initiator_id = ?
"""
# What the last process may have left undone: newest first, so that a long history does not hold up a start.
_UNRESOLVED = """
SELECT id FROM aibridge_interceptions
WHERE arrival > (SELECT coalesce(max(arrival), 0) - 10000 FROM aibridge_interceptions)
  AND correlating_tool_call_id IS NOT NULL AND thread_parent_id IS NULL
"""


def find_parents(connection: sqlite3.Connection, interception_ids: Sequence[str]) -> None:
    """Links each of the interceptions to its parent, if the parent's call is known by now."""
    for interception_id in interception_ids:
        row = connection.execute(_PARENT, (interception_id,)).fetchone()
        if row is None:
            continue
        linked, initiator_id, child, parent, root = row
        # Clocks step: a parent that descends from its child would close a circle.
        if linked is not None or root == child:
            continue
        connection.execute(_LINK, (parent, root, root, child))
        connection.execute(_MOVE, (root, root, child, initiator_id))


def adopt_waiting(connection: sqlite3.Connection, interception_ids: Sequence[str]) -> None:
    """Links those that came before their parent's calls were recorded: `interception_ids` are such late parents."""
    for interception_id in interception_ids:
        find_parents(connection, [child for (child,) in connection.execute(_WAITING, (interception_id,)).fetchall()])


def unresolved(connection: sqlite3.Connection) -> list[str]:
    """Recent interceptions without a parent although they carry a tool's result."""
    return [interception_id for (interception_id,) in connection.execute(_UNRESOLVED)]
