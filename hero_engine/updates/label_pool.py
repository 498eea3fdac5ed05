"""The pool of images that the denoising updates (`forward`, `sft`) draw from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hero_engine.core.batch import distinct, first_group, some_groups
from hero_engine.updates.lessons import Feedback, PseudoLabelled


@dataclass(frozen=True)
class Pool:
    """Final latents (N, C, H, W), and each one's weight as a good and as a bad image, float64.

    An image is drawn as good in proportion to the first weight, and as bad to the second. A label
    gives 1 and 0. assumed_negatives: how many of the images, the last ones, are unlabelled and
    count as bad. groups: the number of each one's prompt, (N,) int64; None where all are of the
    first.
    """

    latents_N_C_H_W: Tensor
    good_weight_N: Tensor
    bad_weight_N: Tensor
    assumed_negatives: int = 0
    groups: Tensor | None = None

    @classmethod
    def of(
        cls,
        latents_N_C_H_W: Tensor,
        probability_N: Tensor,
        assumed_negatives: int = 0,
        groups: Tensor | None = None,
    ) -> Self:
        """Images that are good with these probabilities, which are their weights."""
        good_N = probability_N.double()
        return cls(latents_N_C_H_W, good_N, 1 - good_N, assumed_negatives, groups)

    def __len__(self) -> int:
        return len(self.good_weight_N)

    @property
    def has_goods(self) -> bool:
        """Whether any image may be good."""
        return bool((self.good_weight_N > 0).any())

    @property
    def group_ids(self) -> Tensor:
        """The group of each image, (N,) int64."""
        return first_group(len(self)) if self.groups is None else self.groups

    @property
    def taught(self) -> tuple[int, ...]:
        """The groups with an image that may be good; of the others nothing can be learned."""
        return tuple(distinct(self.group_ids[self.good_weight_N > 0]))

    @property
    def contrast(self) -> float:
        """4 p (1 - p), p being the share of goods: 1 where half are good, 0 where all are alike.

        The mean over the groups that have any.
        """
        shares = [self._share(self.group_ids == each) for each in self.taught]
        contrasts = [4 * share * (1 - share) for share in shares]
        return sum(contrasts) / max(1, len(contrasts))

    def _share(self, some_N: Tensor) -> float:
        goods, bads = self.good_weight_N[some_N].sum(), self.bad_weight_N[some_N].sum()
        return float(goods / (goods + bads))

    def goods(self) -> Pool:
        """The images that are known to be good."""
        good_N = (self.good_weight_N == 1) & (self.bad_weight_N == 0)
        return Pool.of(
            self.latents_N_C_H_W[good_N], self.good_weight_N[good_N], groups=self.group_ids[good_N]
        )

    def plus(self, other: Pool) -> Pool:
        """These images, then the other ones."""
        return Pool(
            torch.cat([self.latents_N_C_H_W, other.latents_N_C_H_W]),
            torch.cat([self.good_weight_N, other.good_weight_N]),
            torch.cat([self.bad_weight_N, other.bad_weight_N]),
            groups=some_groups(torch.cat([self.group_ids, other.group_ids])),
        )

    def counts(self) -> dict[str, float]:
        """Number of images of each kind, as metrics."""
        bads = float(self.bad_weight_N.sum()) - self.assumed_negatives
        counts = {"goods": float(self.good_weight_N.sum()), "bads": bads}
        if self.assumed_negatives:
            counts["assumed_negatives"] = float(self.assumed_negatives)
        return counts


def label_pool(feedback: Feedback, history: str, *, assume_negatives: bool = False) -> Pool:
    """The labelled images of all rounds so far (history "all"), or of this one ("round").

    assume_negatives: where all images of a group are good, its unlabelled ones of this round count
    as bad.
    """
    known = feedback.memory if history == "all" else feedback.round.known
    batch = feedback.round.batch
    assumed = list[int]()
    if assume_negatives:
        with_bads = distinct(known.group_ids[~known.good_N])
        only_goods = {*distinct(known.group_ids)} - {*with_bads}
        unlabelled = feedback.round.labels.unlabelled
        assumed = [image for image in unlabelled if int(batch.group_ids[image]) in only_goods]
    latents = batch.latents_B_C_H_W[assumed]
    probability_N = torch.cat([known.good_N.double(), torch.zeros(len(latents)).double()])
    groups = torch.cat([known.group_ids, batch.group_ids[assumed]])
    return Pool.of(
        torch.cat([known.latents_N_C_H_W, latents]),
        probability_N,
        len(latents),
        some_groups(groups),
    )


def pseudo_label_pool(images: PseudoLabelled) -> Pool:
    """Images with their predicted probabilities."""
    batch = images.batch
    return Pool.of(batch.latents_B_C_H_W, images.probability_B, groups=batch.groups)
