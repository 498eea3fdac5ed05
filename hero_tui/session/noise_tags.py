"""Where the noises of a round's pictures come from, and which pictures repeat an earlier best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt
from PIL import Image

from hero_engine.policy.noise_origins import Origin

SIDE = 16
"""Pixels of a thumbnail's side: enough for a pose and a layout, too few for details."""

ALIKE, CHANCE = 0.7, 0.98
"""A picture is a near-copy of the best where its thumbnail correlates with it by ALIKE at least,
and by as much as this quantile of the prompt's first pictures, which are alike by chance.

How alike those are differs by the task: between two pictures of the base model the median is 0.41
on hands and 0.83 on narcissus. ALIKE alone would call 2% (hands) to 93% (narcissus) of the base
model's pictures near-copies; with the quantile it is 1.7% to 3.5% on the six embedded tasks, and
42% to 100% of the pictures near the best's noise in round 2 (64 pictures a round, one seed).
"""

Thumbnail = npt.NDArray[np.float64]
"""SIDE x SIDE x 3 numbers with mean 0 and length 1, flat."""


class NoiseTag(Enum):
    """What a caption says of a picture besides its mark: (sign, words)."""

    NONE = ("", "")
    FRESH = ("+", "+ fresh")
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


LEGENDS = {
    NoiseTag.FRESH: "~ noise near a good picture  ≈ repeats the best",
    NoiseTag.GUIDED: "No sign: guided  + fresh noise  ≈ repeats the best",
    NoiseTag.COPY: "No sign: repeats the best  + fresh noise  ~ guided",
}
"""What the tags mean, by the commonest kind of the round, which has none."""


def commonest(kinds: Sequence[NoiseTag]) -> NoiseTag:
    """The kind of the most pictures, FRESH before others: tags say what differs from it."""
    counts = Counter({NoiseTag.FRESH: 0, NoiseTag.GUIDED: 0, NoiseTag.COPY: 0})
    counts.update(kinds)
    return counts.most_common(1)[0][0]


def thumbnail(picture: Image.Image) -> Thumbnail:
    """A picture's thumbnail, to compare by the dot product: 1 for the same, about 0 for another."""
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float64).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length else values


def near_copies(
    best: Thumbnail,
    pictures: Mapping[int, Thumbnail],
    origins: Sequence[Origin],
    first: Sequence[Thumbnail] = (),
) -> frozenset[int]:
    """Guided pictures that repeat the best: as alike as ALIKE and CHANCE say.

    first: the first pictures of the same prompt.
    """
    by_chance = [float(best @ each) for each in first]
    enough = max(ALIKE, float(np.quantile(by_chance, CHANCE)) if by_chance else ALIKE)
    return frozenset(
        image
        for image, each in pictures.items()
        if origins[image] != "fresh" and float(best @ each) >= enough
    )
