"""Odd rounds are legal: no good one, no bad one, no best, no label at all."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from tiny_runs import latents, played

from hero_engine.config.settings import NoiseSettings, RewardSettings
from hero_engine.core.rng import generator
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer


def flat(state: State) -> dict[str, torch.Tensor]:
    """All that was learned, by name."""
    parts = state.parts().items()
    return {f"{part}.{name}": each for part, tensors in parts for name, each in tensors.items()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_no_good_yet(make_run: Callable[..., RunDir], update: str) -> None:
    """Nothing to compare with, and nothing that says where to go."""
    folder = make_run(update=update)
    before = Trainer.open(folder.settings, "cpu").initial_state()
    [report], state = played(folder, "bbbbbb")
    assert report.good == 0 and report.labels == 6
    assert state.bests.get(0) is None and not state.priors.guided
    assert same(state.embedding, before.embedding)
    assert not report.updated
    assert same(state.lora, before.lora)
    assert report.reward_mean is None and report.reward_std is None
    assert report.note == {
        "ddpo": "no good picture; no update: no picture was ever good, "
        "so there is nothing to compare with",
        "forward": "no good picture; no update: no picture is good, "
        "so there is no direction to learn",
    }.get(update)


@pytest.mark.parametrize("line", ["*ggggg", "*bbbbb", "*....."])
def test_nothing_to_contrast(make_run: Callable[..., RunDir], update: str, line: str) -> None:
    """No bad, or no good but the best: the embedding stays, the other steps run."""
    folder = make_run(update=update)
    before = Trainer.open(folder.settings, "cpu").initial_state()
    [report], state = played(folder, line)
    assert same(state.embedding, before.embedding)
    assert "embed_loss_last" not in report.metrics and report.seconds["embed"] == 0
    assert report.updated and not same(state.lora, before.lora)
    assert report.note.endswith("the embedding was not trained: nothing to contrast")
    unlike_them = "b" in line or (update == "forward" and "." in line)
    assert ("no bad picture yet to contrast the good ones with" in report.note) == (not unlike_them)
    assert state.priors.guided


def test_a_bad_one_of_an_earlier_round_is_remembered(make_run: Callable[..., RunDir]) -> None:
    reports, _ = played(make_run(), "*g....", "*bgggg", "*ggggg")
    copied = ["no bad picture yet" in report.note for report in reports]
    assert copied == [True, False, False]


def test_nothing_labelled_bad(make_run: Callable[..., RunDir], update: str) -> None:
    """Where `forward` learns, unlabelled images count as bad; no label is made up."""
    [report], state = played(make_run(update=update), "*g....")
    assert (report.labels, report.good, report.unlabelled) == (2, 2, 4)
    assert state.memory.good_N.tolist() == [True, True]
    if update == "forward":
        assert report.note.startswith("no picture was labelled bad: 4 unlabelled ones count as bad")
        assert "skipped" not in report.note and report.metrics["assumed_negatives"] == 4
    else:
        assert report.note.startswith(
            "4 unlabelled pictures were skipped; no bad picture yet to contrast the good ones with"
        )


def test_nothing_labelled(make_run: Callable[..., RunDir], update: str) -> None:
    """Before and after a round that taught something: all that was learned stays as it is."""
    folder = make_run(update=update)
    empty = flat(Trainer.open(folder.settings, "cpu").initial_state())
    [first], state = played(folder, "......")
    assert same(flat(state), empty)
    _, state = played(folder, "......", "*gbgbb")
    taught = flat(state)
    [third], state = played(folder, "......", "*gbgbb", "......")
    assert taught.keys() - flat(state).keys() == {"prior.goods_N_C_H_W"}
    del taught["prior.goods_N_C_H_W"]
    assert same(flat(state), taught)
    for report in (first, third):
        assert (report.labels, report.unlabelled, report.updated) == (0, 6, False)
        assert report.note == "6 unlabelled pictures were skipped; no update: nothing is labelled"
    assert third.labels_total == 6


def test_some_unlabelled(make_run: Callable[..., RunDir], update: str) -> None:
    """They count as no label, and are neither good nor bad; a reward they have all the same."""
    folder = make_run(update=update)
    [report], state = played(folder, ".*g..b")
    assert (report.labels, report.good, report.unlabelled, report.labels_total) == (3, 2, 3, 3)
    assert report.updated and report.note == "3 unlabelled pictures were skipped"
    pictures = latents(folder, 0)["latents_B_C_H_W"]
    assert torch.equal(state.memory.latents_N_C_H_W, pictures[[1, 2, 5]])
    assert state.memory.good_N.tolist() == [True, True, False]
    with torch.no_grad():
        trainer = Trainer.open(folder.settings, "cpu")
        trainer.reward_model.load(state.embedding)
        features = trainer.reward_model.embedding(pictures).numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    rewards = (features @ features[1] + 1) / 2
    assert report.reward_mean == pytest.approx(rewards.mean(), abs=1e-5)
    assert report.reward_std == pytest.approx(rewards.std(), abs=1e-5)
    assert report.metrics["reward_auc"] == np.mean(rewards[[1, 2]] > rewards[5])


def test_best_and_noises_carry_over(make_run: Callable[..., RunDir]) -> None:
    """Best stays until another is named; the goods' share is fresh where a round has none."""
    folder = make_run(update="forward", noise=NoiseSettings(perturbation=0.1))
    reports, state = played(folder, "gb*bbb", "bbbbbb", "gbbbbb")
    assert [report.note for report in reports[:2]] == [
        "",
        "no good picture; the best one so far stays",
    ]
    rounds = [latents(folder, round) for round in range(3)]
    best_noise = rounds[0]["noises_B_C_H_W"][2]
    assert [*state.bests] == [0]
    assert torch.equal(state.bests[0].latent_C_H_W, rounds[0]["latents_B_C_H_W"][2])

    fresh = [torch.randn(4, 8, 8, generator=generator(5, "noise", 2, image)) for image in range(6)]
    want = [0.99**0.5 * best_noise + 0.1 * noise for noise in fresh[:3]] + fresh[3:]
    assert torch.allclose(rounds[2]["noises_B_C_H_W"], torch.stack(want), atol=1e-6)
    assert (
        state.priors.of(0).best_C_H_W is not None and state.priors.of(0).goods_N_C_H_W is not None
    )
    assert torch.equal(state.priors.of(0).best_C_H_W, best_noise)
    assert torch.equal(state.priors.of(0).goods_N_C_H_W, rounds[2]["noises_B_C_H_W"][:1])


def test_goods_without_a_best(make_run: Callable[..., RunDir]) -> None:
    """Where none was ever named, what was marked good first stands in, and a note says so."""
    folder = make_run(update="forward")
    [first, second], state = played(folder, "bgbggb", "bbbgbb")
    assert first.note == "no best was named: the first good picture counts as the best"
    assert "first good" not in second.note
    assert state.bests.get(0) is not None and state.priors.of(0).best_C_H_W is not None
    assert torch.equal(state.bests[0].latent_C_H_W, latents(folder, 0)["latents_B_C_H_W"][1])
    assert torch.equal(state.priors.of(0).best_C_H_W, latents(folder, 0)["noises_B_C_H_W"][1])


def test_rewards_that_are_labels_need_two_kinds(make_run: Callable[..., RunDir]) -> None:
    folder = make_run(update="ddpo", reward=RewardSettings("labels"))
    reports, _ = played(folder, "gggggg", "ggbbb.")
    assert [report.updated for report in reports] == [False, True]
    assert "no update: all pictures have the same reward" in reports[0].note
    assert [report.reward_mean for report in reports] == [1, pytest.approx(0.4)]
