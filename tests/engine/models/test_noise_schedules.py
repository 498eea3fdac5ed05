"""A pipeline's noise process is taken over exactly, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hero_engine.core.errors import HeroError
from hero_engine.models.noise_schedules import noise_schedule


def scheduler(kind: str, **settings: Any) -> Any:
    import diffusers

    return getattr(diffusers, kind)(**settings)


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("PNDMScheduler", BETAS),
        ("EulerDiscreteScheduler", BETAS | {"prediction_type": "v_prediction"}),
        ("DPMSolverMultistepScheduler", BETAS),
        ("LCMScheduler", BETAS),
        ("DDPMScheduler", {"beta_schedule": "sigmoid"}),
        ("DDPMScheduler", {"trained_betas": [1e-5 * n for n in range(1, 1001)]}),
    ],
)
def test_a_noise_process_is_taken_over_exactly(kind: str, settings: dict[str, Any]) -> None:
    theirs = scheduler(kind, **settings)
    made = noise_schedule(theirs, scales_input=True)
    assert torch.allclose(made.scheduler.alphas_cumprod, theirs.alphas_cumprod, atol=1e-6, rtol=0)
    assert made.scheduler.config.prediction_type == theirs.config.prediction_type
    assert not made.flow and kind in made.notice


def test_cuts_that_are_left_out_are_told() -> None:
    made = noise_schedule(scheduler("DDIMScheduler", clip_sample=True), scales_input=True)
    assert made.notice == "clip_sample of the model's scheduler is not applied"
    assert not noise_schedule(
        scheduler("DDIMScheduler", clip_sample=False), scales_input=True
    ).notice


def test_a_flow_behind_another_solver_keeps_its_shift() -> None:
    theirs = scheduler(
        "DPMSolverMultistepScheduler",
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0,
    )  # fmt: skip
    made = noise_schedule(theirs, scales_input=False)
    assert made.flow and made.scheduler.config.shift == 3.0


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("EDMEulerScheduler", {}, "diffusion with betas"),
        ("SCMScheduler", {}, "diffusion with betas"),
        ("EulerDiscreteScheduler", {"timestep_type": "continuous"}, "noise levels of its own"),
        ("EulerDiscreteScheduler", {"sigma_min": 0.002}, r"of its own .sigma_min."),
        ("FlowMatchEulerDiscreteScheduler", {}, "does not work with it"),
        (
            "DDIMScheduler",
            {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
            "predicts noise on a schedule that ends in pure noise",
        ),
    ],
)
def test_a_noise_process_of_another_kind_is_refused(
    kind: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(HeroError, match=said) as error:
        noise_schedule(scheduler(kind, **settings), scales_input=True)
    assert error.value.exit_code == 3 and kind in error.value.message
