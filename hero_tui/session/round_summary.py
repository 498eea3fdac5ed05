"""The figures of the summary screen: a finished round compared with the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rich.cells import set_cell_size

from hero_engine.config.prompts import ONE_PROMPT, PromptPlan
from hero_engine.core.events import RoundFinished
from hero_engine.core.labels import Labels
from hero_engine.core.numbering import round_name
from hero_engine.core.sanitize import sanitized
from hero_engine.policy.noise_origins import Origin
from hero_engine.storage.journal import Journal
from hero_tui.session.run_state import RunState

MANY = 0.9
"""Share of good above which there is little to gain."""

ALIKE = 0.75
"""Variety below this share of the first round's means that pictures grow alike."""


MOST_PROMPTS = 6
"""Rows of prompts that the summary has room for."""

PROMPT_CELLS = 15
"""Cells of a prompt's name there."""


@dataclass(frozen=True)
class Count:
    """Good pictures among the labelled ones of a kind."""

    good: int = 0
    labelled: int = 0

    @property
    def share(self) -> float | None:
        """Good / labelled; None if nothing is labelled."""
        return self.good / self.labelled if self.labelled else None

    def __str__(self) -> str:
        return f"{self.good} of {self.labelled} ({self.good / max(1, self.labelled):.0%})"


@dataclass(frozen=True)
class RoundCounts:
    """A round's good pictures: all, with fresh noise, and with noise near earlier good ones.

    by_prompt: those of each prompt, in a run with several.
    """

    round: int
    all: Count
    fresh: Count
    guided: Count
    by_prompt: Mapping[str, Count] = field(default_factory=dict)


def round_counts(
    journal: Journal,
    round: int,
    batch: int,
    origins: Sequence[Origin] | None,
    plan: PromptPlan = ONE_PROMPT,
) -> RoundCounts:
    """The counts of a round by its labels in the journal.

    origins: of the noises of its pictures; where they are unknown, fresh and guided stay empty.
    plan: the run's prompts.
    """
    labels = journal.labels(round, batch, plan.groups(round, batch))
    indices, by_prompt = range(batch), _by_prompt(labels, plan, round)
    if origins is None:
        return RoundCounts(round, _count(labels, indices), Count(), Count(), by_prompt)
    fresh = [image for image in indices if origins[image] == "fresh"]
    guided = [image for image in indices if origins[image] != "fresh"]
    return RoundCounts(
        round,
        _count(labels, indices),
        _count(labels, fresh),
        _count(labels, guided),
        by_prompt,
    )


def _by_prompt(labels: Labels, plan: PromptPlan, round: int) -> dict[str, Count]:
    """The counts of each prompt of the round by its short name; empty for a run of one prompt."""
    if len(plan) < 2:
        return {}
    groups, names = plan.groups(round, len(labels.good)), plan.short_names
    return {
        sanitized(names[group]): _count(labels, [i for i, own in enumerate(groups) if own == group])
        for group in sorted({*groups})
    }


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
            rows.append((words, _count_text(earlier) if before else "", _count_text(after)))
    rows = rows if len(rows) > 2 else rows[:1]
    return rows + list(_prompt_rows(now, before))


def _prompt_rows(now: RoundCounts, before: RoundCounts | None) -> Iterator[tuple[str, str, str]]:
    for prompt, after in islice(now.by_prompt.items(), MOST_PROMPTS):
        earlier = before.by_prompt.get(prompt, Count()) if before else Count()
        was = _count_text(earlier) if before else ""
        yield set_cell_size(prompt, PROMPT_CELLS).rstrip(), was, _count_text(after)
    if (more := len(now.by_prompt) - MOST_PROMPTS) > 0:
        yield f"{more} more prompts", "", ""


def _count_text(count: Count) -> str:
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
    if state.finished is not None:
        return "The run is finished: the menu at its end evaluates, exports or continues it."
    last = state.rounds[-1]
    if last.good == 0:
        return "No picture was good. The next round draws with fresh noise: mark any that is close."
    known = [each.metrics["diversity"] for each in state.rounds if "diversity" in each.metrics]
    if len(known) > 1 and known[-1] < ALIKE * known[0]:
        return "Pictures grow alike: compare them in the gallery before more rounds."
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
