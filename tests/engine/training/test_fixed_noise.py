"""Pictures of the same noises: they show what training changed, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import LINES, Script, go, left_behind

from hero_engine.core.errors import StopRequested
from hero_engine.core.events import Event, FixedNoiseReady, PhaseStarted
from hero_engine.labelling.annotators import read_pictures
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.fixed_noise import fixed_noise_images


def pixels(folder: RunDir, round: int) -> np.ndarray:
    return read_pictures(dict(enumerate(fixed_noise_images(folder.path)[round])))


def test_each_round_has_them_and_so_has_the_end_and_the_run_is_the_same_without(
    make_run: Callable[..., RunDir],
) -> None:
    plain = make_run("plain", update="forward")
    shown = make_run("shown", update="forward", fixed_noise_samples=4)
    go(plain, Script(*LINES))
    events = list[Event]()
    go(shown, Script(*LINES), emit=events.append)
    told = [event.round for event in events if isinstance(event, FixedNoiseReady)]
    assert told == [0, 1, 2]
    assert fixed_noise_images(plain.path) == {}
    found = fixed_noise_images(shown.path)
    assert {round: len(paths) for round, paths in found.items()} == {0: 4, 1: 4, 2: 4}
    left = {k: v for k, v in left_behind(shown).items() if "same" not in Path(k).parts}
    assert left == left_behind(plain)
    base, once, twice = (pixels(shown, round).astype(int) for round in range(3))
    assert len({picture.tobytes() for picture in base}) == 4
    assert (base != once).any() and (once != twice).any()


def test_a_stop_while_they_are_made_leaves_them_to_the_next_time(
    make_run: Callable[..., RunDir],
) -> None:
    straight, stopped = (
        make_run(name, update="forward", fixed_noise_samples=4, rounds=1)
        for name in ("straight", "stopped")
    )
    go(straight, Script(*LINES))
    asked = [0]

    def tell(event: Event) -> None:
        if event == PhaseStarted(0, "labelling"):
            asked[0] = 1

    def raise_if_stopped() -> None:
        asked[0] += bool(asked[0])
        if asked[0] == 4:
            raise StopRequested

    with pytest.raises(StopRequested):
        go(stopped, Script(*LINES), emit=tell, raise_if_stopped=raise_if_stopped)
    assert not any(len(paths) == 4 for paths in fixed_noise_images(stopped.path).values())
    go(stopped, Script(*LINES))
    assert left_behind(stopped) == left_behind(straight)
