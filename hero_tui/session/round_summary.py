"""The figures of the summary screen: a finished round compared with the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.events import RoundFinished
from hero_engine.core.labels import Labels
from hero_engine.core.numbering import round_name
from hero_engine.storage.journal import Journal
from hero_tui.session.noise_tags import origins_of
from hero_tui.session.run_state import RunState

MANY = 0.9
"""Share of good above which there is little to gain."""

ALIKE = 0.75
"""Variety below this share of the first round's means that pictures grow alike."""


@dataclass(frozen=True)
class Count:
    """Good pictures among the labelled ones of a kind."""

    good: int = 0
    labelled: int = 0

    @property
    def share(self) -> float | None:
        """Good / labelled; None where nothing is labelled."""
        return self.good / self.labelled if self.labelled else None

    def __str__(self) -> str:
        return f"{self.good} of {self.labelled} ({self.good / max(1, self.labelled):.0%})"


@dataclass(frozen=True)
class RoundCounts:
    """A round's good pictures: all, with fresh noise, and with noise near earlier good ones."""

    round: int
    all: Count
    fresh: Count
    guided: Count


def round_counts(
    journal: Journal, round: int, batch: int, noise: NoiseSettings | None
) -> RoundCounts:
    """The counts of a round by its labels in the journal.

    noise: the run's settings; where they are unknown, fresh and guided stay empty.
    """
    labels, indices = journal.labels(round, batch), range(batch)
    if noise is None:
        return RoundCounts(round, _count(labels, indices), Count(), Count())
    origins = origins_of(journal, round, batch, noise)
    fresh = [image for image in indices if origins[image] == "fresh"]
    guided = [image for image in indices if origins[image] != "fresh"]
    return RoundCounts(
        round, _count(labels, indices), _count(labels, fresh), _count(labels, guided)
    )


def _count(labels: Labels, images: Sequence[int]) -> Count:
    known = [labels.good[image] for image in images if labels.good[image] is not None]
    return Count(sum(map(bool, known)), len(known))


def summary_rows(counts: Sequence[RoundCounts]) -> list[tuple[str, str, str]]:
    """(kind, round before, this round) of good pictures. counts: the last two rounds, or one."""
    now, before = counts[-1], counts[-2] if len(counts) > 1 else None
    kinds = [("all pictures", "all"), ("fresh noise", "fresh"), ("guided noise", "guided")]
    rows = []
    for words, name in kinds:
        after: Count = getattr(now, name)
        earlier: Count = getattr(before, name) if before else Count()
        if after.labelled or earlier.labelled:
            rows.append((words, _told(earlier) if before else "", _told(after)))
    return rows if len(rows) > 2 else rows[:1]


def _told(count: Count) -> str:
    return str(count) if count.labelled else "-"


def variety(rounds: Sequence[RoundFinished]) -> str:
    """Variety of the first and of the last round; "" if it was not measured."""
    known = [each.metrics["diversity"] for each in rounds if "diversity" in each.metrics]
    if not known:
        return ""
    if len(known) < 2:
        return f"variety {known[-1]:.2f}"
    return f"variety {known[-1]:.2f}, {known[0]:.2f} in round 1"


def next_step(state: RunState) -> str:
    """What to do next, by the rounds so far."""
    last = state.rounds[-1]
    if last.good == 0:
        return "No picture was good. The next round draws with fresh noise: mark any that is close."
    known = [each.metrics["diversity"] for each in state.rounds if "diversity" in each.metrics]
    if len(known) > 1 and known[-1] < ALIKE * known[0]:
        return "Pictures grow alike: compare them in the gallery (F3) before more rounds."
    if last.good >= MANY * (last.labels + last.unlabelled):
        return "Nearly all were good: more rounds can cost variety. Evaluate with hero eval."
    left = max(0, state.budget - state.labels)
    rounds = -(-left // state.opened.batch) if state.opened and state.opened.batch else 0
    more = f"; {left} labels are left, about {rounds} rounds" if left else ""
    return f"Label the next round{more}."


def title(state: RunState) -> str:
    """What happened: "Round 3 is learned"."""
    last = state.rounds[-1]
    name = round_name(last.round).capitalize()
    return f"{name} is learned." if last.updated else f"{name} taught the model nothing."
