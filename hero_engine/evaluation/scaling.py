"""How long a round takes with N processes: a model on paper. `trial.py` measures what it needs.

    sampling(N)  = the pictures of the process that has most of every turn
                   + handing out every turn, and gathering its pictures
    update(N)    = what every process does whole (calls, probes, the optimizer's own work)
                   + ceil(rows / N) / rows of what goes by rows
                   + handing out what the round has to teach
                   + for each optimizer step, a sum of gradients
    embedding(N) = rank 0's alone

A turn is N minibatches (`pictures.py`). What is whole and what goes by rows is told apart by two
measurements of one process: all rows, and half of them.

Left out: processes of one machine share its memory and caches, and all wait for the slowest; a
process's calls have fewer rows the more there are, and on a GPU small calls cost more a row; rank
0 writes pictures, checkpoints and journal alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from hero_engine.distributed.link import Wire


@dataclass(frozen=True)
class Round:
    """One round as one process has it, and what of it crosses where there are more.

    sample, update, embed: seconds. half: the update's, with half of each step's rows. steps, rows:
    of the update, rows a step. Bytes: weights, of a sum of gradients; order, that hand out a turn
    of sampling; picture, that come back for each; lesson, that hand out an update.
    """

    batch: int
    minibatch: int
    steps: int
    rows: int
    sample: float
    update: float
    half: float
    embed: float
    weights: int
    order: int
    picture: int
    lesson: int

    def sampling(self, count: int, wire: Wire) -> float:
        """Seconds with so many processes."""
        turns = [*_turns(self.batch, self.minibatch * count)]
        longest = sum(ceil(pictures / count) for pictures in turns)
        crossing = sum(
            wire.hand_out(count, self.order) + wire.gather(count, pictures * self.picture)
            for pictures in turns
        )
        return self.sample / self.batch * longest + crossing

    def updating(self, count: int, wire: Wire) -> float:
        """Seconds with so many processes."""
        crossing = wire.hand_out(count, self.lesson) + self.steps * wire.sum(count, self.weights)
        return self.share(count) + crossing

    def share(self, count: int) -> float:
        """Seconds of the update without others: what the process with most rows has to do."""
        return self.whole + (self.update - self.whole) * self._part(count)

    def all(self, count: int, wire: Wire) -> float:
        """Seconds with so many processes, without the person."""
        return self.sampling(count, wire) + self.updating(count, wire) + self.embed

    @property
    def whole(self) -> float:
        """Seconds of the update that every process spends, however few rows it has."""
        part = self._part(2)
        if part == 1:  # one row cannot be halved
            return 0.0
        return min(max((self.half - part * self.update) / (1 - part), 0.0), self.update)

    def _part(self, count: int) -> float:
        """Of a step's rows, the part that the process with most of them has."""
        return ceil(self.rows / count) / self.rows


def _turns(batch: int, size: int) -> list[int]:
    """Pictures of each turn."""
    return [min(size, batch - first) for first in range(0, batch, size)]
