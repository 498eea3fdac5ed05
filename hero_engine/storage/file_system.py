"""What the file system of a folder cannot do: memory or locks shared between machines.

SQLite's write-ahead log needs memory that every reader shares, which network file systems do not
give (sqlite.org/wal.html). Where a lock stays on one machine, two may write to the same run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")
SHARED_LOCKS = frozenset({"nfs", "nfs4", "ceph", "gfs2", "gpfs", "ocfs2"})
"""Network file systems whose locks reach the other machines, unless mounted otherwise."""
NETWORK = SHARED_LOCKS | {"cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "coda", "glusterfs"}
NETWORK |= {"lustre", "beegfs", "vboxsf", "vmhgfs", "fuse"}
LOCAL_LOCK = re.compile(r"\b(nolock|local_lock=(all|flock))\b")


class FileSystem(NamedTuple):
    """A mounted file system: its type ("ext4", "fuse.sshfs"; "" if unknown) and mount options."""

    type: str
    options: str = ""

    @property
    def network(self) -> bool:
        """Whether other machines may have it mounted too; also any FUSE mount."""
        return self.type.partition(".")[0] in NETWORK

    @property
    def locks_shared(self) -> bool:
        """Whether a lock keeps out processes of every machine that has it mounted."""
        if not self.network:
            return True
        return self.type in SHARED_LOCKS and LOCAL_LOCK.search(self.options) is None


def file_system(path: Path) -> FileSystem:
    """The file system of a path; of unknown type where the system does not list its mounts."""
    try:
        lines = MOUNTS.read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return FileSystem("")
    whole, found, longest = path.resolve(), FileSystem(""), -1
    for line in lines:
        point, mounted = _parsed(line)
        if len(point.parts) >= longest and whole.is_relative_to(point):
            found, longest = mounted, len(point.parts)
    return found


def _parsed(line: str) -> tuple[Path, FileSystem]:
    """Mount point and file system of a line; see proc(5). A blank in a path is \\040."""
    before, _, after = line.partition(" - ")
    fields, (type, _, options) = before.split(" "), after.split(" ", 2)
    point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
    return Path(point), FileSystem(type, f"{fields[5]},{options}")
