"""Databases on network file systems are refused; everything else is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibridge.database.file_systems import (
    mounts_of_darwin,
    mounts_of_linux,
    network_file_system_of,
    network_kind_at,
)

MOUNTINFO = r"""
22 1 254:1 / / rw,relatime - ext4 /dev/root rw
30 22 0:26 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
31 30 0:27 / /home/local rw - xfs /dev/sdb rw
32 22 0:28 / /mnt/two\040words rw,nosuid master:2 propagate_from:1 - fuse.sshfs host: rw
33 22 0:29 / /mnt/hidden rw - cifs //server/share rw
34 22 0:30 / /mnt/hidden rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/aibridge.db", None),
        ("/home/alice/aibridge.db", "nfs4"),
        ("/home/local/aibridge.db", None),
        ("/homestead/aibridge.db", None),
        ("/mnt/two words/aibridge.db", "fuse.sshfs"),
        ("/mnt/hidden/aibridge.db", None),
    ],
)
def test_the_innermost_and_latest_mount_decides(path: str, kind: str | None) -> None:
    assert network_kind_at(Path(path), mounts_of_linux(MOUNTINFO)) == kind


def test_the_listing_of_macos_is_read() -> None:
    mounts = mounts_of_darwin(
        "/dev/disk3s1 on / (apfs, sealed, local, read-only)\n"
        "//alice@server/share on /Volumes/a share (smbfs, nodev, nosuid)\n"
    )

    assert network_kind_at(Path("/Volumes/a share/aibridge.db"), mounts) == "smbfs"
    assert network_kind_at(Path("/Users/alice/aibridge.db"), mounts) is None


def test_a_local_folder_is_taken(tmp_path: Path) -> None:
    assert network_file_system_of(tmp_path) is None
