"""Damage to what can be made again is named and repaired; the run is the same bit for bit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from interrupted import Process, assert_same, flip
from tiny_runs import LINES, Script, go

from hero_engine.core.errors import Damaged, HeroError, StopRequested
from hero_engine.core.events import Event, ImagesReady, Notice, PhaseStarted
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir

Spoil = Callable[[Path], None]


def cut(path: Path) -> None:
    """Half of it is gone."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def finished(process: Process, name: str) -> RunDir:
    """A copy of the undisturbed run."""
    shutil.copytree(process.folder("straight").path, process.folder("straight").path.parent / name)
    return process.folder(name)


def told_on_resume(process: Process, name: str) -> list[str]:
    """Resume the run; returns the notices."""
    events: list[Event] = []
    process.run(name, emit=events.append)
    return [event.message for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize("spoil", [flip, cut, Path.unlink])
@pytest.mark.parametrize(
    "file", ["lora.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    processes: Callable[[str], Process], file: str, spoil: Spoil
) -> None:
    process = processes("ddpo" if file.startswith("l") else "forward")
    name = f"checkpoint-{file}-{spoil.__name__}"
    spoiled = finished(process, name).path / "checkpoints" / "r002" / file
    spoil(spoiled)
    with pytest.raises(Damaged, match="is damaged"):
        process.folder(name).load_checkpoint()
    named, again = told_on_resume(process, name)
    assert named.startswith(f"{spoiled} is damaged")
    assert "learning again from the labels of round 2" in again
    assert_same(process, name)


@pytest.mark.parametrize("lost", [("r001", "r002"), ("r002",)])
def test_lost_checkpoints_are_made_again(
    processes: Callable[[str], Process], update: str, lost: tuple[str, ...]
) -> None:
    """Even all of them: from the first round on."""
    process, name = processes(update), f"lost-{len(lost)}"
    run = finished(process, name)
    for each in lost:
        shutil.rmtree(run.path / "checkpoints" / each)
    shutil.rmtree(run.path / "images" / "r001")
    notices = told_on_resume(process, name)
    again = "rounds 1 to 2" if len(lost) == 2 else "round 2"
    assert f"learning again from the labels of {again}" in notices[0]
    assert_same(process, name)


@pytest.mark.parametrize("stop_at", range(1, 13, 2))
def test_a_stop_while_rounds_are_learned_again_changes_nothing(
    processes: Callable[[str], Process], stop_at: int
) -> None:
    process, name = processes("ddpo"), f"again-{stop_at}"
    shutil.rmtree(finished(process, name).path / "checkpoints")
    with pytest.raises(StopRequested):
        process.run(name, stop_at)
    process.run(name)
    assert_same(process, name)


def test_rounds_that_are_learned_again_are_not_more_rounds(make_run: Callable[..., RunDir]) -> None:
    folder = make_run(update="forward")
    go(folder, Script(*LINES))
    shutil.rmtree(folder.path / "checkpoints")
    _, finished = go(folder, Script(*LINES), more_rounds=1)
    assert finished.rounds == 3


def test_damaged_pictures_and_microbatches_are_made_again_and_their_marks_stay(
    processes: Callable[[str], Process], update: str
) -> None:
    process, name = processes(update), "parts"

    def stop(event: Event) -> None:
        if event == PhaseStarted(1, "labelling"):
            raise StopRequested

    with pytest.raises(StopRequested):
        process.run(name, emit=stop)
    run = process.folder(name)
    flip(run.path / "rounds/r001/part-00003.safetensors")
    cut(run.picture_path(1, 0))
    run.picture_path(1, 1).unlink()
    flip(run.picture_path(1, 4), 0.7)
    events: list[Event] = []
    process.run(name, emit=events.append)
    picture, part = [event.message for event in events if isinstance(event, Notice)][::-1]
    assert "part-00003.safetensors is damaged: " in part
    assert picture == f"{run.picture_path(1, 0)} is damaged or missing: 2 images were decoded again"
    assert [e.indices for e in events if isinstance(e, ImagesReady)] == [(0, 1, 2), (3, 4, 5)]
    assert_same(process, name)


def test_other_pictures_than_the_labelled_ones_are_refused(
    processes: Callable[[str], Process],
) -> None:
    """Here the latents were swapped; a model that was exchanged looks the same."""
    process = processes("ddpo")
    run = finished(process, "other")
    shutil.rmtree(run.path / "checkpoints")
    rounds = run.path / "rounds"
    shutil.copy(rounds / "r001/latents.safetensors", rounds / "r000/latents.safetensors")
    with pytest.raises(
        HeroError, match="regenerated images for round 1 differ from the labelled ones: the model"
    ) as error:
        process.run("other")
    assert error.value.exit_code == 3


def test_another_journal_is_refused(processes: Callable[[str], Process]) -> None:
    process = processes("forward")
    run = finished(process, "journal")
    run.journal_path.unlink()
    with pytest.raises(Damaged, match=r"journal.db is missing or empty, and it has the labels"):
        process.folder("journal")
    run.path.joinpath("marks.log").unlink()
    Journal(run.journal_path).close()
    with pytest.raises(Damaged, match=r"journal.db knows nothing of round 1"):
        process.run("journal")
