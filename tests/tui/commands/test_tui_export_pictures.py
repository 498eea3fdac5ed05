"""Labelled pictures as files: their names, and nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task
from hero_engine.core.errors import HeroError
from hero_engine.core.labels import Mark
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_tui.cli import run_command


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two rounds of four pictures; two are good in the first, one, the best, in the second."""
    settings = Settings(prompt="1 hand, open", batch=4, seed=7)
    folder = RunDir.create(tmp_path / "run", settings, Task("hands", "1 hand, open"))
    with Journal(folder.journal_path) as journal:
        for round, marks in ((0, "gbbg"), (1, "b*bb")):
            journal.add_round(round)
            paths = {image: folder.picture_path(round, image) for image in range(4)}
            for image, path in paths.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (60 * image, 90 * round, 0)).save(path)
            journal.add_images(round, {i: folder.relative(path) for i, path in paths.items()})
            values = {"g": "good", "b": "bad", "*": "best"}
            given = [Mark(i, values[sign]) for i, sign in enumerate(marks)]  # type: ignore[arg-type]
            journal.mark(round, given, source="person")
    return folder


GOOD = [
    "round001-picture001-seed7-1-hand-open.png",
    "round001-picture004-seed7-1-hand-open.png",
    "round002-picture002-seed7-1-hand-open.png",
]


@pytest.mark.parametrize(("which", "names"), [("good", GOOD), ("best", GOOD[2:])])
def test_pictures_are_copied_under_names_that_tell_where_they_come_from(
    run: RunDir, tmp_path: Path, which: str, names: list[str]
) -> None:
    out = tmp_path / "a" / "favourites"
    assert run_command(["export", str(run.path), "--pictures", which, str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / GOOD[2]).read_bytes() == run.picture_path(1, 1).read_bytes()


def test_no_file_is_replaced_without_force(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / GOOD[2]).write_text("mine")
    command = ["export", str(run.path), "--pictures", "good", str(tmp_path)]
    assert run_command(command) == 2
    assert "--force" in capsys.readouterr().err
    assert not (tmp_path / GOOD[0]).exists() and (tmp_path / GOOD[2]).read_text() == "mine"
    assert run_command([*command, "--force"]) == 0
    assert (tmp_path / GOOD[0]).exists() and (tmp_path / GOOD[2]).stat().st_size > 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pictures", "bad", "x"], "choose one of good, best"),
        (["--pictures", "good"], "no folder is given"),
        (["x"], "a folder goes with --pictures"),
    ],
)
def test_wrong_options_are_one_line(
    run: RunDir, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["export", str(run.path), *options]) == 2
    assert says in capsys.readouterr().err


def test_each_picture_is_named_by_its_own_prompt(tmp_path: Path) -> None:
    settings = Settings(prompt="a cat", prompts=("a cat", "a dog"), batch=2, seed=7)
    folder = RunDir.create(tmp_path / "two", settings, Task("pets", "a cat"))
    with Journal(folder.journal_path) as journal:
        journal.add_round(0)
        for image in range(2):
            path = folder.picture_path(0, image)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)
            journal.add_images(0, {image: folder.relative(path)})
        journal.mark(0, [Mark(0, "best"), Mark(1, "best")], source="person")
    assert run_command(["export", str(folder.path), "--pictures", "best", str(tmp_path / "o")]) == 0
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "round001-picture001-seed7-a-cat.png",
        "round001-picture002-seed7-a-dog.png",
    ]


def test_a_run_without_good_pictures_says_so(tmp_path: Path) -> None:
    from hero_tui.commands.export_pictures import export_pictures

    new = RunDir.create(tmp_path / "new", Settings(), Task("hands", "1 hand"))
    with pytest.raises(HeroError, match="no good picture yet"):
        export_pictures(str(new.path), "good", tmp_path / "out", force=False)
    assert not (tmp_path / "out").exists()
