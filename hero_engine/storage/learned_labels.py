"""The labels of rounds as the engine learns from them, by the journal alone.

A prompt has a best picture from its first round with good ones on. Where that round names none, its
first good picture stands in (`RoundMarks.assumed_bests`).
"""

from __future__ import annotations

from hero_engine.config.prompts import PromptPlan
from hero_engine.core.labels import Labels
from hero_engine.storage.journal import Journal


class LearnedLabels:
    """Reads each round from the journal once: the labels of a round that is learned from are final.

    batch: pictures a round.
    """

    def __init__(self, journal: Journal, plan: PromptPlan, batch: int) -> None:
        self._journal, self._plan, self._batch = journal, plan, batch
        self._with_best, self._found = set[int](), list[Labels]()

    def first(self, rounds: int) -> list[Labels]:
        """The labels of the first rounds, oldest first."""
        for round in range(len(self._found), rounds):
            groups = self._plan.groups(round, self._batch)
            marks = self._journal.marks(round, self._batch, groups)
            self._found.append(marks.labels(best_required={*groups} - self._with_best))
            self._with_best |= {marks.group(image) for image in marks.goods}
        return self._found[:rounds]


def learned_labels(journal: Journal, plan: PromptPlan, batch: int, rounds: int) -> list[Labels]:
    """The labels of the first rounds, oldest first. batch: pictures a round."""
    return LearnedLabels(journal, plan, batch).first(rounds)
