"""On a bf16 or fp16 network, which steps are clipped is decided as in float32."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from students import feedback_on
from torch import Tensor

from hero_engine.config.settings import LoraSettings, SamplerSettings
from hero_engine.config.update_settings import DdpoSettings
from hero_engine.core.collective import Microbatches
from hero_engine.models.float32_pass import in_float32
from hero_engine.models.open_model import open_model
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import KeptSteps, SampleRequest, pick_training_steps, sample
from hero_engine.updates.ddpo import DdpoUpdate
from hero_engine.updates.denoising_policy import DenoisingPolicy
from hero_engine.updates.lessons import NoSignal, UpdateId

SAMPLER = SamplerSettings(steps=10, guidance=5.0)
SETTINGS = DdpoSettings(steps_per_image=5)
IMAGES, CLIP = 24, SETTINGS.clip_range


def two_models(folder: Path, half: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    """The same weights and prompts in a lower precision and in float32."""
    made = []
    for dtype in (half, torch.float32):
        monkeypatch.setattr("hero_engine.models.open_model._pick_dtype", lambda _, d=dtype: d)
        made.append(open_model(str(folder), LoraSettings(rank=4), "cpu", sampler=SAMPLER))
    lower, full = made
    with torch.no_grad():
        for theirs, own in zip(lower.network.parameters(), full.network.parameters(), strict=True):
            own.copy_(theirs)
    known = lower.driver.encodings
    full.driver.encodings = {name: in_float32(each) for name, each in known.items()}
    return made


def decisions(log_ratio: Tensor) -> Tensor:
    """-1, 0 or 1: below, within or above the clip range."""
    ratio = log_ratio.double().exp()
    return (ratio > 1 + CLIP).int() - (ratio < 1 - CLIP).int()


@pytest.mark.parametrize(("dtype", "without"), [(torch.bfloat16, 0.2), (torch.float16, 0.02)])
def test_at_most_a_fiftieth_is_clipped_otherwise(
    square_folder: Path, dtype: torch.dtype, without: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower, full = two_models(square_folder, dtype, monkeypatch)
    kept = pick_training_steps(lower, SAMPLER, KeptSteps(5), range(IMAGES), 0, 0)
    noises = torch.randn(IMAGES, *lower.latent_shape, generator=torch.Generator().manual_seed(4))
    batch = sample(lower, "", SAMPLER, SampleRequest(0, 0, range(IMAGES), noises, kept))
    given = feedback_on(batch, rewards_B=torch.linspace(0, 1, IMAGES))
    objectives = {}
    for precision in ("float32", "network"):
        settings = replace(SETTINGS, ratio_precision=precision)
        update = DdpoUpdate(settings, DenoisingPolicy(lower, SAMPLER, ""))
        lesson = update.lesson(given)
        assert not isinstance(lesson, NoSignal)
        objectives[precision] = update.objective(lesson, UpdateId(0, 0), Microbatches(500))
    assert batch.trajectory is not None
    rows = batch.trajectory.at(batch.trajectory.every_row)
    policy = DenoisingPolicy(full, SAMPLER, "")
    before, random = policy.log_probs(rows).detach(), torch.Generator().manual_seed(1)
    start = lower.lora_state()
    step = {name: torch.randn(each.shape, generator=random) for name, each in start.items()}

    def move(size: float) -> Tensor:
        """log rho in float32 after a step of this size."""
        for model in (lower, full):
            model.load_lora_state({name: each + size * step[name] for name, each in start.items()})
        return policy.log_probs(rows).detach() - before

    truth = move(1e-3 * 1.5 * CLIP / float(move(1e-3).std()))
    wrong = {}
    for precision, objective in objectives.items():
        with torch.no_grad():
            rows_R_2 = objective.trajectory.every_row
            picked = objective.trajectory.at(rows_R_2)
            ratio = objective._ratio(picked, objective.group_B[rows_R_2[:, 0]])
        wrong[precision] = float((decisions(ratio.log()) != decisions(truth)).float().mean())
    assert wrong["float32"] <= 0.02 and wrong["network"] > without
    assert 0.2 < float((decisions(truth) != 0).float().mean()) < 0.8
