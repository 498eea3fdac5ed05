"""The pool of images that the denoising updates (`forward`, `sft`) draw from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hero_engine.updates.lessons import Feedback, PseudoLabelled


@dataclass(frozen=True)
class Pool:
    """Final latents (N, C, H, W), and each one's probability of being good, float64.

    The probability is 1 or 0 where a label says so. assumed_negatives: how many of the images, the
    last ones, are unlabelled and count as bad.
    """

    latents_N_C_H_W: Tensor
    probability_N: Tensor
    assumed_negatives: int = 0

    def __len__(self) -> int:
        return len(self.probability_N)

    @property
    def has_goods(self) -> bool:
        """Whether any image may be good."""
        return bool((self.probability_N > 0).any())

    @property
    def contrast(self) -> float:
        """4 p (1 - p), p being the share of goods: 1 where half are good, 0 where all are alike."""
        share = float(self.probability_N.mean())
        return 4 * share * (1 - share)

    def goods(self) -> Pool:
        """The images that are known to be good."""
        good_N = self.probability_N == 1
        return Pool(self.latents_N_C_H_W[good_N], self.probability_N[good_N])

    def counts(self) -> dict[str, float]:
        """Number of images of each kind, as metrics."""
        bads = float((1 - self.probability_N).sum()) - self.assumed_negatives
        counts = {"goods": float(self.probability_N.sum()), "bads": bads}
        if self.assumed_negatives:
            counts["assumed_negatives"] = float(self.assumed_negatives)
        return counts


def label_pool(feedback: Feedback, history: str, *, assume_negatives: bool = False) -> Pool:
    """The labelled images of all rounds so far (history "all"), or of this one ("round").

    assume_negatives: where all of them are good, the round's unlabelled images count as bad.
    """
    known = feedback.memory if history == "all" else feedback.round.known
    only_goods = len(known) > 0 and bool(known.good_N.all())
    assumed = feedback.round.labels.unlabelled if only_goods and assume_negatives else ()
    latents = feedback.round.batch.latents_B_C_H_W[list(assumed)]
    probability_N = torch.cat([known.good_N.double(), torch.zeros(len(latents)).double()])
    return Pool(torch.cat([known.latents_N_C_H_W, latents]), probability_N, len(latents))


def pseudo_label_pool(images: PseudoLabelled) -> Pool:
    """Images with their predicted probabilities."""
    return Pool(images.batch.latents_B_C_H_W, images.probability_B.double())
