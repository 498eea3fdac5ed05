"""Where the noises of a round's pictures come from, and which pictures repeat an earlier best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt
from PIL import Image

from hero_engine.config.prompts import ONE_PROMPT, PromptPlan
from hero_engine.config.settings import NoiseSettings
from hero_engine.policy.noise_origins import Origin, origins_after
from hero_engine.storage.journal import Journal
from hero_engine.storage.learned_labels import learned_labels

SIDE = 16
"""Pixels of a thumbnail's side: enough for a pose and a layout, too few for details."""

ALIKE = 0.7
"""Correlation of two thumbnails from which on one picture is a near-copy of the other.

On hands, pictures of fresh noise correlate with the best at 0.56 at most (192 pictures of three
rounds), and those near its noise at 0.67 to 0.80 in the middle.
"""

Thumbnail = npt.NDArray[np.float64]
"""SIDE x SIDE x 3 numbers with mean 0 and length 1, flat."""


class NoiseTag(Enum):
    """What a caption says of a picture besides its mark: (sign, words)."""

    NONE = ("", "")
    GUIDED = ("~", "~ guided")
    COPY = ("≈", "≈ near-copy")

    @property
    def sign(self) -> str:
        """One character."""
        return self.value[0]

    @property
    def words(self) -> str:
        """The sign and what it means."""
        return self.value[1]


def origins_of(
    journal: Journal,
    round: int,
    batch: int,
    noise: NoiseSettings | None,
    plan: PromptPlan = ONE_PROMPT,
) -> Sequence[Origin]:
    """The origin of every picture's noise.

    noise: the run's settings; without them all are taken for fresh. plan: the run's prompts.
    """
    if noise is None:
        fresh: Origin = "fresh"
        return (fresh,) * batch
    known = max(0, round - _staleness(journal, round))
    return origins_after(learned_labels(journal, plan, batch, known), batch, noise, plan, round)


def _staleness(journal: Journal, round: int) -> int:
    """1 where a round was drawn while the one before was labelled, so without its labels.

    A finished round has it among its metrics. One that is not finished was drawn ahead where the
    round before is not finished either, or where the run has the metric at all.
    """
    known = journal.metrics()
    if round < len(known):
        return int(known[round]["metrics"].get("staleness", 0))
    return int(round > len(known) or any("staleness" in each["metrics"] for each in known))


def thumbnail(picture: Image.Image) -> Thumbnail:
    """A picture's thumbnail, to compare by the dot product: 1 for the same, about 0 for another."""
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float64).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length else values


def near_copies(
    best: Thumbnail, pictures: Mapping[int, Thumbnail], origins: Sequence[Origin]
) -> frozenset[int]:
    """Guided pictures that repeat the best: as alike as ALIKE, and more than any fresh one is."""
    alike = {image: float(best @ each) for image, each in pictures.items()}
    by_chance = [value for image, value in alike.items() if origins[image] == "fresh"]
    enough = max([ALIKE, *by_chance])
    return frozenset(
        image
        for image, value in alike.items()
        if origins[image] != "fresh" and value >= enough and value > max(by_chance, default=-1.0)
    )
