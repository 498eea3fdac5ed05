"""A simulated user who labels at a fixed rate, and how their time was spent.

It knows no engine: an `EngineInterface` says when pictures arrive and how time passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hero_engine.core.errors import HeroError
from hero_engine.labelling.simulated import PAGE
from hero_tui.session.labelling_round import LabellingRound

SHORTEST_LOOK, LONGEST = 0.05, 600

TAKING_BACK = "undo window"
"""Cause of waiting between a round's last Enter and its submission."""

Span = tuple[float, float]
"""Begin and end in seconds since the engine was started."""

Verdict = tuple[bool, float]
"""Whether a picture is good, and the probability of that, in 0..1."""


class EngineInterface(Protocol):
    """What a simulated user needs of an engine."""

    def now(self) -> float:
        """Seconds since the engine was started."""

    def picture(self, round: int, image: int) -> Path:
        """Wait for the picture; returns its path."""

    def spend(self, until: float) -> None:
        """Let time pass until `until` (seconds, as `now`)."""

    def submit(self, round: int) -> None:
        """Tell the engine that the round is submitted in the journal."""


@dataclass(frozen=True)
class UserTiming:
    """Seconds per picture, and from a round's last Enter until its submission.

    HeroError if a value is out of range.
    """

    a_picture: float
    grace: float

    def __post_init__(self) -> None:
        for option, value, low in (
            ("--seconds-a-picture", self.a_picture, SHORTEST_LOOK),
            ("--grace", self.grace, 0),
        ):
            if not low <= value <= LONGEST:
                raise HeroError(f"{option} {value:g}: from {low:g} to {LONGEST} seconds")


@dataclass
class SessionTimes:
    """How a simulated user's time was spent.

    waits: spans without a picture to label, the one before the first picture included. graces:
    spans in which a complete round could be taken back. activities: when the engine began which
    step. end: time of the last label.
    """

    waits: list[Span] = field(default_factory=list)
    graces: list[Span] = field(default_factory=list)
    activities: list[tuple[float, str]] = field(default_factory=list)
    end: float = 0.0

    @property
    def first(self) -> float:
        """Seconds until the first picture."""
        return self.waits[0][1]

    @property
    def session(self) -> float:
        """Seconds from the first picture to the last label: the session."""
        return self.end - self.first

    @property
    def waited(self) -> float:
        """Seconds of the session without a picture to label."""
        return total([*self.waits[1:], *self.graces])

    @property
    def share(self) -> float:
        """Share of the session spent waiting."""
        return self.waited / self.session

    @property
    def share_with_first(self) -> float:
        """Share of the time since the engine was started that was spent waiting."""
        return (self.first + self.waited) / self.end

    def split(self) -> dict[str, float]:
        """Seconds waited by the engine's step at that time; the sum is `waited`."""
        spent = {TAKING_BACK: total(self.graces)}
        ends = [begun for begun, _ in self.activities[1:]] + [self.end]
        for (begun, activity), ended in zip(self.activities, ends, strict=True):
            shared = [(max(a, begun), min(b, ended)) for a, b in self.waits[1:]]
            spent[activity] = spent.get(activity, 0.0) + total(shared)
        return spent


def total(spans: Sequence[Span]) -> float:
    """Total seconds; a span that ends before it begins counts 0."""
    return sum(max(0.0, ended - begun) for begun, ended in spans)


class SimulatedUser:
    """Labels pictures in order as they arrive, and commits pages and rounds as in the app.

    verdict: the label of a picture and its probability.
    """

    def __init__(
        self,
        labelling_round: LabellingRound,
        engine: EngineInterface,
        verdict: Callable[[Path], Verdict],
        timing: UserTiming,
    ) -> None:
        self.labelling_round, self.engine, self.verdict, self.timing = (
            labelling_round,
            engine,
            verdict,
            timing,
        )
        self.times = SessionTimes()

    def label_rounds(self, rounds: int, batch: int) -> SessionTimes:
        """Label this many rounds; the last one is not submitted."""
        for round in range(rounds):
            if round:
                self._submit()
            self.labelling_round.open_round(round, batch)
            self._label()
        self.times.end = self.engine.now()
        return self.times

    def _label(self) -> None:
        """Label every picture of the round, page by page, and name the best."""
        session, likely = self.labelling_round.session, dict[int, float]()
        for image in range(self.labelling_round.count):
            good, probability = self._verdict(image)
            if good:
                likely[image] = probability
                session.toggle_good(image)
            if image + 1 == self.labelling_round.count and likely:
                session.name_best(max(likely, key=likely.__getitem__))
            if (image + 1) % PAGE == 0 or image + 1 == self.labelling_round.count:
                session.commit(range(image - image % PAGE, image + 1))

    def _verdict(self, image: int) -> Verdict:
        """Wait for the picture, then spend the seconds of one label."""
        begun = self.engine.now()
        path = self.engine.picture(self.labelling_round.round, image)
        there = self.engine.now()
        self.times.waits.append((begun, there))
        self.labelling_round.add(image, path)
        verdict = self.verdict(path)
        self.engine.spend(there + self.timing.a_picture)
        return verdict

    def _submit(self) -> None:
        begun = self.engine.now()
        self.engine.spend(begun + self.timing.grace)
        self.times.graces.append((begun, self.engine.now()))
        self.labelling_round.submit()
        self.engine.submit(self.labelling_round.round)
