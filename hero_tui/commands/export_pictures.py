"""`hero export RUN --pictures good|best DIR`: copies of labelled pictures."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.numbering import number
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_tui.commands.find_run import open_run
from hero_tui.output_streams import talk

WHICH = ("good", "best")
LONGEST_PROMPT = 60
"""Characters of the prompt in a file's name."""


def export_pictures(name: str, which: str | None, folder: Path | None, *, force: bool) -> None:
    """Copy the good or the best pictures of every round into a folder, all of them or none.

    HeroError, exit code 2, if a file exists and `force` is not given; 4 if no picture is labelled
    so.
    """
    if which is None:
        raise HeroError("a folder goes with --pictures good or --pictures best")
    if which not in WHICH:
        raise HeroError(f"--pictures {which}: choose one of {', '.join(WHICH)}")
    if folder is None:
        raise HeroError(f"no folder is given: hero export RUN --pictures {which} FOLDER")
    run = open_run(name)
    copies = {folder / file: source for file, source in labelled_pictures(run, which)}
    if not copies:
        raise HeroError(f"{run.path} has no {which} picture yet", exit_code=ExitCode.RUN)
    _refuse_existing(copies, folder, force=force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target, source in copies.items():
            shutil.copyfile(source, target)
    except OSError as error:
        where = error.filename or folder
        raise HeroError(f"{where}: {error.strerror}", exit_code=ExitCode.ENVIRONMENT) from error
    talk(f"wrote {len(copies)} {which} picture{'s' * (len(copies) != 1)} to {folder}")


def labelled_pictures(run: RunDir, which: str) -> Iterator[tuple[str, Path]]:
    """(file name, picture) of every good or best picture, by round."""
    if not run.journal_path.exists():
        return
    batch, plan = run.settings.batch, run.settings.plan
    with Journal.reading(run.journal_path) as journal:
        for round in journal.rounds():
            groups, paths = plan.groups(round, batch), journal.images(round)
            labels = journal.labels(round, batch, groups)
            for image in labels.goods if which == "good" else labels.bests:
                if image in paths:
                    prompt = plan.kinds[groups[image]].prompt
                    yield file_name(run, round, image, prompt), run.path / paths[image]


def file_name(run: RunDir, round: int, image: int, prompt: str) -> str:
    """Round and picture as the app counts them, the run's seed, and the prompt."""
    words = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-")[:LONGEST_PROMPT]
    place = f"round{number(round):03}-picture{number(image):03}-seed{run.settings.seed}"
    return f"{place}-{words}".strip("-") + ".png"


def _refuse_existing(copies: dict[Path, Path], folder: Path, *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise HeroError(f"{folder} is a file: name a folder for the pictures")
    existing = [target for target in copies if target.exists()]
    if existing and not force:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise HeroError(f"{existing[0]}{more} exist; choose another folder, or use --force")
