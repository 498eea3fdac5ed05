"""What a run's earlier rounds say about the noises and the best pictures of a later one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hero_engine.config.prompts import ONE_PROMPT, PromptPlan
from hero_engine.config.settings import NoiseSettings
from hero_engine.policy.noise_origins import KnownNoises, Origin
from hero_engine.storage.journal import Journal
from hero_engine.storage.learned_labels import LearnedLabels


class EarlierRounds:
    """Reads every round from the journal once: its labels are final when a later one is open.

    batch: pictures a round. plan: the run's prompts.
    """

    def __init__(self, journal: Journal, batch: int, plan: PromptPlan = ONE_PROMPT) -> None:
        self._journal, self._batch, self._plan = journal, batch, plan
        self._labels = LearnedLabels(journal, plan, batch)
        self._noises = [KnownNoises()]
        self._bests: list[dict[int, Path]] = []
        self._first: dict[int, list[Path]] = {}
        self._folder = journal.path.parent

    @property
    def rounds_of(self) -> tuple[int, PromptPlan]:
        """Pictures a round, and the prompts."""
        return self._batch, self._plan

    def origins(self, round: int, noise: NoiseSettings | None) -> Sequence[Origin]:
        """The origin of every picture's noise in a round.

        noise: the run's settings; without them all are taken for fresh.
        """
        if noise is None:
            fresh: Origin = "fresh"
            return (fresh,) * self._batch
        known = max(0, round - self._staleness(round))
        self._read(known)
        return self._noises[known].origins(self._plan.groups(round, self._batch), noise)

    def bests(self, round: int) -> dict[int, Path]:
        """Each prompt's picture that became its best last, before a round."""
        self._read(round)
        found = dict[int, Path]()
        for own in self._bests[:round]:
            found |= own
        return found

    def groups_without_best(self, round: int) -> frozenset[int]:
        """The prompts of a round's pictures that no earlier round has a best of."""
        self._read(round)
        return frozenset(self._plan.groups(round, self._batch)) - self._noises[round].bests

    def first_pictures(self, round: int) -> Mapping[int, Sequence[Path]]:
        """Each prompt's pictures of the first round that has it, of those before a round.

        Without the best one: later pictures may descend from it.
        """
        self._read(round)
        return self._first

    def _read(self, rounds: int) -> None:
        """Read those of the first rounds that were not read yet."""
        for round in range(len(self._bests), rounds):
            groups = self._plan.groups(round, self._batch)
            labels = self._labels.first(round + 1)[-1]
            self._noises.append(self._noises[-1].after(labels, groups))
            self._bests.append(self._paths(round, labels.bests, groups))
            self._read_first(round, labels.bests, groups)

    def _read_first(self, round: int, bests: Sequence[int], groups: Sequence[int]) -> None:
        if not {*groups} - {*self._first}:
            return
        found = dict[int, list[Path]]()
        for image, path in self._journal.images(round).items():
            if image not in bests:
                found.setdefault(groups[image], []).append(self._folder / path)
        self._first = found | self._first

    def _paths(self, round: int, images: Sequence[int], groups: Sequence[int]) -> dict[int, Path]:
        """The files of these pictures of a round, by their prompts' numbers."""
        known = self._journal.images(round) if images else {}
        return {groups[image]: self._folder / known[image] for image in images if image in known}

    def _staleness(self, round: int) -> int:
        """1 where a round was drawn while the one before was labelled, so without its labels.

        A finished round has it among its metrics. One that is not finished was drawn ahead where
        the round before is not finished either, or where the run has the metric at all.
        """
        known = self._journal.metrics()
        if round < len(known):
            return int(known[round]["metrics"].get("staleness", 0))
        return int(round > len(known) or any("staleness" in each["metrics"] for each in known))
