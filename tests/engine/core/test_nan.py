"""NaN in pictures or losses ends a run with one line and exit code 1; the run can be resumed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from interrupted import Process, assert_same
from refusals import refused
from torch import Tensor

from hero_engine.core.errors import ExitCode
from hero_engine.models.pipeline import Model
from hero_engine.reward import reward_model
from hero_engine.training.trainer import Trainer

NAN = float("nan")


def spoiled(real: Callable[..., Any], when: Callable[[], bool]) -> Callable[..., Any]:
    """As the real one, but with a NaN in the first row whenever it is time."""

    def call(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        if when():
            result = result.clone()
            result[0] = NAN
        return result

    return call


def test_pictures_that_are_no_numbers(
    processes: Callable[[str], Process], monkeypatch: pytest.MonkeyPatch, update: str
) -> None:
    process = processes(update)
    with (
        monkeypatch.context() as fault,
        refused(ExitCode.FAILED, "NaN for picture 1 of round 1", "run hero resume"),
    ):
        fault.setattr(process.model, "predict", spoiled(process.model.predict, lambda: True))
        process.run("nan-pictures")
    assert not process.folder("nan-pictures").picture_path(0, 0).exists()
    process.run("nan-pictures")
    assert_same(process, "nan-pictures")


def test_pictures_that_do_not_decode_to_numbers(
    processes: Callable[[str], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = processes("forward")
    convolution = process.model.vae.post_quant_conv
    with monkeypatch.context() as fault, refused(ExitCode.FAILED, "VAE decodes to NaN"):
        fault.setattr(convolution, "forward", spoiled(convolution.forward, lambda: True))
        process.run("nan-decoded")
    process.run("nan-decoded")
    assert_same(process, "nan-decoded")


def test_losses_that_are_no_numbers(
    processes: Callable[[str], Process], monkeypatch: pytest.MonkeyPatch, update: str
) -> None:
    """In the second round's update: the run stays at the end of the first."""
    process = processes(update)
    steps: list[int] = []

    def in_training() -> bool:
        return torch.is_grad_enabled() and len(steps) > 1

    improve = Trainer.improve

    def improving(self: Any, *rest: Any) -> Any:
        steps.append(1)
        return improve(self, *rest)

    with (
        monkeypatch.context() as fault,
        refused(
            ExitCode.FAILED,
            "training diverged in round 2 (NaN)",
            f"lower {update}.learning_rate",
        ),
    ):
        fault.setattr(Trainer, "improve", improving)
        fault.setattr(process.model, "predict", spoiled(process.model.predict, in_training))
        process.run("nan-loss")
    assert process.folder("nan-loss").checkpoints.rounds() == [1]
    process.run("nan-loss")
    assert_same(process, "nan-loss")


def test_an_embedding_with_nan(
    processes: Callable[[str], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, real = processes("ddpo"), reward_model.train_embedding

    def diverging(embedding: Any, *rest: Any) -> dict[str, float]:
        losses = real(embedding, *rest)
        next(iter(embedding.parameters())).data[0] = NAN
        return losses

    with monkeypatch.context() as fault, refused(ExitCode.FAILED, "lower embedding.learning_rate"):
        fault.setattr(reward_model, "train_embedding", diverging)
        process.run("nan-embedding")
    process.run("nan-embedding")
    assert_same(process, "nan-embedding")


def test_infinity_is_not_a_number(square: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def infinite(*_: Any, **__: Any) -> Any:
        return (torch.full((1, 3, 2, 2), float("inf")),)

    monkeypatch.setattr(square.vae, "decode", infinite)
    latents: Tensor = torch.zeros(1, *square.latent_shape)
    with refused(ExitCode.FAILED, "VAE decodes to NaN"):
        square.decode(latents)
