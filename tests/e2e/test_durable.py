"""Durability of the commands: branches, full and read-only disks, damage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hero_process import BATCH, ROUNDS, FinishedRun, Hero
from tiny_runs import left_behind

from hero_engine.storage.run_folder import RunDir


@pytest.fixture
def damaged(hero: Hero, finished: FinishedRun) -> Iterator[Path]:
    """A copy of the finished run, to be spoiled."""
    path = hero.home / "damaged-run"
    shutil.copytree(finished.path, path)
    yield path
    shutil.rmtree(path)


def test_a_branch_with_the_same_labels_is_the_same_run(
    hero: Hero, finished: FinishedRun, labels: Path
) -> None:
    new = hero.home / "branch"
    words = ["--from-round", 2, "--dir", new, "--headless", "--labels", labels]
    done = hero.warm("resume", finished.path, *words).end()
    assert done.code == 0, done
    assert f"hero: round 2 starts again in {new}" in done.err
    assert [line["round"] for line in done.lines()[:-1]] == [1, 2]
    assert left_behind(RunDir.open(new)) == left_behind(RunDir.open(finished.path))


def test_a_branch_that_cannot_be_is_refused(hero: Hero, finished: FinishedRun) -> None:
    for words, said in (
        (["--from-round", ROUNDS + 2], f"choose from rounds 1 to {ROUNDS + 1}"),
        (["--dir", hero.home / "x"], "--dir goes with --from-round"),
    ):
        done = hero.warm("resume", finished.path, *words, "--headless", "--labels", "judge").end()
        assert (done.code, done.out) == (2, "") and said in done.err
        assert len(done.err.splitlines()) == 1


def test_a_finished_run_restores_its_damaged_last_checkpoint(
    hero: Hero, finished: FinishedRun, damaged: Path, labels: Path
) -> None:
    lora = damaged / "checkpoints" / f"r{ROUNDS:03}" / "lora.safetensors"
    lora.write_bytes(lora.read_bytes()[:-1] + b"?")
    refused = hero.warm("export", damaged, "--out", hero.home / "x.safetensors").end()
    assert (refused.code, refused.err) == (4, f"hero: {lora} is damaged: its checksum differs\n")
    done = hero.warm("resume", damaged, "--headless", "--labels", labels).end()
    assert done.code == 0
    assert f"hero: {lora} is damaged: its checksum differs" in done.err.splitlines()
    assert left_behind(RunDir.open(damaged)) == left_behind(RunDir.open(finished.path))


def test_a_run_with_a_damaged_status_continues(hero: Hero, damaged: Path) -> None:
    (damaged / "status.json").write_text("{")
    assert hero.warm("status", damaged).end().code == 4
    done = hero.warm("resume", damaged, "--headless", "--labels", "judge").end()
    assert done.code == 0 and "finished already" in done.err


def test_a_read_only_run_can_be_inspected(hero: Hero, finished: FinishedRun, damaged: Path) -> None:
    """As root a true read-only file system; as another user a folder without permission."""
    with read_only(damaged):
        done = hero.warm("resume", damaged, "--rounds", 1, "--headless", "--labels", "judge").end()
        assert (done.code, done.out) == (3, ""), done
        assert len(done.err.splitlines()) == 1 and str(damaged) in done.err
        told = hero.warm("status", damaged, "--json").end()
        assert told.code == 0, told
        assert json.loads(told.out)["labels"] == ROUNDS * BATCH


class read_only:  # noqa: N801 - used as a function
    """Within, nothing in a folder can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        if os.geteuid():
            self._permit(0o500)
            return
        for options in (["--bind"], ["-o", "remount,bind,ro"]):
            where = [str(self.path)] * (2 if options == ["--bind"] else 1)
            subprocess.run(["mount", *options, *where], check=True)

    def __exit__(self, *_: object) -> None:
        if os.geteuid():
            self._permit(0o700)
        else:
            subprocess.run(["umount", "-l", str(self.path)], check=True)

    def _permit(self, mode: int) -> None:
        for path in [self.path, *self.path.rglob("*")]:
            path.chmod(mode)
