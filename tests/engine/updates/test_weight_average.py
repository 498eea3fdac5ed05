"""The average of weights over an update, and the rate that falls in it, against their formulas."""

import pytest
import torch
from torch import nn

from hero_engine.config.update_settings import AdamWSettings
from hero_engine.updates.adamw import LoraAdamW
from hero_engine.updates.weight_average import WeightAverage


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.95])
def test_the_average_of_an_updates_weights(decay: float) -> None:
    """By the recursion, unrolled: each value counts by its own share and all later decays."""
    weight = nn.Parameter(torch.tensor([3.0]))
    average, values = WeightAverage([weight], decay), [3.0, 1.0, 4.0, 1.5, 9.0]
    for value in values[1:]:
        weight.data.fill_(value)
        average.follow()
    average.write()
    decays = [0.0] + [min(decay, (step + 1) / (step + 6)) for step in range(4)]
    want = 0.0
    for place, value in enumerate(values):
        later = 1.0
        for each in decays[place + 1 :]:
            later *= each
        want += (1 - decays[place]) * later * value
    assert weight.item() == pytest.approx(want)


def test_the_learning_rate_rises_and_falls_to_a_tenth() -> None:
    """Of 40 steps: a fifth more in each of the first five, times what is left of the way down."""
    settings = AdamWSettings(learning_rate=0.01, decay_learning_rate=True)
    optimizer = LoraAdamW([nn.Parameter(torch.zeros(1))], settings)
    rates = []
    for step in (0, 2, 4, 20, 38):
        optimizer.set_learning_rate(step, 40)
        rates.append(optimizer.adam.param_groups[0]["lr"])
    assert rates == pytest.approx([0.002, 0.0057, 0.009, 0.005, 0.001])
