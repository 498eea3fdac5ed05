"""Where a round's images and labels come from, and where its results go."""

from __future__ import annotations

from typing import Protocol

from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.core.labels import Labels
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.training.round_report import Outcome
from hero_engine.training.state import State


class Rounds(Protocol):
    """What the loop needs of a run. Any method may raise StopRequested; nothing is lost then."""

    def why_over(self, state: State) -> str:
        """Why this state's round is not run: "rounds" or "budget"; "" where it is."""
        ...

    def is_next_sampled_ahead(self, state: State) -> bool:
        """Whether the next round is sampled before the labels of this state's round are learned."""
        ...

    def sample(self, round: int, policy: PolicySnapshot) -> Batch:
        """The round's images, sampled from the policy; after that they can be labelled."""
        ...

    def label(self, state: State) -> Labels:
        """The labels of the state's round, complete; after that it is learned from."""
        ...

    def imported(self, state: State) -> LabelledLatents | None:
        """Labelled pictures from elsewhere that the state's round learns from; None without any."""
        ...

    def finish(self, state: State, outcome: Outcome) -> None:
        """The round is done; `state` is what the next one starts from."""
        ...
