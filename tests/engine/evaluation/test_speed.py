"""`hero bench speed`: the bare calls are those of the engine, and timing changes nothing."""

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


def calls_of(speed: SpeedTest, work: Any) -> list[Call]:
    """The network's calls while something works."""
    seen: list[Call] = []
    hook = speed.model.network.register_forward_pre_hook(
        lambda network, inputs: seen.append((len(inputs[0]), torch.is_grad_enabled()))
    )
    work()
    hook.remove()
    return seen


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_bare_calls_are_those_of_the_engine(
    square_folder: Path, update: str, guidance: float
) -> None:
    settings = tiny_settings(
        square_folder, update=update, batch=8, sampler=SamplerSettings(steps=3, guidance=guidance)
    )
    speed = SpeedTest(settings, "cpu")
    assert calls_of(speed, speed._sampled) == list(sampling_calls(settings))
    task = half_good_task(speed.trainer, speed.round)
    ours = calls_of(speed, lambda: speed.trainer.optimizer.step(task))
    probes = [call for call in ours if call == (PROBES, False)]
    assert len(probes) == 2
    assert [call for call in ours if call != (PROBES, False)] == list(update_calls(settings))


def test_the_ratio_is_the_median_over_turns() -> None:
    timing = Timing(engine=[2.0, 9.0, 3.3], bare=[2.0, 3.0, 3.0], rows=5)
    assert timing.ratio == pytest.approx(1.1)


def test_timing_changes_no_picture(square_folder: Path) -> None:
    speed = SpeedTest(tiny_settings(square_folder, update="forward"), "cpu")
    before = speed.pictures()
    timing = speed.sampling(2)
    assert len(timing.engine) == len(timing.bare) == 2 and min(timing.engine + timing.bare) > 0
    assert timing.rows == sum(rows for rows, _ in sampling_calls(speed.settings))
    assert speed.embedding() > 0 and speed.decoding() > 0
    assert (speed.pictures() == before).all()
    assert all(weight.grad is None for weight in speed.model.lora_parameters())
