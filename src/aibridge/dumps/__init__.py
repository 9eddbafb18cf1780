"""Debug dumps: what was sent to a provider and what came back, as two files for each exchange. Off unless asked for.

A dump holds prompts and answers. Headers are written by an allow-list, files are for their owner alone, and both their
size and their number are bounded.
"""

from __future__ import annotations

from aibridge.dumps.folder import Folder
from aibridge.dumps.upstream import DumpingUpstream

__all__ = ["DumpingUpstream", "Folder"]
