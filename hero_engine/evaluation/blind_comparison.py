"""A blind comparison: a person judges two models without knowing which is which.

They are the tuned model of a run, and its base or the tuned model of another run.

Both models draw pictures from the same fresh noises with the same random streams: pairs. The
pictures are shuffled into a folder with the layout of a run of one round, so that the app and the
journal work as in a run. Imports no torch until pictures are drawn::

    RUN/eval/blind-r008-n64/      against the base; another run adds -vs-…-r005
      blind.json          the models compared, and the model of each picture
      journal.db, images/r000/000.png …
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.labels import Labels
from hero_engine.evaluation.intervals import paired_difference, wilson
from hero_engine.storage.atomic_files import make_folder, write_atomically
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir

REMEMBERED = "blind.json"
MOST = 2048
"""Limit of pictures per model."""


@dataclass(frozen=True)
class Comparison:
    """A comparison and its folder.

    folder: holds the pictures as its round 0. owners: for each picture, its pair and whether the
    run's tuned model drew it. other: the run that it is compared with; None: its base model.
    """

    run: RunDir
    folder: RunDir
    owners: tuple[tuple[int, bool], ...]
    other: RunDir | None = None

    @classmethod
    def open(
        cls, run: RunDir, pairs: int, prompt: str | None = None, other: RunDir | None = None
    ) -> Self:
        """The comparison of the run's newest checkpoint, where it was left or as a new one.

        prompt: one of the run's or another; by default the run's first.
        HeroError, exit code 2 for a number of pictures that cannot be, or for another run that
        does not draw as this one does; 4 without a checkpoint.
        """
        if not 2 <= pairs <= MOST:
            raise HeroError(f"--images {pairs}: a person judges from 2 to {MOST} of each model")
        round = _newest(run)
        prompt = prompt or run.settings.prompt
        mark = "" if prompt == run.settings.prompt else f"-{_short_hash(prompt)}"
        against = "" if other is None else _against(run, other)
        path = run.path / "eval" / f"blind-r{round:03}-n{pairs}{mark}{against}"
        settings = replace(
            run.settings,
            batch=2 * pairs,
            rounds=1,
            prompt=prompt,
            prompts=(),
            prompt_starts=(),
            sizes=run.settings.sizes[:1],
            sampler=replace(run.settings.sampler, image=run.settings.sampler.image[:1]),
        )
        task = replace(run.task, name=f"{run.task.name}, blind")
        owners = _owners(path, pairs, settings.microbatch)
        return cls(run, RunDir(path, settings, task), owners, other)

    def begin(self) -> None:
        """Make the folder and store the model of each picture, unless they exist."""
        file = self.folder.path / REMEMBERED
        if not file.exists():
            make_folder(file.parent)
            write_atomically(file, json.dumps({"owners": self.owners}))

    @property
    def pairs(self) -> int:
        """Pictures of each model."""
        return len(self.owners) // 2

    @property
    def judged(self) -> bool:
        """Whether the person has submitted the labels."""
        if not self.folder.journal_path.exists():
            return False
        with Journal(self.folder.journal_path) as journal:
            return journal.submitted(0)

    def result(self) -> dict[str, Any]:
        """The result, as `hero eval --human --json` prints it.

        Rates and their intervals are over labelled pictures; the difference, tuned minus base (or
        minus other), is over pairs with two labels. None without labels.
        """
        rival = "base" if self.other is None else "other"
        with Journal(self.folder.journal_path) as journal:
            labels = journal.labels(0, len(self.owners))
        return {
            "prompt": self.folder.settings.prompt,
            "n": self.pairs,
            **_share("", self._verdicts(labels, tuned=True)),
            **_share(f"{rival}_", self._verdicts(labels, tuned=False)),
            **self._difference(labels, rival),
        }

    def _verdicts(self, labels: Labels, *, tuned: bool) -> dict[int, bool]:
        """One model's labels by pair."""
        return {
            pair: good
            for (pair, is_tuned), good in zip(self.owners, labels.good, strict=True)
            if is_tuned == tuned and good is not None
        }

    def _difference(self, labels: Labels, rival: str) -> dict[str, Any]:
        tuned, other = self._verdicts(labels, tuned=True), self._verdicts(labels, tuned=False)
        pairs = tuned.keys() & other.keys()
        only_tuned = sum(tuned[pair] and not other[pair] for pair in pairs)
        only_other = sum(other[pair] and not tuned[pair] for pair in pairs)
        return {
            "pairs": len(pairs),
            "only_tuned": only_tuned,
            f"only_{rival}": only_other,
            "difference": (only_tuned - only_other) / len(pairs) if pairs else None,
            "difference_interval": (
                paired_difference(only_tuned, only_other, len(pairs)) if pairs else None
            ),
        }


def _newest(run: RunDir) -> int:
    """The round of the newest checkpoint. HeroError, exit code 4, without one."""
    rounds = run.checkpoints.rounds()
    if not rounds:
        raise HeroError(f"{run.path} has not finished a round yet", exit_code=ExitCode.RUN)
    return rounds[-1]


def _against(run: RunDir, other: RunDir) -> str:
    """What names the other run in the folder's name. HeroError if the two cannot be compared."""
    if run.path.resolve() == other.path.resolve():
        raise HeroError(f"{run.path} is given twice: name two runs")
    for name in ("model", "sampler", "sizes"):
        if getattr(run.settings, name) != getattr(other.settings, name):
            raise HeroError(
                f"{run.path} and {other.path} cannot be compared: their settings {name} differ"
            )
    return f"-vs-{_short_hash(str(other.path.resolve()))}-r{_newest(other):03}"


def _share(prefix: str, verdicts: dict[int, bool]) -> dict[str, Any]:
    good, judged = sum(verdicts.values()), len(verdicts)
    return {
        f"{prefix}success_rate": good / judged if judged else None,
        f"{prefix}interval": wilson(good, judged) if judged else None,
        f"{prefix}judged": judged,
    }


def _owners(path: Path, pairs: int, at_once: int) -> tuple[tuple[int, bool], ...]:
    """The owners stored in the folder; shuffled now if the folder is new.

    Pictures are shuffled within blocks of `at_once` pairs, so that they are drawn in their order.
    """
    file = path / REMEMBERED
    if not file.exists():
        return tuple(_shuffled(path.name, pairs, at_once))
    try:
        found = json.loads(file.read_text("utf-8"))["owners"]
        return tuple((int(pair), bool(tuned)) for pair, tuned in found)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise HeroError(f"{file} is damaged: {error}", exit_code=ExitCode.RUN) from error


def _shuffled(name: str, pairs: int, at_once: int) -> Iterator[tuple[int, bool]]:
    shuffle = random.Random(f"{name}/{pairs}").shuffle
    for first in range(0, pairs, at_once):
        rows = range(first, min(first + at_once, pairs))
        block = [(pair, tuned) for pair in rows for tuned in (False, True)]
        shuffle(block)
        yield from block


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
