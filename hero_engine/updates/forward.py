"""A forward-process update from labels: good and bad pictures contrasted on their noised latents.

After DiffusionNFT (Zheng et al. 2025), which contrasts an implicit positive and negative policy in
the forward process: with x_t drawn from q(x_t | x_0), target the scheduler's own (noise, or v), and
    pred+ = (1 - b) old + b new        pred- = (1 + b) old - b new
the loss is r |pred+ - target|^2 + (1 - r) |pred- - target|^2 with r = 1 for good, 0 for bad. It
needs no trajectories, no likelihoods, no eta, and no guidance in training.

What differs from DiffusionNFT:
- it is stated for the target of any process: noise or v, and a flow's velocity as there;
- r is the person's label, 0 or 1, where NFT maps normalised rewards of a group into 0..1;
- `old` is the frozen base (old_policy = "base") or the policy at the start of the round ("round"),
  where NFT keeps an exponential moving average;
- goods and bads are drawn in fixed numbers from all labels so far (or this round's), where NFT
  trains on the current samples as they come; `bad_weight` scales the bad ones' part;
- loss "x0" weighs by the error it makes in x_0, and "x0_normalised" divides each row by its mean
  absolute error in x_0 as NFT does; "prediction" (the default) is the plain error;
- `kl_weight` adds kl_weight |new - base|^2, plain in every loss, as NFT's KL term.

Where it leads: with data of mean m, goods of mean g and bads of mean d, one round ends at
m_old + (g - d) / (2 b) (a test checks it). So 1 / b is the strength of a round. With the base as
`old` this is a bounded step away from the base however many rounds follow; with the round's own
policy as `old` the steps add up, as they do in NFT, and labels should then be the round's own.

In NFT, where goods and bads count as often as they occur, p of them good, a round that begins at
m_old = p g + (1 - p) d ends at m_old + (g - d) 2 p (1 - p) / b: as far as above where half are
good, and hardly anywhere where nearly all are. Here they count alike, and a few bad ones are
repeated until the model flees their very noise, which broke it (docs/results.md). With
`scale_steps_by_variance` a round takes 4 p (1 - p) of its steps: where it ends long before the
minimum, as it does here, it goes that much less far, as in NFT.

How sharp: at an x_t from which the old policy would come to a good picture s of the time, a round
in which both count as often as they occur ends at m_old + (1 + w) s (1 - s) / (s + w (1 - s))
(g - d) / b, w being `bad_weight`. Goods alone (w = 0) lead to m_old + (1 - s) (g - d) with b = 1,
which is g: where good pictures come from, in all their variety. The bad ones add to that where s is
large, up to 1 + w times as far, and take from it where s is small. So success comes sooner with
them, and the good pictures are more alike (docs/results.md).

What the negative branch pushes away from may come out ever farther from what the model knows, and
errors on it grow without bound: with the plain loss a few such pictures then outweigh all others
(docs/results.md has a run that broke so). A row that is divided by its own error cannot.

With a KL term the steps of the rounds do not add up without end: with the plain loss a round that
begins at m_old ends at (b^2 m_old + b (g - d) / 2 + k m_base) / (b^2 + k), and all rounds
together go no farther from the base than b (g - d) / (2 k), k being `kl_weight`.

Of pictures that nobody labelled (`Experience.chances_B`) each is drawn as good in proportion to its
chance p, and as bad to 1 - p: in expectation the loss above, with r = p.

Where pictures are drawn ahead (`sample_ahead`) they come from a policy one round older than the one
at the start of the update, and the latter is `old` all the same. The step (g - d) / (2 b) is a
difference of two means of the same older pictures, so where it points does not depend on `old`;
where it starts does. From the older policy it would start without what the round before taught: two
runs would take turns, each with half the labels. From the newer one every round's step is added, in
a direction that was measured a round earlier.

A round that knows only good ones would be plain fine-tuning on them, and copies them where they are
few. So its unlabelled pictures stand for the bad ones (`assume_unlabelled_bad`): there are good
ones among them, but they are the policy's own, of mean m_old, so that the round ends at
m_old + (g - m_old) / (2 b), with b = 1 half of the way to where good pictures come from. Where
every picture was called good it is plain fine-tuning. A round that knows only bad ones has no
signal: a policy's own pictures, all of them bad, average to the policy itself, so moving away from
them is moving away from a few pictures' noise, with nothing to say where to.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hero_engine.config.settings import ForwardSettings
from hero_engine.core.rng import generator
from hero_engine.distributed.collectives import ALONE, Ranks
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.diffusion_process import per_image
from hero_engine.updates.base import (
    WHOLE,
    Experience,
    Memory,
    OnProgress,
    Optimizer,
    Probe,
    renoise,
)

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

SMALLEST_ERROR = 1e-5


class ForwardUpdate:
    """The forward-process update. Learns from any labelled picture; needs no trajectory."""

    name = "forward"
    steps_per_image = 0
    window = WHOLE

    def __init__(self, settings: ForwardSettings, model: "Model", ranks: Ranks = ALONE) -> None:
        self.settings, self.model, self.ranks = settings, model, ranks
        self.minibatch = settings.good_images_per_update + settings.bad_images_per_update
        self.optimizer = Optimizer(model.lora_parameters(), settings, ranks)

    def signal(self, experience: Experience) -> str:
        """Empty, or why this round teaches nothing."""
        chances = self._pool(experience).chance_N
        if len(chances) == 0:
            return "no picture is labelled"
        return (
            "" if bool((chances > 0).any()) else "no picture is good, so nothing says where to go"
        )

    def step(
        self, experience: Experience, on_progress: OnProgress | None = None
    ) -> dict[str, float]:
        """Learn from one round: see `Update.step`. ValueError without any label."""
        pool = self._pool(experience)
        if len(pool.chance_N) == 0:
            raise ValueError(f"update {self.name!r}: {self.signal(experience)}")
        probe, total = Probe(self.model, experience), self._steps(pool)
        conditioning = Conditioning(experience.prompt)
        start = [weight.detach().clone() for weight in self.optimizer.weights]
        self.optimizer.clear()
        losses, norms = [], []
        for step in range(total):
            rows = self._draw(pool, experience, step)
            losses.append(self._gather(rows, conditioning, start))
            norms.append(self.optimizer.step())
            if on_progress is not None:
                on_progress(step + 1, total)
        loss = self.ranks.joined(torch.tensor([losses], dtype=torch.float64)).sum()
        return {
            "loss": float(loss) / total,
            "grad_norm": sum(norms) / total,
            "goods": float(pool.chance_N.sum()),
            "bads": float((1 - pool.chance_N).sum()) - pool.stand_ins,
            "optimizer_steps": float(total),
            "prediction_change": probe.change(),
        } | ({"stand_ins": float(pool.stand_ins)} if pool.stand_ins else {})

    def state_dict(self) -> dict[str, Tensor]:
        """The optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        self.optimizer.load_state_dict(state)

    def _pool(self, experience: Experience) -> "Pool":
        if experience.chances_B is not None:
            return Pool(experience.batch.latents_B_C_H_W, experience.chances_B.double())
        memory = experience.memory
        if self.settings.history == "round":
            memory = Memory.of_round(experience.batch, experience.labels)
        stand_ins = self._stand_ins(memory, experience)
        chance_N = torch.cat([memory.good_N.double(), torch.zeros(len(stand_ins)).double()])
        return Pool(torch.cat([memory.latents_N_C_H_W, stand_ins]), chance_N, len(stand_ins))

    def _stand_ins(self, memory: Memory, experience: Experience) -> Tensor:
        """Unlabelled pictures that stand for bad ones: (M, C, H, W), none where some are known."""
        only_goods = len(memory.good_N) > 0 and bool(memory.good_N.all())
        needed = only_goods and self.settings.assume_unlabelled_bad
        which = experience.labels.unlabelled if needed else ()
        return experience.batch.latents_B_C_H_W[list(which)]

    def _steps(self, pool: "Pool") -> int:
        """Optimizer steps that the pool is worth; at least one."""
        if not self.settings.scale_steps_by_variance:
            return self.settings.steps
        share = float(pool.chance_N.mean())
        return max(1, round(4 * share * (1 - share) * self.settings.steps))

    def _draw(self, pool: "Pool", experience: Experience, step: int) -> "Rows":
        """One optimizer step's pictures (with repeats), timesteps and noises."""
        number = experience.turn * self.settings.steps + step
        random = generator(experience.seed, "update", experience.round, number)
        goods = _draw_from(pool.chance_N, self.settings.good_images_per_update, random)
        bads = _draw_from(1 - pool.chance_N, self.settings.bad_images_per_update, random)
        clean = pool.latents_N_C_H_W[torch.cat([goods, bads])].to(self.model.device)
        timesteps = torch.cat(
            [self._timesteps(len(goods), random), self._timesteps(len(bads), random)]
        )
        x_t, noise = renoise(
            self.model, clean, timesteps, experience.seed, "renoise", experience.round, number
        )
        good = torch.arange(len(clean), device=self.model.device) < len(goods)
        return Rows(clean, good, timesteps, x_t, noise)

    def _timesteps(self, count: int, random: torch.Generator) -> Tensor:
        """Stratified over the settings' part of the schedule: one in each of its equal parts."""
        low, high = self.settings.timesteps
        share = (torch.arange(count) + torch.rand(count, generator=random)) / max(count, 1)
        return self.model.process.timesteps_at(low + (high - low) * share)

    def _gather(self, rows: "Rows", conditioning: Conditioning, start: list[Tensor]) -> float:
        """This process's part of the loss; the gradient comes a minibatch of rows at a time."""
        total = 0.0
        for each in self.ranks.pieces(torch.arange(len(rows.clean)), self.minibatch):
            some = rows.some(each)
            loss = self._loss(some, conditioning, start) * (len(some.clean) / len(rows.clean))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    def _loss(self, rows: "Rows", conditioning: Conditioning, start: list[Tensor]) -> Tensor:
        """Mean over the rows of the positive loss (goods) and the weighted negative one (bads)."""
        beta = self.settings.beta
        with torch.no_grad(), self._reference(start):
            old = self.model.predict(rows.x_t, rows.timesteps, conditioning)
        new = self.model.predict(rows.x_t, rows.timesteps, conditioning)
        sign = per_image(torch.where(rows.good, beta, -beta), new)
        errors_B = self._errors(rows, old + sign * (new - old))
        weights_B = torch.where(rows.good, 1.0, self.settings.bad_weight).to(errors_B)
        return (weights_B * errors_B).mean() + self._pulled(new, old, rows, conditioning)

    def _pulled(self, new: Tensor, old: Tensor, rows: "Rows", conditioning: Conditioning) -> Tensor:
        """What the distance to the base costs; `old` is the base where that is the reference."""
        if self.settings.kl_weight == 0:
            return new.new_zeros(())
        base = old
        if self.settings.old_policy != "base":
            with torch.no_grad(), self.model.base():
                base = self.model.predict(rows.x_t, rows.timesteps, conditioning)
        return self.settings.kl_weight * (new - base).square().mean()

    def _errors(self, rows: "Rows", prediction: Tensor) -> Tensor:
        """A branch's squared error, a mean over each picture's elements: (B,)."""
        process = self.model.process
        if self.settings.loss == "prediction":
            error = prediction - process.target(rows.clean, rows.noise, rows.timesteps)
        else:
            error = process.clean(prediction, rows.x_t, rows.timesteps) - rows.clean
        squared_B = error.square().flatten(1).mean(1)
        if self.settings.loss == "x0_normalised":
            size_B = error.detach().abs().flatten(1).mean(1)
            return squared_B / size_B.clamp(min=SMALLEST_ERROR)
        return squared_B

    @contextmanager
    def _reference(self, start: list[Tensor]) -> Iterator[None]:
        """The model as `old`: the frozen base, or with the weights it had before this round."""
        if self.settings.old_policy == "base":
            with self.model.base():
                yield
            return
        weights = self.optimizer.weights
        present = [weight.data for weight in weights]
        for weight, before in zip(weights, start, strict=True):
            weight.data = before
        try:
            yield
        finally:
            for weight, data in zip(weights, present, strict=True):
                weight.data = data


@dataclass(frozen=True)
class Pool:
    """Pictures to draw from; chance_N: of being good, float64, 1 or 0 where a label says so.

    stand_ins: how many of them, the last ones, are unlabelled and stand for bad ones.
    """

    latents_N_C_H_W: Tensor
    chance_N: Tensor
    stand_ins: int = 0


@dataclass(frozen=True)
class Rows:
    """Noised pictures of one optimizer step; the good ones come first. Timesteps on the CPU."""

    clean: Tensor
    good: Tensor
    timesteps: Tensor
    x_t: Tensor
    noise: Tensor

    def some(self, which: Tensor) -> "Rows":
        """The rows with these indices."""
        parts = (self.clean, self.good, self.timesteps, self.x_t, self.noise)
        return Rows(*(part[which.to(part.device)] for part in parts))


def _draw_from(weights_N: Tensor, count: int, random: torch.Generator) -> Tensor:
    """`count` indices in proportion to their weights, with repeats; none where all are 0."""
    if not bool((weights_N > 0).any()):
        return torch.zeros(0, dtype=torch.int64)
    return torch.multinomial(weights_N, count, replacement=True, generator=random)
