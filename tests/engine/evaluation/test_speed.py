"""The floor of `hero bench speed` makes the calls that ours makes, and nothing more."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import tiny_settings

from hero_engine.config.settings import SamplerSettings
from hero_engine.evaluation.engine_speed import (
    Call,
    SpeedTest,
    Timing,
    half_good_task,
    sampling_calls,
    update_calls,
)
from hero_engine.updates.probe import PROBES


def calls_of(race: SpeedTest, work: Any) -> list[Call]:
    """The network's calls while something works."""
    seen: list[Call] = []
    hook = race.model.network.register_forward_pre_hook(
        lambda network, inputs: seen.append((len(inputs[0]), torch.is_grad_enabled()))
    )
    work()
    hook.remove()
    return seen


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_floor_makes_our_calls(square_folder: Path, update: str, guidance: float) -> None:
    settings = tiny_settings(
        square_folder, update=update, batch=8, sampler=SamplerSettings(steps=3, guidance=guidance)
    )
    race = SpeedTest(settings, "cpu")
    assert calls_of(race, race._sampled) == list(sampling_calls(settings))
    task = half_good_task(race.trainer, race.round)
    ours = calls_of(race, lambda: race.trainer.optimizer.step(task))
    probes = [call for call in ours if call == (PROBES, False)]
    assert len(probes) == 2
    assert [call for call in ours if call != (PROBES, False)] == list(update_calls(settings))


def test_a_pace_is_the_median_of_its_turns() -> None:
    pace = Timing(engine=[2.0, 9.0, 3.3], bare=[2.0, 3.0, 3.0], rows=5)
    assert pace.ratio == pytest.approx(1.1)


def test_a_race_is_timed_and_changes_no_picture(square_folder: Path) -> None:
    race = SpeedTest(tiny_settings(square_folder, update="forward"), "cpu")
    before = race.pictures()
    pace = race.sampling(2)
    assert len(pace.engine) == len(pace.bare) == 2 and min(pace.engine + pace.bare) > 0
    assert pace.rows == sum(rows for rows, _ in sampling_calls(race.settings))
    assert race.embedding() > 0 and race.decoding() > 0
    assert (race.pictures() == before).all()
    assert all(weight.grad is None for weight in race.model.lora_parameters())
