"""A plain sentence for each chart: what the figure is, and whether it is fine."""

from __future__ import annotations

from collections.abc import Sequence

CLEAR = 0.03
"""A smaller change of a share is no trend."""

MEANING = {
    "good": "Share you marked good.",
    "reward": "Mean reward.",
    "ranked right": "Good above bad; 0.5 is chance.",
    "diversity": "Variety of pictures.",
    "clipped": "Share of clipped terms.",
    "ratio - 1": "Probability ratio, less 1.",
    "KL estimate": "Distance from the last round.",
    "loss": "Differs from round to round.",
    "model's change": "Distance from untrained.",
}
VERDICTS = {
    "good": ("Rising: fine.", "No trend yet.", "Falling: see gallery."),
    "reward": ("Rising: fine.", "Level: fine.", "Falling: usual late."),
    "diversity": ("Level: fine.", "Level: fine.", "Falling: more alike."),
}
"""Whether the newest value lies above, near or below the first."""


def reading(title: str, values: Sequence[float]) -> str:
    """The sentence for a chart with these values, oldest first; "" for a chart without one."""
    meaning = MEANING.get(title, "")
    verdict = _verdict(title, values) if values else ""
    return f"{meaning} {verdict}".strip()


def _verdict(title: str, values: Sequence[float]) -> str:
    if title == "ranked right":
        return "Fine." if values[-1] >= 0.7 else "Low: unclear."
    if title not in VERDICTS or len(values) < 2:
        return ""
    change = values[-1] - values[0]
    clear = CLEAR if title != "diversity" else 0.15 * abs(values[0])
    rising, level, falling = VERDICTS[title]
    return rising if change > clear else falling if change < -clear else level
