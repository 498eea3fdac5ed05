"""Feedback-Aligned Representation Learning (paper, section 4.2): an embedding of final latents.

A small convolutional network is trained by a triplet loss on latents, not on pixels: the best
image is the anchor, the other good ones are positives, the bad ones negatives. Similarity to the
best image in this space is the reward.

What differs from sony/hero:
- its distance takes the cosine along the batch axis (`dim=0` of batch x features), so that the
  anchor enters by its signs only; here it is along the features, as the paper's equation says;
- it embeds x before the last denoising step, since its stack of latents leaves the last one off;
  here the embedding sees z_0 itself;
- an epoch has one item for each positive and each negative, not for each image of the batch;
- Adam restarts every round; the weights carry over, as theirs;
- any latent shape works (theirs is 4 x 64 x 64); pooling rounds odd sizes up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hero_engine.config.settings import EmbeddingSettings
from hero_engine.core.batch import distinct
from hero_engine.core.rng import seed_number

OnEpoch = Callable[[int, int], None]


class Embedding(nn.Module):
    """Latents (B, C, H, W) to features (B, `settings.features`), and on to the triplet head.

    The reward compares features; the head (`project`) is used inside the triplet loss only.
    The first weights come from `seed` alone.
    """

    def __init__(
        self, latent_shape: tuple[int, int, int], settings: EmbeddingSettings, *, seed: int = 0
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_number(seed, "init", 0, 1))
            self.convolutions = _convolutions((latent_shape[0], *settings.channels))
            with torch.no_grad():
                flat = self.convolutions(torch.zeros(1, *latent_shape)).numel()
            self.features = nn.Sequential(nn.Linear(flat, settings.features), nn.ReLU())
            self.head = _head((settings.features, *settings.head))

    def forward(self, latents_B_C_H_W: Tensor) -> Tensor:
        """Features (B, F), none below 0."""
        features: Tensor = self.features(self.convolutions(latents_B_C_H_W).flatten(1))
        return features

    def project(self, latents_B_C_H_W: Tensor) -> Tensor:
        """The head's output on the features: (B, last width of the head)."""
        projected: Tensor = self.head(self(latents_B_C_H_W))
        return projected


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """mean(max(0, d(anchor, positive) - d(anchor, negative) + margin)), d = 1 - (cos + 1)/2.

    All (N, D), or (1, D) to stand for every row.
    """
    return _hinges(anchor, positive, negative, margin).mean()


@dataclass(frozen=True)
class Triplets:
    """The images of a prompt that the embedding is trained on.

    The best image, the anchor, is on neither side.

    best_C_H_W; positives_N_C_H_W: the other good images; negatives_M_C_H_W: the bad ones.
    """

    best_C_H_W: Tensor
    positives_N_C_H_W: Tensor
    negatives_M_C_H_W: Tensor

    def __post_init__(self) -> None:
        if not len(self.positives_N_C_H_W) or not len(self.negatives_M_C_H_W):
            raise ValueError("nothing to contrast: the embedding needs positives and negatives")

    def __len__(self) -> int:
        return 1 + len(self.positives_N_C_H_W) + len(self.negatives_M_C_H_W)

    def latents(self) -> Tensor:
        """All of them: best, positives, negatives."""
        return torch.cat([self.best_C_H_W[None], self.positives_N_C_H_W, self.negatives_M_C_H_W])

    def draw(self, half_life: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """An epoch's positives and negatives, N + M of each, as rows of `latents`."""
        positives, negatives = len(self.positives_N_C_H_W), len(self.negatives_M_C_H_W)
        items = positives + negatives
        positive = 1 + draws(positives, items, half_life, random)
        return positive, 1 + positives + draws(negatives, items, half_life, random)


def train_embedding(
    embedding: Embedding,
    triplets: Sequence[Triplets],
    settings: EmbeddingSettings,
    random: torch.Generator,
    on_epoch: OnEpoch = lambda done, total: None,
) -> dict[str, float]:
    """Fit the embedding to labels; returns the first and the last epoch's loss.

    triplets: of each prompt; at least one. Each epoch draws N + M triplets of a prompt, a random
    positive and a random negative each (newer images, which come last, more often where
    `recency_half_life` is set), and makes one Adam step on those of all prompts.
    on_epoch(done, total) may raise to stop.
    """
    device = next(embedding.parameters()).device
    latents = torch.cat([each.latents() for each in triplets]).to(device)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=settings.learning_rate)
    losses: list[float] = []
    for epoch in range(settings.epochs):
        drawn = [each.draw(settings.recency_half_life, random) for each in triplets]
        points = torch.split(embedding.project(latents), [len(each) for each in triplets])
        hinges = [
            _hinges(of_prompt[:1], of_prompt[positive], of_prompt[negative], settings.margin)
            for of_prompt, (positive, negative) in zip(points, drawn, strict=True)
        ]
        loss = torch.cat(hinges).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
        on_epoch(epoch + 1, settings.epochs)
    return {"embed_loss_first": losses[0], "embed_loss_last": losses[-1]} if losses else {}


def draws(count: int, items: int, half_life: float, random: torch.Generator) -> Tensor:
    """`items` of 0..count - 1, with repeats: uniformly, or i in proportion to 2^(i / half_life)."""
    if not half_life:
        return torch.randint(count, (items,), generator=random)
    ages = torch.arange(count - 1, -1, -1, dtype=torch.float64)
    weights = 0.5 ** (ages / half_life)
    return torch.multinomial(weights, items, replacement=True, generator=random)


def ranking_auc(scores: Tensor, good: Tensor, group_B: Tensor | None = None) -> float | None:
    """Share of (good, bad) pairs in which the good one scores higher; ties count half.

    scores: (B,) numbers; good: (B,) bool. group_B: pairs are made within a group;
    None: all are of one. None if there is no pair.
    """
    groups = torch.zeros_like(good, dtype=torch.int64) if group_B is None else group_B
    parts = []
    for group in distinct(groups):
        own = groups == group
        gaps = scores[own & good][:, None] - scores[own & ~good][None, :]
        parts.append(((gaps > 0).double() + (gaps == 0).double() / 2).flatten())
    pairs = torch.cat(parts) if parts else torch.zeros(0)
    return float(pairs.mean()) if len(pairs) else None


def _hinges(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """The loss of each triplet, (N,)."""
    gap = _distance(anchor, positive) - _distance(anchor, negative)
    return (gap + margin).clamp(min=0)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return 1 - (functional.cosine_similarity(a, b, dim=-1) + 1) / 2


def _convolutions(channels: tuple[int, ...]) -> nn.Sequential:
    blocks = [
        nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)
        )
        for before, after in pairwise(channels)
    ]
    return nn.Sequential(*blocks)


def _head(widths: tuple[int, ...]) -> nn.Sequential:
    """An MLP with ReLU between its layers, none after the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
