"""Takes back what an unbracketed paste marked: its keys come faster than any person types."""

from __future__ import annotations

from collections.abc import Callable

from textual.events import Key

from hero_tui.session.input_guards import BurstDetector, Guards
from hero_tui.session.labelling_round import LabellingRound


class PasteGuard:
    """Watches every key. Once keys are a burst it undoes their steps and drops the rest.

    later: calls a function once the screens have handled the keys that they already got.
    taken_back: called after a burst's first keys were undone.
    """

    def __init__(
        self,
        guards: Guards,
        labelling_round: LabellingRound,
        *,
        later: Callable[[Callable[[], None]], object],
        taken_back: Callable[[], None],
    ) -> None:
        self._burst = BurstDetector(guards)
        self._labelling_round = labelling_round
        self._later, self._taken_back = later, taken_back
        self._before = (-1, 0)
        self._dropping = False

    def drops(self, key: Key) -> bool:
        """Whether this key belongs to a burst and must not reach a screen."""
        in_burst = self._burst.pressed(key.time)
        if self._burst.starting:
            self._before = self._labelling_round.round, self._labelling_round.session.steps
        if in_burst and not self._dropping:
            self._later(self._take_back)
        self._dropping = in_burst
        return in_burst

    def _take_back(self) -> None:
        round, steps = self._before
        current = self._labelling_round
        if current.round == round and not current.submitted:
            current.session.undo_to(steps)
        self._taken_back()
