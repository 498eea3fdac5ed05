"""Errors of a prediction on noised images: one squared error per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from hero_engine.models.diffusion_process import Process
from hero_engine.updates.noising import NoisedRows

SMALLEST_ERROR = 1e-5

DenoisingLoss = Callable[[Process, NoisedRows, Tensor], Tensor]
"""(process, rows, prediction) to the mean over each image's elements: (R,)."""


def prediction_loss(process: Process, rows: NoisedRows, prediction: Tensor) -> Tensor:
    """|prediction - target|^2 in the network's own output: noise, v, or a flow's velocity."""
    target = process.target(rows.clean, rows.noise, rows.timesteps_R)
    return _mean_square(prediction - target)


def x0_loss(process: Process, rows: NoisedRows, prediction: Tensor) -> Tensor:
    """The squared error that the prediction makes in x_0."""
    return _mean_square(_error_in_x0(process, rows, prediction))


def normalised_x0_loss(process: Process, rows: NoisedRows, prediction: Tensor) -> Tensor:
    """The same, divided by the image's mean absolute error in x_0, which has no gradient.

    As in DiffusionNFT: images on which the error grows without bound cannot outweigh the others.
    """
    error = _error_in_x0(process, rows, prediction)
    size_R = error.detach().abs().flatten(1).mean(1)
    return _mean_square(error) / size_R.clamp(min=SMALLEST_ERROR)


LOSSES: Mapping[str, DenoisingLoss] = {
    "prediction": prediction_loss,
    "x0": x0_loss,
    "x0_normalised": normalised_x0_loss,
}
"""By the names of the setting forward.loss."""


def _error_in_x0(process: Process, rows: NoisedRows, prediction: Tensor) -> Tensor:
    return process.clean(prediction, rows.x_t, rows.timesteps_R) - rows.clean


def _mean_square(error: Tensor) -> Tensor:
    return error.square().flatten(1).mean(1)
