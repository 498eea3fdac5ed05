"""Gradients accumulated row by row are those of a whole optimizer step, in every update."""

import pytest
import torch
from students import Student, feedback_on
from torch import Tensor

from hero_engine.config.settings import SamplerSettings, Settings
from hero_engine.config.update_settings import (
    D3poSettings,
    DdpoSettings,
    ForwardSettings,
    SftSettings,
)
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import KeptSteps, SampleRequest, pick_training_steps, sample
from hero_engine.updates import Feedback, make_update


def gradient(student: Student, given: Feedback) -> Tensor:
    """Of the LoRA weights in the first optimizer step, which is not taken."""
    steps: list[Tensor] = []

    def record() -> float:
        found = [weight.grad for weight in student.adam.weights if weight.grad is not None]
        steps.append(torch.cat([each.flatten() for each in found]))
        student.adam.clear()
        return 0.0

    student.adam.step = record  # type: ignore[method-assign]
    student.learn(given)
    return steps[0]


SAMPLER = SamplerSettings(steps=5, guidance=3.0)
IMAGES = 4
GOOD = (True, False, True, False)


@pytest.mark.parametrize("name", ["ddpo", "forward", "d3po", "sft"])
def test_one_row_at_a_time(square: Model, name: str) -> None:
    kept = pick_training_steps(square, SAMPLER, KeptSteps(3), range(IMAGES), 0, 0)
    random = torch.Generator().manual_seed(4)
    noises = torch.randn(IMAGES, *square.latent_shape, generator=random)
    batch = sample(square, "a", SAMPLER, SampleRequest(0, 0, range(IMAGES), noises, kept))
    given = feedback_on(batch, GOOD, rewards_B=torch.linspace(0, 1, IMAGES))
    for weight in square.lora_parameters():
        torch.nn.init.normal_(weight, 0, 0.1, generator=random)
    settings = Settings(
        update=name,  # type: ignore[arg-type]
        sampler=SAMPLER,
        prompt="a",
        ddpo=DdpoSettings(steps_per_image=3, images_per_update=4, microbatch=4, clip_range=0.5),
        forward=ForwardSettings(steps=1, good_images_per_update=3, bad_images_per_update=2),
        d3po=D3poSettings(steps_per_image=3, pairs=3, pairs_per_update=3, microbatch=3),
        sft=SftSettings(steps=1, images_per_update=3),
    )
    found = []
    for whole in (True, False):
        student, calls = Student(make_update(settings, square)), list[int]()
        if not whole:
            student.update.microbatch = 1
        hook = square.network.register_forward_pre_hook(
            lambda network, inputs, calls=calls: calls.append(len(inputs[0])),
        )
        found.append(gradient(student, given))
        hook.remove()
        trained = {"ddpo": 2, "d3po": 4}.get(name, 1)
        assert (min(calls) == trained) or whole
    one, many = found
    assert float(one.abs().max()) > 1e-5
    assert float((one - many).norm() / one.norm()) < 1e-5
