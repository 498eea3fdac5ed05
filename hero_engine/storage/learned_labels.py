"""The labels of rounds as the engine learns from them, by the journal alone.

A prompt has a best picture from its first round with good ones on. Where that round names none, its
first good picture stands in (`RoundMarks.assumed_bests`).
"""

from __future__ import annotations

from hero_engine.config.prompts import PromptPlan
from hero_engine.core.labels import Labels
from hero_engine.storage.journal import Journal


def learned_labels(journal: Journal, plan: PromptPlan, batch: int, rounds: int) -> list[Labels]:
    """The labels of the first rounds, oldest first. batch: pictures a round."""
    with_best, found = set[int](), list[Labels]()
    for round in range(rounds):
        groups = plan.groups(round, batch)
        marks = journal.marks(round, batch, groups)
        found.append(marks.labels(best_required={*groups} - with_best))
        with_best |= {marks.group(image) for image in marks.goods}
    return found


def groups_without_best(
    journal: Journal, plan: PromptPlan, batch: int, round: int
) -> frozenset[int]:
    """The groups of a round's pictures that no earlier round has a best of."""
    with_best = set[int]()
    for earlier, labels in enumerate(learned_labels(journal, plan, batch, round)):
        groups = plan.groups(earlier, batch)
        with_best |= {groups[image] for image in labels.bests}
    return frozenset(plan.groups(round, batch)) - with_best
