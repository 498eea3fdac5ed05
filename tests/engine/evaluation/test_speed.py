"""`hero bench speed`: the bare calls are those of the engine, and timing changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import tiny_settings

from hero_engine.config.settings import SamplerSettings
from hero_engine.config.update_settings import D3poSettings, ForwardSettings
from hero_engine.evaluation.engine_speed import (
    SpeedTest,
    Timing,
    half_good_task,
    sampling_calls,
    update_calls,
)
from hero_engine.updates import Call
from hero_engine.updates.probe import PROBES

PULLED = ForwardSettings(
    steps=2, good_images_per_update=2, bad_images_per_update=3, old_policy="round", kl_weight=1.0
)
"""Three predictions for each row: the old policy's, the new one's and the base's."""

SHARED = D3poSettings(steps_per_image=2, pairs=3, pairs_per_update=2, images_per_noise=4)


GUIDED = SamplerSettings(steps=3, guidance=2.0)
UPDATES: dict[str, dict[str, Any]] = {
    "ddpo": {"update": "ddpo", "sampler": GUIDED},
    "ddpo in bfloat16": {"update": "ddpo", "sampler": GUIDED},
    "forward": {"update": "forward"},
    "forward with a pull": {"update": "forward", "forward": PULLED},
    "d3po": {"update": "d3po", "d3po": SHARED, "sampler": SamplerSettings(steps=3, guidance=1.0)},
    "sft": {"update": "sft"},
}


def calls_of(speed: SpeedTest, work: Any) -> list[Call]:
    """The network's calls while something works."""
    seen: list[Call] = []

    def note(network: Any, inputs: Any) -> None:
        exact = speed.model.driver.in_float32
        seen.append(Call(len(inputs[0]), torch.is_grad_enabled(), exact))

    hook = speed.model.network.register_forward_pre_hook(note)
    work()
    hook.remove()
    return seen


@pytest.mark.parametrize("name", UPDATES)
def test_the_bare_calls_are_those_of_the_engine(
    square_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "bfloat16" in name:
        dtype = torch.bfloat16
        monkeypatch.setattr("hero_engine.models.open_model._pick_dtype", lambda device: dtype)
    speed = SpeedTest(tiny_settings(square_folder, batch=8, **UPDATES[name]), "cpu")
    assert calls_of(speed, speed._sampled) == list(sampling_calls(speed.trainer))
    task = half_good_task(speed.trainer, speed.round)
    ours = calls_of(speed, lambda: speed.trainer.optimizer.step(task))
    probe = Call(PROBES, trained=False)
    assert ours[0] == ours[-1] == probe
    assert ours[1:-1] == list(update_calls(speed.trainer))


def test_the_ratio_is_the_median_over_turns() -> None:
    timing = Timing(engine=[2.0, 9.0, 3.3], bare=[2.0, 3.0, 3.0], rows=5)
    assert timing.ratio == pytest.approx(1.1)


def test_timing_changes_no_picture(square_folder: Path) -> None:
    speed = SpeedTest(tiny_settings(square_folder, update="forward"), "cpu")
    before = speed.pictures()
    timing = speed.sampling(2)
    assert len(timing.engine) == len(timing.bare) == 2 and min(timing.engine + timing.bare) > 0
    assert timing.rows == sum(call.rows for call in sampling_calls(speed.trainer))
    assert speed.embedding() > 0
    assert (speed.pictures() == before).all()
    assert all(weight.grad is None for weight in speed.model.lora_parameters())
