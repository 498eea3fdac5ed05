"""Network file systems: no write-ahead log, and a lock that names the other machine."""

import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from hero_engine.core.errors import ExitCode
from hero_engine.core.labels import Mark
from hero_engine.storage import file_system as module
from hero_engine.storage.file_system import FileSystem, file_system
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir

Mount = Callable[[str], None]


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mount:
    """Says that the test's folder is a mount of this type; "TYPE OPTIONS" with options."""

    def said(text: str) -> None:
        type, _, options = text.partition(" ")
        lines = (
            "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
            f"40 21 0:35 / {tmp_path} rw,nosuid - {type} host:/share {options or 'rw'}",
            f"41 40 0:36 / {tmp_path}/with\\040blank rw shared:2 master:1 - tmpfs none rw",
        )
        (tmp_path / "mounts").write_text("\n".join(lines))
        monkeypatch.setattr(module, "MOUNTS", tmp_path / "mounts")

    return said


@pytest.mark.parametrize(
    "mounted, network, locks_shared",
    [
        ("ext4", False, True),
        ("overlay", False, True),
        ("fuseblk", False, True),  # NTFS on a local disk
        ("nfs4 rw,vers=4.2,local_lock=none", True, True),
        ("nfs rw,vers=3,nolock,local_lock=all", True, False),
        ("nfs rw,vers=3,local_lock=flock", True, False),
        ("cifs", True, False),
        ("fuse.sshfs", True, False),
        ("9p", True, False),
    ],
)
def test_what_a_mount_can_do(
    mount: Mount, tmp_path: Path, mounted: str, network: bool, locks_shared: bool
) -> None:
    mount(mounted)
    (tmp_path / "deep").mkdir()
    found = file_system(tmp_path / "deep")
    assert (found.type, found.network, found.locks_shared) == (
        mounted.partition(" ")[0],
        network,
        locks_shared,
    )
    assert file_system(tmp_path / "with blank").type == "tmpfs"
    assert file_system(tmp_path.parent).type == "ext4"


def test_without_a_list_of_mounts_nothing_is_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOUNTS", Path("/nowhere/mountinfo"))
    assert file_system(Path("/")) == FileSystem("")
    assert not FileSystem("").network


def test_a_network_gets_a_rollback_journal_also_for_a_run_from_a_disk(
    mount: Mount, tmp_path: Path
) -> None:
    """Two connections, as the app and the engine have; marks given on the disk are kept."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.add_round(0)
        journal.mark(0, [Mark(0, "good")], source="person")
    mount("fuse.sshfs")
    with Journal(path) as ours, Journal(path) as theirs:
        theirs.mark(0, [Mark(1, "best")], source="person")
        ours.mark(0, [Mark(2, "bad")], source="person")
        assert not (tmp_path / "journal.db-wal").exists()
        assert (tmp_path / "journal.db-journal").exists()
        with Journal.reading(path) as reader:
            assert [row.value for row in reader.history(0)] == ["good", "best", "bad"]
    mount("ext4")
    with Journal(path) as journal:
        journal.mark(0, [Mark(3, "good")], source="person")
        assert (tmp_path / "journal.db-wal").exists()


def test_a_quota_that_is_used_up_takes_no_mark_half(tmp_path: Path) -> None:
    """By the limit of a process on the size of its files, which SQLite meets as it does a quota."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path / "journal.db") as journal:
        journal.add_round(0)
        journal.mark(0, [Mark(0, "good")], source="person")
        used = (tmp_path / "journal.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (used, limits[1]))
        try:
            with refused(ExitCode.ENVIRONMENT, "cannot write", "is a quota used up?"):
                journal.mark(0, [Mark(1, "good")], source="person")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        journal.mark(0, [Mark(2, "bad")], source="person")
        assert [row.image for row in journal.history(0)] == [0, 2]


def test_a_run_says_once_where_it_is(run: RunDir, mount: Mount) -> None:
    assert run.shortcomings() == []
    mount("nfs4 rw,local_lock=none")
    (said,) = run.shortcomings()
    assert "is on nfs4: labels go into a rollback journal" in said and "locks" not in said
    mount("fuse.sshfs")
    assert "its locks do not reach other machines" in run.shortcomings()[0]


def test_a_lock_that_stays_on_one_machine_names_the_other(run: RunDir, mount: Mount) -> None:
    lock = run.path / "lock"
    lock.write_text("77 bigbox.lan")
    with run.lock():  # of a local disk: a process that has died
        pass
    assert lock.read_text() == ""
    mount("fuse.sshfs")
    lock.write_text("77 bigbox.lan")
    assert run.in_use()
    said = (
        f"in use by another hero (process 77 on bigbox.lan). If no hero runs there, delete {lock}"
    )
    with refused(ExitCode.RUN, said), run.lock():
        pytest.fail("two machines hold the run")
    lock.write_text(f"77 {socket.gethostname()}")
    with run.lock(), refused(ExitCode.RUN, "by another hero (process "):
        run.lock().__enter__()
