"""A branch shares the first rounds of a run, and the run it came from stays as it is."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interrupted import Process, assert_same
from refusals import refused
from tiny_runs import LINES, Script, go, left_behind

from hero_engine.core.errors import ExitCode
from hero_engine.storage.branch_run import branch
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir


def stat_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file's time and content."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize("round", [0, 1, 2])
def test_the_same_labels_make_the_same_run_again(
    processes: Callable[[str], Process], update: str, round: int
) -> None:
    process = processes(update)
    old = process.folder("straight")
    before = stat_of(old.path)
    new = branch(old, round, old.path.with_name(f"from-{round}"))
    assert new.opened().round == round
    assert [path.name for path in sorted((new.path / "images").glob("*"))] == [
        f"r{each:03}" for each in range(round)
    ]
    process.run(new.path.name)
    assert_same(process, new.path.name)
    assert stat_of(old.path) == before


def test_other_labels_make_another_run(make_run: Callable[..., RunDir]) -> None:
    old = make_run(update="forward")
    go(old, Script(*LINES))
    kept = left_behind(old)
    new = branch(old, 1)
    assert new.path == old.path.with_name("run-from-2")
    assert branch(old, 1).path == old.path.with_name("run-from-2-2")
    go(new, Script(LINES[0], "bbb*gb"))
    other = left_behind(new)
    assert left_behind(old) == kept
    assert other.keys() == kept.keys()
    differ = {name for name in kept if kept[name] != other[name]}
    assert "checkpoints/r002/lora.safetensors" in differ
    assert not any(name.startswith(("images", "rounds", "checkpoints/r001")) for name in differ)
    assert f'branched_from = "{old.path}"' in (new.path / "run.toml").read_text()


def test_a_round_whose_checkpoint_is_not_kept_is_learned_again(
    processes: Callable[[str], Process],
) -> None:
    process = processes("ddpo")
    old = process.folder("straight")
    new = branch(old, 2, old.path.with_name("again"))
    shutil.rmtree(new.path / "checkpoints/r002")
    process.run("again")
    assert_same(process, "again")


def test_where_there_are_no_links_files_are_copied(
    processes: Callable[[str], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = processes("forward")
    old = process.folder("straight")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    with monkeypatch.context() as system:
        system.setattr(os, "link", refuse)
        new = branch(old, 2, old.path.with_name("copied"))
    assert new.picture_path(0, 0).stat().st_nlink == 1
    process.run("copied")
    assert_same(process, "copied")


def test_an_impossible_branch_is_refused_and_leaves_nothing(
    processes: Callable[[str], Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = processes("forward").folder("straight")
    with refused(ExitCode.USAGE, "has not reached round 4: choose from rounds 1 to 3"):
        branch(old, 3, tmp_path / "new")
    with refused(ExitCode.RUN, "exists; "):
        branch(old, 1, old.path)
    with old.lock(), refused(ExitCode.RUN, "is in use: stop it first"):
        branch(old, 1, tmp_path / "new")
    with monkeypatch.context() as system:

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        system.setattr(Journal, "copy", full)
        with refused(ExitCode.ENVIRONMENT, "new: No space left on device"):
            branch(old, 1, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
