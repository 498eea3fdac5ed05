"""Reproduces a pipeline's noise process exactly, or refuses it.

A scheduler is a noise process (what x_t is, what a prediction means) and a solver. Training needs
the process; the solver is ours: DDIM's Gaussian step for models that predict noise, v or x_0, and
the one of `flow.py` for rectified flows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from hero_engine.core.errors import ExitCode, HeroError

DIFFUSION = {
    "DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "LMSDiscreteScheduler",
    "DDIMParallelScheduler", "DDPMParallelScheduler", "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler",
    "DEISMultistepScheduler", "UniPCMultistepScheduler", "SASolverScheduler", "LCMScheduler",
    "TCDScheduler", "DDIMInverseScheduler",
}  # fmt: skip
"""Solvers of x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) n with betas in their configuration."""

FLOWS = {
    "FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler",
}  # fmt: skip
"""Solvers of x_t = (1 - s) x_0 + s n with a shift in their configuration."""

PREDICTIONS = ("epsilon", "v_prediction", "sample")
ZERO_SIGMA = 1e-6
"""Below it a cumulative alpha is zero: the schedule ends in pure noise."""

SOLVER_CHOICES = {
    "clip_sample": False,
    "thresholding": False,
}
"""Cuts of predicted pictures, which have no density to train. They are off; a notice says so."""

OWN_LEVELS = ("sigma_min", "sigma_max")
"""Settings of a scheduler that has noise levels of its own in place of the betas'."""


@dataclass(frozen=True)
class NoiseSchedule:
    """The scheduler used in place of a pipeline's own, and a notice about it."""

    scheduler: Any
    flow: bool
    notice: str = ""


def noise_schedule(scheduler: Any, *, scales_input: bool) -> NoiseSchedule:
    """The same noise process with the solver that training needs.

    scales_input: whether the pipeline asks its scheduler to scale the network's input, as those
    around a UNet do. HeroError, exit code 3, for a process that is not one of the two kinds.
    """
    kind, config = type(scheduler).__name__, scheduler.config
    if kind in FLOWS:
        if scales_input and not hasattr(scheduler, "scale_model_input"):
            raise _refused(kind, "this pipeline of diffusers does not work with it")
        return _flow(scheduler, config.get("shift", 1.0))
    if kind not in DIFFUSION:
        raise _refused(kind, "hero knows diffusion with betas, and rectified flows")
    if config.get("prediction_type") == "flow_prediction" or config.get("use_flow_sigmas"):
        if config.get("prediction_type") != "flow_prediction":
            raise _refused(kind, "flow sigmas go with prediction_type flow_prediction")
        return _flow(scheduler, config.get("flow_shift", 1.0))
    return _diffusion(scheduler)


def _flow(scheduler: Any, shift: float) -> NoiseSchedule:
    from diffusers import FlowMatchEulerDiscreteScheduler as Euler

    kind, config = type(scheduler).__name__, dict(scheduler.config)
    if config.get("invert_sigmas"):
        raise _refused(kind, "its sigmas are inverted")
    if config.get("use_dynamic_shifting") and kind != "FlowMatchEulerDiscreteScheduler":
        raise _refused(kind, "its shift depends on the picture's size")
    own = config if kind == "FlowMatchEulerDiscreteScheduler" else {"shift": shift}
    steps = config.get("num_train_timesteps", 1000)
    made = Euler.from_config(own, stochastic_sampling=False, num_train_timesteps=steps)
    return NoiseSchedule(made, True, _notice(kind, "FlowMatchEulerDiscreteScheduler"))


def _diffusion(scheduler: Any) -> NoiseSchedule:
    from diffusers import DDIMScheduler

    kind, config = type(scheduler).__name__, scheduler.config
    own = [name for name in OWN_LEVELS if config.get(name) is not None]
    if config.get("timestep_type") == "continuous" or own:
        raise _refused(kind, f"it has noise levels of its own ({', '.join(own) or 'continuous'})")
    predicts = config.get("prediction_type", "epsilon")
    if predicts not in PREDICTIONS:
        raise _refused(kind, f"prediction_type {predicts!r} is none of {', '.join(PREDICTIONS)}")
    changes: dict[str, Any] = dict(SOLVER_CHOICES)
    if config.get("trained_betas") is None and config.get("beta_schedule") not in KNOWN_BETAS:
        changes |= {"trained_betas": scheduler.betas.tolist(), "beta_schedule": "linear"}
    made = DDIMScheduler.from_config(config, **changes)
    _check_same(scheduler, made)
    zero = bool(made.alphas_cumprod.min() < ZERO_SIGMA)
    if zero and predicts == "epsilon":
        raise _refused(kind, "it predicts noise on a schedule that ends in pure noise (zero SNR)")
    cuts = [
        f"{name} of the model's scheduler is not applied"
        for name in SOLVER_CHOICES
        if config.get(name)
    ]
    notices = [_notice(kind, "DDIMScheduler"), *cuts]
    return NoiseSchedule(made, False, "; ".join(filter(None, notices)))


KNOWN_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")
"""Of DDIM; any other schedule's betas are copied."""


def _check_same(scheduler: Any, made: Any) -> None:
    own = getattr(scheduler, "alphas_cumprod", None)
    if own is None or own.shape != made.alphas_cumprod.shape:
        raise _refused(type(scheduler).__name__, "its noise levels cannot be read")
    if not torch.allclose(own.double(), made.alphas_cumprod.double(), rtol=0, atol=ZERO_SIGMA):
        raise _refused(type(scheduler).__name__, "DDIM has other noise levels")


def _notice(kind: str, ours: str) -> str:
    return "" if kind == ours else f"{ours} samples in place of {kind}, on the same noise levels"


def _refused(kind: str, why: str) -> HeroError:
    return HeroError(
        f"the model's scheduler {kind} cannot be taken over: {why}", exit_code=ExitCode.ENVIRONMENT
    )
