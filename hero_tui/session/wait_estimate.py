"""How long a person waits for pictures: the steps until then, by the last round's times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hero_engine.core.events import Progress

DRAWING = "sample"
USUAL_STEPS = ("embed", "update", DRAWING)
"""Steps between handing a round in and the next pictures, where no round was finished yet."""


@dataclass(frozen=True)
class Wait:
    """Step `step` of `steps`, from 1; `seconds` until the next pictures, None while unknown."""

    step: int
    steps: int
    seconds: float | None


def wait_for_pictures(
    phase: str,
    progress: Progress | None,
    last_seconds: Mapping[str, float],
    first_share: float,
) -> Wait | None:
    """The wait that the engine's phase means; None if it makes nothing that is waited for.

    last_seconds: each step's seconds in the last finished round, empty if there is none.
    first_share: of a round's pictures, the share that appears first.
    """
    if phase not in ("training", "sampling"):
        return None
    steps = _steps(last_seconds)
    if phase == "sampling":
        steps = steps if last_seconds else (DRAWING,)
    current = _current(phase, progress, steps)
    return Wait(
        current + 1, len(steps), _seconds(steps, current, progress, last_seconds, first_share)
    )


def _steps(last_seconds: Mapping[str, float]) -> tuple[str, ...]:
    learning = tuple(step for step in last_seconds if step != DRAWING)
    return (*learning, DRAWING) if learning else USUAL_STEPS


def _current(phase: str, progress: Progress | None, steps: tuple[str, ...]) -> int:
    if phase == "sampling":
        return len(steps) - 1
    step = progress.step if progress is not None else steps[0]
    return steps.index(step) if step in steps else 0


def _seconds(
    steps: tuple[str, ...],
    current: int,
    progress: Progress | None,
    last_seconds: Mapping[str, float],
    first_share: float,
) -> float | None:
    """What is left of this step, and the last round's seconds of those after it."""
    shares = {DRAWING: first_share}
    later = [last_seconds[step] * shares.get(step, 1.0) for step in steps[current + 1 :]
             if step in last_seconds]  # fmt: skip
    if len(later) < len(steps) - current - 1:
        return None
    left = _left(steps[current], progress, last_seconds, shares.get(steps[current], 1.0))
    return None if left is None else left + sum(later)


def _left(
    step: str, progress: Progress | None, last_seconds: Mapping[str, float], share: float
) -> float | None:
    """Seconds until `share` of this step is done."""
    at_step = progress is not None and progress.step == step
    done = progress.done / progress.total if progress and at_step and progress.total else 0.0
    if progress is not None and at_step and progress.seconds_left is not None and done < 1:
        return max(0.0, progress.seconds_left * (share - done) / (1 - done))
    if step in last_seconds:
        return max(0.0, last_seconds[step] * (share - done))
    return None
