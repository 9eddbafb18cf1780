"""On which kind of file system a path lies. A database on a network file system is refused.

SQLite's write-ahead log needs shared memory between its users and locks that tell the truth
(https://www.sqlite.org/wal.html, "All processes using a database must be on the same host computer").
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# As the kernel names them; `fuse.` before it where a user-space program serves them.
_OVER_THE_NETWORK = re.compile(
    r"(?:fuse\.)?(?:afpfs|afs|beegfs|ceph|cifs|coda|davfs2?|gcsfuse|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2"
    r"|orangefs|pvfs2|rclone|s3fs|smb3|smbfs|sshfs|webdav)"
)
_ESCAPE = re.compile(r"\\([0-7]{3})")


def network_file_system_of(path: Path) -> str | None:
    """The name of the network file system that holds `path`, or None: it is local, or nobody can say."""
    if sys.platform == "darwin":
        listing = subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False).stdout
        return network_kind_at(path, mounts_of_darwin(listing))
    try:
        return network_kind_at(path, mounts_of_linux(Path("/proc/self/mountinfo").read_text(errors="surrogateescape")))
    except OSError:
        return None


def network_kind_at(path: Path, mounts: list[tuple[Path, str]]) -> str | None:
    """The kind of the innermost mount above `path` if that is a network's; of two on one point the later counts."""
    kind, depth = "", -1
    for point, name in mounts:
        if len(point.parts) >= depth and path.is_relative_to(point):
            kind, depth = name, len(point.parts)
    return kind if _OVER_THE_NETWORK.fullmatch(kind) else None


def mounts_of_linux(mountinfo: str) -> list[tuple[Path, str]]:
    """Mount points and kinds from /proc/self/mountinfo (proc_pid_mountinfo(5)): ... POINT options ... - KIND ..."""
    mounts = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        if separator:
            point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), before.split(" ")[4])
            mounts.append((Path(point), after.split(" ")[0]))
    return mounts


def mounts_of_darwin(listing: str) -> list[tuple[Path, str]]:
    """From mount(8): `SOURCE on POINT (KIND, options)`."""
    found = (re.fullmatch(r".+? on (.+) \(([^,)]+).*\)", line) for line in listing.splitlines())
    return [(Path(match[1]), match[2]) for match in found if match]
