"""The embedding: its loss by hand, its shapes, and that it learns to rank."""

import pytest
import torch

from hero_engine.config.settings import EmbeddingSettings
from hero_engine.core.errors import StopRequested
from hero_engine.reward.embedding import (
    Embedding,
    OnEpoch,
    Triplets,
    draws,
    ranking_auc,
    train_embedding,
    triplet_loss,
)
from hero_engine.reward.rewards import positives_reward

SMALL = EmbeddingSettings(features=64, head=(32, 16), learning_rate=1e-3, epochs=40)


def fitted(
    embedding: Embedding,
    best: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor,
    on_epoch: OnEpoch = lambda done, total: None,
) -> dict[str, float]:
    random = torch.Generator().manual_seed(3)
    triplets = Triplets(best, positives, negatives)
    return train_embedding(embedding, [triplets], SMALL, random, on_epoch)


def test_triplet_loss_by_hand() -> None:
    """cos(a, p) = .6, so d = .2; cos(a, n) = 0 and -1, so d = .5 and 1; margin .5."""
    anchor = torch.tensor([[1.0, 0.0]])
    positive = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    negative = torch.tensor([[0.0, 2.0], [-5.0, 0.0]])
    # .2 - .5 + .5 = .2, and .2 - 1 + .5 < 0 -> 0
    assert float(triplet_loss(anchor, positive, negative, 0.5)) == pytest.approx(0.1)
    assert float(triplet_loss(anchor, positive, negative, 0.9)) == pytest.approx((0.6 + 0.1) / 2)


@pytest.mark.parametrize("shape", [(4, 64, 64), (4, 8, 8), (3, 6, 10), (1, 1, 1), (16, 5, 7)])
def test_any_latent_shape(shape: tuple[int, int, int]) -> None:
    embedding = Embedding(shape, SMALL)
    features = embedding(torch.randn(2, *shape))
    assert features.shape == (2, 64)
    assert float(features.detach().min()) >= 0
    assert embedding.project(torch.randn(2, *shape)).shape == (2, 16)


def test_the_papers_sizes() -> None:
    """4x64x64 through three poolings is 32x8x8 = 2048 numbers; then 2048, and 2048-1024-512."""
    weights = [tuple(p.shape) for p in Embedding((4, 64, 64), EmbeddingSettings()).parameters()]
    assert [w for w in weights if len(w) == 4] == [(8, 4, 3, 3), (16, 8, 3, 3), (32, 16, 3, 3)]
    assert [w for w in weights if len(w) == 2] == [
        (2048, 2048),
        (2048, 2048),
        (1024, 2048),
        (512, 1024),
    ]


@pytest.mark.parametrize("shape", [(4, 8, 8), (3, 6, 10)])
def test_learns_to_rank_a_separable_set(shape: tuple[int, int, int]) -> None:
    """Good latents share a pattern, bad ones another; new ones of each kind are ranked right."""
    random = torch.Generator().manual_seed(0)
    patterns = torch.randn(2, *shape, generator=random)
    goods = patterns[0] + 1.5 * torch.randn(40, *shape, generator=random)
    bads = patterns[1] + 1.5 * torch.randn(40, *shape, generator=random)
    embedding = Embedding(shape, SMALL, seed=1)
    unseen, good = torch.cat([goods[20:], bads[20:]]), torch.arange(40) < 20
    before = ranking_auc(positives_reward(embedding, unseen, goods[:1]), good)
    metrics = fitted(embedding, goods[0], goods[1:20], bads[:20])
    after = ranking_auc(positives_reward(embedding, unseen, goods[:1]), good)
    assert metrics["embed_loss_last"] < 0.3 * metrics["embed_loss_first"]
    assert before is not None and after is not None
    assert before < 0.95 < after


def test_same_seed_same_embedding() -> None:
    torch.manual_seed(1)
    outer = torch.rand(1)
    torch.manual_seed(1)
    first = Embedding((1, 4, 4), SMALL, seed=5)
    assert torch.equal(torch.rand(1), outer)  # building one disturbs nobody's random numbers
    second, other = Embedding((1, 4, 4), SMALL, seed=5), Embedding((1, 4, 4), SMALL, seed=6)
    x = torch.randn(3, 1, 4, 4)
    assert torch.equal(first(x), second(x))
    assert not torch.equal(first(x), other(x))
    for embedding in (first, second):
        fitted(embedding, x[0], x[1:2], x[2:])
    assert torch.equal(first(x), second(x))


def test_nothing_to_contrast_is_refused() -> None:
    some, none = torch.ones(2, 1, 2, 2), torch.ones(0, 1, 2, 2)
    for positives, negatives in ((some, none), (none, some)):
        with pytest.raises(ValueError, match="nothing to contrast"):
            Triplets(some[0], positives, negatives)


def test_stops_between_epochs() -> None:
    embedding, x = Embedding((1, 2, 2), SMALL), torch.randn(3, 1, 2, 2)

    def stop(done: int, total: int) -> None:
        assert total == SMALL.epochs
        if done == 3:
            raise StopRequested

    with pytest.raises(StopRequested):
        fitted(embedding, x[0], x[1:2], x[2:], stop)


def test_ranking_auc_by_hand() -> None:
    """Pairs (good, bad): .9>.5, .9>.2, .5=.5, .5>.2: 3.5 of 4."""
    scores = torch.tensor([0.9, 0.5, 0.5, 0.2])
    assert ranking_auc(scores, torch.tensor([True, True, False, False])) == 3.5 / 4
    assert ranking_auc(scores, torch.tensor([True] * 4)) is None
    assert ranking_auc(scores, torch.tensor([False] * 4)) is None


def test_newer_pictures_are_drawn_more_often() -> None:
    """With half life 2: each pair of pictures half as often as the next newer pair."""
    random = torch.Generator().manual_seed(0)
    counts = torch.bincount(draws(6, 70_000, 2.0, random), minlength=6) / 70_000
    weights = torch.tensor([2 ** (i / 2) for i in range(6)])
    assert torch.allclose(counts, weights / weights.sum(), atol=0.006)
    even = torch.bincount(draws(6, 60_000, 0.0, random), minlength=6) / 60_000
    assert torch.allclose(even, torch.full((6,), 1 / 6), atol=0.006)
