"""`hero import`: labelled pictures that a person has, for a run to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hero_engine.config.settings import Settings
from hero_engine.core.errors import HeroError
from hero_engine.core.numbering import round_name
from hero_engine.core.xdg import private
from hero_engine.labelling.picture_list import CROPS, listed
from hero_engine.storage.journal import Journal
from hero_tui.commands.find_run import open_run
from hero_tui.output_streams import progress_bar, talk


@private()
def import_into(name: str, sources: Sequence[Path], *, prompt: str | None, crop: str) -> None:
    """Import the pictures of folders and lists.

    HeroError, exit code 2, if one of them is wrong, or the run would not learn from them.
    """
    if crop not in CROPS:
        raise HeroError(f"--crop {crop}: choose one of {', '.join(CROPS)}")
    run = open_run(name)
    if reason := unseen(run.settings):
        raise HeroError(f"{run.path} cannot learn from imported pictures: {reason}")
    pictures = listed(sources)
    from hero_engine.training.import_pictures import import_pictures

    with run.lock():
        talk(f"opening {run.settings.model}")
        with progress_bar("pictures") as on_picture:
            counts = import_pictures(
                run,
                pictures,
                prompt=prompt or "",
                crop=crop,  # type: ignore[arg-type]
                on_picture=on_picture,
            )
        with Journal(run.journal_path) as journal:
            round = len(journal.metrics())
    more = " --rounds 1" if run.over() else ""
    others = counts["other_prompt"]
    note = f" ({others} of them for another prompt than the run's)" if others else ""
    talk(
        f"imported {counts['good']} good and {counts['bad']} bad pictures{note}: "
        f"{round_name(round)} learns from them: hero resume {run.path}{more}"
    )


def unseen(settings: Settings) -> str:
    """Why nothing of the run would learn from imported pictures; "" if something does."""
    if settings.update == "d3po":
        return "update 'd3po' learns from the denoising steps of the run's own pictures"
    if settings.update == "ddpo" and settings.reward.kind == "labels":
        return "its reward is the label itself, which needs no reward model"
    return ""
