"""Marks that are saved but not learned yet, in words: "0 labels learned" alone reads as loss."""

from __future__ import annotations

from collections.abc import Mapping

from hero_engine.core.numbering import round_name
from hero_engine.storage.journal import Journal


def marks_not_learned(journal: Journal, batch: int) -> dict[int, int]:
    """How many pictures are labelled in each round that no finished round covers; none without."""
    waiting = [row.round for row in journal.rounds().values() if row.metrics is None]
    counts = {round: journal.labels(round, batch).labelled for round in waiting}
    return {round: count for round, count in counts.items() if count}


def labels_so_far(marked: Mapping[int, int], learned: int, budget: int) -> str:
    """Saved and learned labels: "23 marked in round 1, 0 of 512 learned"."""
    saved = "".join(f"{count} marked in {round_name(round)}, " for round, count in marked.items())
    return f"{saved}{learned} of {budget} labels learned"


def saved_marks(count: int) -> str:
    """For the end of a session: "; 23 marks are saved", or nothing."""
    if not count:
        return ""
    return "; 1 mark is saved" if count == 1 else f"; {count} marks are saved"
