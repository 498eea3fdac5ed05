"""Metrics for TensorBoard or Weights & Biases, through accelerate's trackers; off by default.

Nothing depends on them: every round's metrics are also a line of events.jsonl, "event": "round".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hero_engine.config.settings import Settings
from hero_engine.config.validation import flat
from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.core.events import Event, Failed, Finished, RoundFinished

if TYPE_CHECKING:
    from hero_engine.storage.run_folder import RunDir


class Tracker:
    """Logs each finished round to one of accelerate's trackers.

    A tracker that fails is not used again: a service out of reach ends no run. `failure` says why.
    """

    def __init__(self, inner: Any) -> None:
        self._inner: Any | None = inner
        self.failure = ""

    def record(self, event: Event) -> None:
        """Log a finished round; close the tracker with the run."""
        try:
            if isinstance(event, RoundFinished) and self._inner is not None:
                self._inner.log(dict(numbers(event)), step=event.round)
            elif isinstance(event, Finished | Failed) and self._inner is not None:
                self._inner.finish()
        except Exception as error:
            self._inner, self.failure = None, one_line(error)


def open_tracker(folder: RunDir) -> Tracker | None:
    """The tracker of the run's settings. HeroError, exit code 3, if it cannot be opened."""
    kind = folder.settings.tracker
    if kind == "none":
        return None
    if find_spec(kind) is None:
        raise _unusable(kind, "it is not installed; pip install 'hero-tui[tracking]'")
    try:
        inner = _accelerate_tracker(kind, folder.path)
        inner.start()
        inner.store_init_configuration(_plain(folder.settings))
    except Exception as error:
        raise _unusable(kind, one_line(error)) from error
    return Tracker(inner)


def numbers(event: RoundFinished) -> Iterator[tuple[str, float]]:
    """A round's numbers by name: labels, share of goods, rewards, metrics, seconds/<step>."""
    yield "labels_total", event.labels_total
    for name in ("good_share", "reward_mean", "reward_std"):
        if (value := getattr(event, name)) is not None:
            yield name, value
    yield from event.metrics.items()
    for step, seconds in event.seconds.items():
        yield f"seconds/{step}", seconds


def _accelerate_tracker(kind: str, run: Path) -> Any:
    """A resumed run continues in the same place."""
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    PartialState()  # accelerate's logging requires it
    if kind == "tensorboard":
        return TensorBoardTracker("tensorboard", run)
    _forbid_prompt()
    return WandBTracker("hero", name=run.name, id=run.name, resume="allow", dir=str(run))


def _forbid_prompt() -> None:
    """wandb would print and prompt for a key on the terminal, which belongs to the app."""
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    if os.environ.get("WANDB_MODE", "online") == "online" and not wandb.login(prompt=False):
        raise ValueError("no API key; first run: wandb login (or set WANDB_MODE=offline)")


def _plain(settings: Settings) -> dict[str, Any]:
    """The settings by full names; lists as text, since trackers take numbers and text only."""
    named = flat(asdict(settings))
    return {n: v if isinstance(v, bool | int | float | str) else str(v) for n, v in named.items()}


def _unusable(kind: str, why: str) -> HeroError:
    return HeroError(f"tracker {kind!r} cannot be used: {why}", exit_code=ExitCode.ENVIRONMENT)
