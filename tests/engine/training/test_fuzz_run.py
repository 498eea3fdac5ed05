"""Damage to any files of a run is reported in one line, or the result is right."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupted import Process, figures
from tiny_runs import left_behind

from hero_engine.core.errors import HeroError, StopRequested
from hero_engine.core.events import Event, PhaseStarted
from hero_engine.core.labels import Labels
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir

BATCH = 6
KINDS = ("gone", "empty", "cut", "flipped", "longer", "rubbish", "folder")
Damage = tuple[float, str, float]
"""Which file, as a share of all of them; what happens to it; where, as a share of its length."""
damages = st.lists(
    st.tuples(st.floats(0, 0.999), st.sampled_from(KINDS), st.floats(0, 1)), min_size=1, max_size=3
)


def spoil(path: Path, kind: str, at: float) -> None:
    """Do it, if the file is still there."""
    if not path.is_file():
        return
    data = path.read_bytes()
    path.unlink()  # a branch may share it
    place = int(at * max(0, len(data) - 1))
    if kind == "folder":
        path.mkdir()
    elif kind != "gone":
        flipped = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :] if data else b"?"
        path.write_bytes(
            {
                "empty": b"",
                "cut": data[:place],
                "flipped": flipped,
                "longer": data + b"\0" * 3,
                "rubbish": b"\xff{rubbish" * 40,
            }[kind]
        )


def spoiled(source: Path, target: Path, damage: list[Damage]) -> set[str]:
    """A damaged copy of a run, and the names of its damaged files."""
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    names = set()
    for which, kind, at in damage:
        path = files[int(which * len(files))]
        names.add(str(path.relative_to(target)))
        spoil(path, kind, at)
    return names


@pytest.fixture(scope="session")
def waiting(processes: Callable[[str], Process]) -> RunDir:
    """A run that was stopped when the second round was labelled, not submitted."""
    process = processes("forward")

    def stop(event: Event) -> None:
        if event == PhaseStarted(1, "labelling"):
            raise StopRequested

    with pytest.raises(StopRequested):
        process.run("waiting", emit=stop)
    return process.folder("waiting")


def looked_at(path: Path) -> list[Labels]:
    """All that can be looked at without a model; the labels."""
    run = RunDir.open(path)
    run.opened(), run.over(), run.in_use(), run.waiting()
    for look in (run.status, run.load_checkpoint, lambda: run.load_parts(1)):
        try:
            look()
        except HeroError as error:
            assert "\n" not in error.message
    with Journal.reading(run.journal_path) as journal:
        return [journal.labels(round, BATCH) for round in (0, 1)]


@given(damages)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_damaged_run_is_refused_or_shown_correctly(
    processes: Callable[[str], Process], damage: list[Damage]
) -> None:
    straight = processes("forward").folder("straight")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        spoiled(straight.path, path, damage)
        try:
            labels = looked_at(path)
        except HeroError as error:
            assert error.exit_code in (3, 4) and "\n" not in error.message
        else:
            assert labels == looked_at(straight.path)


@pytest.mark.parametrize("name", ["waiting", "straight"])
@given(damage=damages)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_a_damaged_run_is_refused_or_ends_the_same(
    processes: Callable[[str], Process], waiting: RunDir, name: str, damage: list[Damage]
) -> None:
    """Old pictures that nothing is learned from any more may stay spoiled; nothing else may."""
    process = processes("forward")
    straight, source = process.folder("straight"), process.folder(name)
    copy = straight.path.with_name("spoiled")
    try:
        names = spoiled(source.path, copy, damage)
        process.run("spoiled")
        run, kept = process.folder("spoiled"), left_behind(straight)
        found = left_behind(run)
        old = {
            name for name in names if name.startswith(("images/", "rounds/", "checkpoints/r001"))
        }
        wrong = {each for each in kept if found.get(each) != kept[each]}
        assert wrong <= old and figures(run) == figures(straight)
    except HeroError as error:
        assert error.exit_code in (3, 4) and "\n" not in error.message
    except OSError as error:
        assert error.filename or error.filename2  # the worker tells it in a line
    finally:
        shutil.rmtree(copy, ignore_errors=True)
