"""What the gallery shows: every round's best picture and its fixed-noise samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hero_engine.config.prompts import ONE_PROMPT, PromptPlan
from hero_engine.core.labels import Labels
from hero_engine.core.numbering import round_name
from hero_engine.storage.journal import Journal
from hero_engine.storage.learned_labels import learned_labels
from hero_engine.training.fixed_noise import fixed_noise_images


@dataclass(frozen=True)
class PastRound:
    """A round as the gallery shows it: all of its pictures come from the weights it began with.

    best: of the first prompt that has one; None without. same: pictures of the fixed noises, in
    their order.
    """

    round: int
    best: Path | None
    same: tuple[Path, ...]

    @property
    def title(self) -> str:
        """The round; the first one shows the model as it was."""
        return round_name(self.round) if self.round else "untrained"


def fixed_noise_rounds(run_dir: Path) -> list[PastRound]:
    """Rounds with pictures of the fixed noises, oldest first; reads no journal."""
    known = sorted(fixed_noise_images(run_dir).items())
    return [PastRound(round, None, tuple(pictures)) for round, pictures in known if pictures]


def past_rounds(
    journal: Journal, run_dir: Path, batch: int, plan: PromptPlan = ONE_PROMPT
) -> list[PastRound]:
    """Rounds with something to show, oldest first; one more after the last where it has pictures.

    batch: pictures a round. plan: the run's prompts; the best is that of the first that has one.
    """
    same = fixed_noise_images(run_dir)
    last = max([-1, *journal.rounds(), *same])
    labels = learned_labels(journal, plan, batch, last + 1)
    found = [
        PastRound(round, _best(journal, run_dir, round, each), tuple(same.get(round, ())))
        for round, each in enumerate(labels)
    ]
    return [each for each in found if each.best or each.same]


def _best(journal: Journal, run_dir: Path, round: int, labels: Labels) -> Path | None:
    path = None if labels.best is None else journal.images(round).get(labels.best)
    return None if path is None else run_dir / path


def window(count: int, space: int, back: int) -> list[int]:
    """Which of `count` columns a screen with space for `space` of them shows.

    The first, for comparison, and the newest, or `back` columns before those. Indices rising.
    """
    if count <= space:
        return list(range(count))
    end = max(min(space, count), count - max(0, back))
    if space < 2:
        return [end - 1]
    return [0, *range(end - space + 1, end)]


def rows_shown(space: int, noises: int, readable: int) -> int:
    """Rows of pictures, the best's included, for `space` rows of cells; one of noises at least."""
    return min(1 + noises, max(2, space // readable))


def picture_of(column: PastRound, row: int) -> Path | None:
    """The picture in a row: 0 is the best, 1 the first noise; None if there is none."""
    pictures: Sequence[Path | None] = (column.best, *column.same)
    return pictures[row] if row < len(pictures) else None
