"""Where runs lie, and which one a name, a path or nothing means."""

import os
import time
from pathlib import Path

import pytest
from refusals import refused
from run_folders import SETTINGS, TASK

from hero_engine.core.errors import ExitCode
from hero_engine.storage import run_folder as rundir
from hero_engine.storage.run_folder import RunDir, find_run, newest_run, runs_root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HERO_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_runs_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("HERO_RUNS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert runs_root() == Path("/home/me/.local/share/hero/runs")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert runs_root() == Path("/data/hero/runs")
    monkeypatch.setenv("HERO_RUNS", "~/mine")
    assert runs_root() == Path("/home/me/mine")
    monkeypatch.setenv("HERO_RUNS", "")
    assert runs_root() == Path("/data/hero/runs")


def test_a_run_is_found_by_path_by_name_or_as_the_newest(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, here = root / "one", tmp_path / "here"
    for path in (named, here):
        RunDir.create(path, SETTINGS, TASK)
    assert find_run("one") == find_run(None) == named
    assert find_run(str(here)) == here
    monkeypatch.chdir(tmp_path)
    assert find_run("here") == Path("here")
    RunDir.create(tmp_path / "one", SETTINGS, TASK)
    assert find_run("one") == Path("one")  # a path comes before a name
    for missing in (find_run("gone"), tmp_path):
        with refused(ExitCode.RUN, f"{missing} is not a run"):
            RunDir.open(missing)


def test_the_newest_run_is_the_one_that_was_worked_on_last(root: Path) -> None:
    old, new = (RunDir.create(root / name, SETTINGS, TASK).path for name in ("b", "a"))
    for seconds, path in enumerate((old, new)):
        os.utime(path / "run.toml", (seconds, seconds))
    assert newest_run() == new
    for file in ("status.json", "journal.db", "journal.db-wal"):
        for seconds, path in enumerate((new, old), start=10):
            (path / file).write_text("x")
            os.utime(path / file, (seconds, seconds))
        assert newest_run() == old
        for path in (old, new):
            (path / file).unlink()


def test_no_run_at_all_names_the_command_that_starts_one(root: Path) -> None:
    with refused(ExitCode.RUN, f"there is no run in {root}", "hero run hands"):
        newest_run()
    (root / "photos").mkdir(parents=True)
    (root / "letter").write_text("dear")
    with refused(ExitCode.RUN, "there is no run in"):
        find_run(None)


def test_two_runs_in_the_same_second_get_two_folders(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "20250102-030405")
    names = []
    for _ in range(3):
        path = rundir.new_run_path("cup")
        assert path.parent == root
        names.append(RunDir.create(path, SETTINGS, TASK).path.name)
    assert names == [f"cup-20250102-030405{end}" for end in ("", "-2", "-3")]


def test_inspecting_a_run_does_not_make_it_the_newest(root: Path) -> None:
    """SQLite leaves an empty write-ahead log where a journal was read."""
    old, new = (RunDir.create(root / name, SETTINGS, TASK).path for name in ("b", "a"))
    for seconds, path in enumerate((old, new)):
        os.utime(path / "run.toml", (seconds, seconds))
    (old / "journal.db-wal").touch()
    assert newest_run() == new
