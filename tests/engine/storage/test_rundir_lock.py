"""A run belongs to one process at a time, for as long as that lives."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from refusals import refused

from hero_engine.core.errors import ExitCode
from hero_engine.storage.run_folder import RunDir

HOLDER = """
import sys, time
from pathlib import Path
from hero_engine.storage.run_folder import RunDir

with RunDir.open(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_kept_out_until_the_holder_dies(run: RunDir) -> None:
    command = [sys.executable, "-c", HOLDER, str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert run.in_use()
        said = f"{run.path} is in use by another hero (process {holder.pid})"
        with refused(ExitCode.RUN, said), run.lock():
            pytest.fail("two processes hold the run")
        holder.kill()
    assert not run.in_use()
    with run.lock():
        assert (run.path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}"
    assert (run.path / "lock").read_text() == ""


def test_the_lock_is_released_after_its_block(run: RunDir) -> None:
    assert not run.in_use()
    with pytest.raises(ZeroDivisionError), run.lock():
        assert run.in_use()
        raise ZeroDivisionError
    assert not run.in_use()
    with run.lock(), refused(ExitCode.RUN, f"(process {os.getpid()})"):
        run.lock().__enter__()


@pytest.mark.parametrize("left", [b"-1 of them", b"\xff\xfe\x00", b"4194303", b""])
def test_a_lock_of_a_dead_process_blocks_nobody(run: RunDir, left: bytes) -> None:
    (run.path / "lock").write_bytes(left)
    assert not run.in_use()
    with run.lock(), refused(ExitCode.RUN, f"(process {os.getpid()})"):
        run.lock().__enter__()


def test_a_run_that_has_gone_cannot_be_locked(run: RunDir, tmp_path: Path) -> None:
    run.path.rename(tmp_path / "moved")
    with refused(ExitCode.RUN, run.path), run.lock():
        pytest.fail("there is no run")


def test_a_reader_locks_nobody_out(run: RunDir) -> None:
    with run.lock():
        pass  # there is a lock file now, with something to look at
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            run.in_use()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(200):
            with run.lock():
                pass
    finally:
        over.set()
        looker.join()
