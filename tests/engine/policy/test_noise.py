"""The mixture over initial noises: its mean, variance and proportions, and odd rounds."""

import pytest
import torch

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledLatents, LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.policy.noise_prior import FRESH, NoisePrior
from hero_engine.training.state import State

SHAPE = (2, 3, 5)
SETTINGS = NoiseSettings(best_image_ratio=0.5, perturbation=0.1)


def a_batch(count: int = 6) -> Batch:
    noises = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(5))
    return Batch(noises, torch.zeros_like(noises))


def labels(text: str, best: int | None = None) -> Labels:
    return Labels(
        tuple({"g": True, "b": False, "-": None}[letter] for letter in text),
        () if best is None else (best,),
    )


def learned(*rounds: tuple[Batch, Labels]) -> NoisePrior:
    """The prior after these rounds, as the loop moves it."""
    state = State(0, 0, {}, {}, {}, LabelledLatents.none(SHAPE))
    for batch, given in rounds:
        round = LabelledRound(state.round, batch, given)
        state = state.with_labels(round).next_round(round, None)
    return state.priors.of(0)


def nearest(noises: torch.Tensor, centres: torch.Tensor) -> list[int]:
    """Index of each noise's centre, or -1 for one near none (correlation under .9)."""
    flat = torch.nn.functional.normalize(noises.flatten(1))
    match = flat @ torch.nn.functional.normalize(centres.flatten(1)).T
    best = match.max(1)
    return [int(i) if v > 0.9 else -1 for v, i in zip(best.values, best.indices, strict=True)]


def test_fresh_noise_is_standard_normal() -> None:
    noises = FRESH.draw(800, SHAPE, SETTINGS, seed=1, round=0)
    assert noises.shape == (800, *SHAPE)
    assert abs(float(noises.mean())) < 0.02
    assert abs(float(noises.var()) - 1) < 0.03


def test_proportions_of_best_and_goods() -> None:
    batch = a_batch()
    prior = learned((batch, labels("bggbgb", best=2)))
    found = nearest(prior.draw(400, SHAPE, SETTINGS, seed=1, round=1), batch.noises_B_C_H_W)
    assert found[:200] == [2] * 200
    assert set(found[200:]) == {1, 4}
    assert 70 < found.count(1) < 130  # binomial(200, 1/2): 4 standard deviations are 28


def test_mean_and_variance_around_a_centre() -> None:
    best = torch.full(SHAPE, 2.0)
    settings = NoiseSettings(best_image_ratio=1.0, perturbation=0.6)
    noises = NoisePrior(best).draw(2000, SHAPE, settings, seed=1, round=1)
    assert torch.allclose(noises.mean(0), torch.full(SHAPE, 1.6), atol=0.06)  # sqrt(1-.36) * 2
    assert torch.allclose(noises.var(0), torch.full(SHAPE, 0.36), atol=0.06)


def test_variance_is_preserved_over_random_centres() -> None:
    noises = torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(2))
    prior = NoisePrior(None, noises)
    settings = NoiseSettings(best_image_ratio=0.0, perturbation=0.5)
    assert abs(float(prior.draw(4000, (1, 1, 1), settings, 1, 1).var()) - 1) < 0.09


def test_fresh_noises_come_last() -> None:
    batch = a_batch()
    prior = learned((batch, labels("bggbgb", best=2)))
    settings = NoiseSettings(fresh_ratio=0.25)
    found = nearest(prior.draw(16, SHAPE, settings, seed=1, round=1), batch.noises_B_C_H_W)
    assert found[:6] == [2] * 6
    assert set(found[6:12]) <= {1, 4}
    assert found[12:] == [-1] * 4


def test_best_alone_leaves_the_goods_share_fresh() -> None:
    batch = a_batch()
    prior = learned((batch, labels("bbgbbb", best=2)))
    found = nearest(prior.draw(10, SHAPE, SETTINGS, seed=1, round=1), batch.noises_B_C_H_W)
    assert found == [2] * 5 + [-1] * 5


def test_round_without_good_carries_best_and_drops_goods() -> None:
    first, second = a_batch(), a_batch()
    prior = learned((first, labels("bggbgb", best=2)), (second, labels("bbbbbb")))
    assert prior.best_C_H_W is not None
    assert torch.equal(prior.best_C_H_W, first.noises_B_C_H_W[2])
    assert prior.goods_N_C_H_W is None


def test_goods_without_a_new_best_are_all_others() -> None:
    first, second = a_batch(), Batch(a_batch().noises_B_C_H_W + 1, a_batch().latents_B_C_H_W)
    prior = learned((first, labels("bbgbbb", best=2)), (second, labels("gb-gbb")))
    assert prior.goods_N_C_H_W is not None
    assert torch.equal(prior.goods_N_C_H_W, second.noises_B_C_H_W[[0, 3]])
    assert torch.equal(prior.best_C_H_W, first.noises_B_C_H_W[2])  # type: ignore[arg-type]


@pytest.mark.parametrize("marks", ["bbbbbb", "------", "b-b---"])
def test_nothing_good_ever_stays_fresh(marks: str) -> None:
    prior = learned((a_batch(), labels(marks)))
    assert not prior.guided
    drawn = prior.draw(8, SHAPE, SETTINGS, seed=1, round=1)
    assert torch.equal(drawn, FRESH.draw(8, SHAPE, SETTINGS, seed=1, round=1))


def test_seed_and_round_name_the_draw() -> None:
    def draw(seed: int, round: int) -> torch.Tensor:
        return FRESH.draw(3, SHAPE, SETTINGS, seed=seed, round=round)

    assert torch.equal(draw(1, 2), draw(1, 2))
    assert not torch.equal(draw(1, 2), draw(1, 3))
    assert not torch.equal(draw(1, 2), draw(2, 2))


def test_tensors_roundtrip() -> None:
    prior = learned((a_batch(), labels("bggbgb", best=2)))
    again = NoisePrior.from_tensors(prior.tensors())
    assert torch.equal(
        again.draw(8, SHAPE, SETTINGS, 1, 1), prior.draw(8, SHAPE, SETTINGS, seed=1, round=1)
    )
    assert NoisePrior.from_tensors(FRESH.tensors()) == FRESH
