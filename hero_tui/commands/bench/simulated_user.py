"""Somebody who labels at a steady pace, and what became of their time.

Nothing here knows an engine: an `EngineInterface` says when pictures come and how time passes.
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

TAKING_BACK = "taking back"
"""What is waited for between a round's last Enter and its closing."""

Span = tuple[float, float]
"""From when to when, in seconds since the engine was started."""

Verdict = tuple[bool, float]
"""Whether a picture is good, and how likely that is, in [0, 1]."""


class EngineInterface(Protocol):
    """Where a person and an engine meet."""

    def now(self) -> float:
        """Seconds since the engine was started."""

    def picture(self, round: int, image: int) -> Path:
        """The picture, as soon as it is there."""

    def spend(self, until: float) -> None:
        """Let time pass until then."""

    def hand_in(self, round: int) -> None:
        """Tell the engine that the round's labels are in the journal, complete."""


@dataclass(frozen=True)
class UserTiming:
    """Seconds: of each picture, and from a round's last Enter until it is closed.

    HeroError where nobody works so.
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
    """What a person's time went into.

    `waits` are spans without a picture to label, the one before the very first picture first, and
    `graces` those in which a round that was handed in could be taken back. `activities`: when the
    engine began what. `end`: when the last picture had its label.
    """

    waits: list[Span] = field(default_factory=list)
    graces: list[Span] = field(default_factory=list)
    activities: list[tuple[float, str]] = field(default_factory=list)
    end: float = 0.0

    @property
    def first(self) -> float:
        """Seconds until the first picture was there."""
        return self.waits[0][1]

    @property
    def session(self) -> float:
        """Seconds from the first picture to the last label."""
        return self.end - self.first

    @property
    def waited(self) -> float:
        """Seconds of the session without a picture to label."""
        return total([*self.waits[1:], *self.graces])

    @property
    def share(self) -> float:
        """Share of the session that is waited."""
        return self.waited / self.session

    @property
    def share_with_first(self) -> float:
        """The same of all the time since the engine was started."""
        return (self.first + self.waited) / self.end

    def split(self) -> dict[str, float]:
        """Seconds waited in the session by what the engine did meanwhile; sums up to `waited`."""
        spent = {TAKING_BACK: total(self.graces)}
        ends = [begun for begun, _ in self.activities[1:]] + [self.end]
        for (begun, activity), ended in zip(self.activities, ends, strict=True):
            shared = [(max(a, begun), min(b, ended)) for a, b in self.waits[1:]]
            spent[activity] = spent.get(activity, 0.0) + total(shared)
        return spent


def total(spans: Sequence[Span]) -> float:
    """Seconds of all of them; one that ends before it begins has none."""
    return sum(max(0.0, ended - begun) for begun, ended in spans)


class SimulatedUser:
    """Labels pictures in order as they come, and commits pages and rounds as at the app.

    verdict: what they make of a picture.
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
                self._hand_in()
            self.labelling_round.open_round(round, batch)
            self._label()
        self.times.end = self.engine.now()
        return self.times

    def _label(self) -> None:
        """Every picture of the round, page by page, and its best."""
        session, likely = self.labelling_round.session, dict[int, float]()
        for image in range(self.labelling_round.count):
            good, chance = self._look(image)
            if good:
                likely[image] = chance
                session.toggle_good(image)
            if image + 1 == self.labelling_round.count and likely:
                session.name_best(max(likely, key=likely.__getitem__))
            if (image + 1) % PAGE == 0 or image + 1 == self.labelling_round.count:
                session.commit(range(image - image % PAGE, image + 1))

    def _look(self, image: int) -> Verdict:
        """Wait until the picture is there, and look at it for as long as that takes."""
        begun = self.engine.now()
        path = self.engine.picture(self.labelling_round.round, image)
        there = self.engine.now()
        self.times.waits.append((begun, there))
        self.labelling_round.add(image, path)
        verdict = self.verdict(path)
        self.engine.spend(there + self.timing.a_picture)
        return verdict

    def _hand_in(self) -> None:
        begun = self.engine.now()
        self.engine.spend(begun + self.timing.grace)
        self.times.graces.append((begun, self.engine.now()))
        self.labelling_round.submit()
        self.engine.hand_in(self.labelling_round.round)
