"""Further prompts for a run that has begun: the only change of a run's settings that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hero_engine.config.prompts import all_expanded
from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task
from hero_engine.core.errors import HeroError, short
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.storage.run_toml import with_other_settings


def add_prompts(run: RunDir, templates: Sequence[str]) -> RunDir:
    """The run with the prompts of these templates, drawn from the first round that has not begun.

    So no picture changes its prompt, and a resume repeats earlier rounds as they were. The caller
    holds the run's lock. HeroError for a prompt that the run has, or that is no prompt.
    """
    settings, task = with_prompts(run, templates)
    file = run.path / "run.toml"
    write_atomically(file, with_other_settings(file.read_bytes(), settings, task))
    return RunDir(run.path, settings, task)


def with_prompts(run: RunDir, templates: Sequence[str]) -> tuple[Settings, Task]:
    """The settings and the task that `add_prompts` writes. HeroError: as there."""
    settings, new = run.settings, all_expanded(templates)
    known = settings.plan.prompts
    if twice := [prompt for prompt in new if prompt in known]:
        raise HeroError(f"the run has the prompt {short(twice[0])} already")
    start = _first_free(run)
    starts = settings.prompt_starts or (0,) * len(known)
    settings = replace(
        settings, prompts=(*known, *new), prompt_starts=(*starts, *(start for _ in new))
    )
    return settings, replace(run.task, prompts=settings.prompts)


def _first_free(run: RunDir) -> int:
    """The first round that has not begun."""
    if not run.journal_path.exists():
        return 0
    with Journal.reading(run.journal_path) as journal:
        return max(journal.rounds(), default=-1) + 1
