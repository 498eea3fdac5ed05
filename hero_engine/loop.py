"""HERO, round after round: Algorithm 1 of the paper. Read this file first.

    pi = N(0, I)
    repeat until the budget of labels is used:
        sample a batch of pictures from noises z_T ~ pi            Run.sample
        a person marks good, bad, and one best                     Run.ask
        fit the embedding E to the labels (triplet loss)           Run.learn, 1
        reward every picture by its similarity to best in E        Run.learn, 2
        update the LoRA weights                                    Run.learn, 3
        pi = a mixture around the noises of best and the goods     Run.learn, 4

A round goes through the phases sampling, labelling, training, done. Each is on the disk before the
next begins, so a stop or a crash goes on in the phase it left: sampling with the next minibatch,
training from the last checkpoint. The checkpoint's rename is what makes a round done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hero_engine.errors import ExitCode, HeroError
from hero_engine.journal import Journal
from hero_engine.labellers import Labeller
from hero_engine.labels import Labels
from hero_engine.learner import Learner, auc_of_labelled
from hero_engine.protocol import Finished, ImagesReady, PhaseStarted, RoundFinished
from hero_engine.records import Batch
from hero_engine.reporting import CheckStop, Deliver, Meter
from hero_engine.rundir import RunDir
from hero_engine.sampler import pick_training_steps, sample


class Run:
    """A run at work. The caller holds the folder's lock.

    more_rounds: end after this many further rounds, whatever the budget; None for the run's own
    end. Any method may raise StopRequested, at a safe point; what it learned is then half done, so
    go on with a new Run, which begins at the last checkpoint.
    """

    def __init__(
        self,
        folder: RunDir,
        journal: Journal,
        learner: Learner,
        labeller: Labeller,
        *,
        tell: Deliver,
        check_stop: CheckStop,
        more_rounds: int | None = None,
    ) -> None:
        self.folder, self.journal, self.settings = folder, journal, folder.settings
        self.learner, self.labeller = learner, labeller
        self.tell, self.check_stop = tell, check_stop
        self.round, self.labels_used = 0, 0
        self.seconds = {"sample": 0.0, "embed": 0.0, "update": 0.0}
        self._load_checkpoint()
        self._until = None if more_rounds is None else self.round + more_rounds

    def run(self) -> Finished:
        """Rounds until the budget is used."""
        while not (reason := self.over()):
            self.run_round()
        return Finished(str(self.folder.path), self.round, self.labels_used, reason)

    def run_round(self) -> None:
        """One round."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        batch = self.sample()
        labels, notes = self.ask()
        self.learn(batch, labels, notes)

    def over(self) -> str:
        """Why the run has ended: "rounds" or "budget"; empty while it has not.

        A round that was begun is always brought to its end.
        """
        at = self.journal.current()
        if at is not None and at[0] == self.round and at[1] != "done":
            return ""
        limit = self.settings.rounds if self._until is None else self._until
        if limit:
            return "rounds" if self.round >= limit else ""
        return "budget" if self.labels_used >= self.settings.labels else ""

    def sample(self) -> Batch:
        """The round's pictures: those already made, and the minibatches still missing."""
        settings, model, round = self.settings, self.learner.model, self.round
        parts = {at: Batch.from_tensors(part) for at, part in self.folder.load_parts(round).items()}
        if self._phase() == "sampling":
            self._enter("sampling")
            for first, part in parts.items():
                self._announce(first, len(part))
        noises = self.learner.prior.draw(
            settings.batch, model.latent_shape, settings.noise, settings.seed, round
        )
        kept = self._steps_to_keep()
        meter = self._meter("sampling", "sample")
        for first in range(0, settings.batch, settings.minibatch):
            if first in parts:
                continue
            rows = slice(first, min(first + settings.minibatch, settings.batch))
            with self._timed("sample"):
                parts[first] = sample(
                    model,
                    settings.prompt,
                    noises[rows],
                    settings.sampler,
                    seed=settings.seed,
                    round=round,
                    first_index=first,
                    kept_steps_B_S=None if kept is None else kept[rows],
                    on_step=meter.piece(first, rows.stop - first, settings.batch),
                )
                self._keep(first, parts[first])
        return Batch.cat(parts[first] for first in sorted(parts))

    def ask(self) -> tuple[Labels, list[str]]:
        """The round's labels, and what was unusual about them."""
        if not self.journal.submitted(self.round):
            self._enter("labelling")
            self.labeller.label(self.round, self._pictures(), self.journal)
        labels = self.journal.labels(self.round, self.settings.batch)
        first = self.journal.first_good(self.round, self.settings.batch)
        if labels.best is None and self.learner.best_C_H_W is None and first is not None:
            return replace(labels, best=first), ["no best was named: the first good stands in"]
        return labels, []

    def learn(self, batch: Batch, labels: Labels, notes: list[str]) -> None:
        """Embedding, reward, update, noise; then the checkpoint that makes the round done."""
        learner, round = self.learner, self.round
        self._enter("training")
        learner.remember(batch, labels)
        metrics: dict[str, float] = {"guided": float(learner.prior.guided)}

        # 1. The embedding learns what sets good apart from bad.
        contrast = learner.contrast(batch, labels)
        if contrast is not None:
            with self._timed("embed"):
                metrics |= learner.train_embedding(
                    contrast, round, self._meter("training", "embed")
                )

        # 2. Every picture's reward.
        rewards = learner.rewards(batch, labels)
        metrics |= _reward_metrics(rewards, labels)

        # 3. The LoRA weights.
        experience = learner.experience(batch, labels, rewards, round)
        why_not = learner.update.signal(experience) if labels.labelled else "nothing is labelled"
        if not why_not:
            with self._timed("update"):
                metrics |= learner.improve(experience, self._meter("training", "update"))

        # 4. The noises of the next round.
        learner.prior = learner.prior.updated(batch, labels)

        notes = [*notes, *self._notes(labels, contrasted=contrast is not None, why_not=why_not)]
        self._finish(self._report(labels, rewards, metrics, notes, updated=not why_not))

    def _steps_to_keep(self) -> Tensor | None:
        """Which denoising steps of each picture will be trained, (B, S); None where none are."""
        if not self.learner.update.needs_trajectory:
            return None
        settings = self.settings
        return pick_training_steps(
            self.learner.model,
            settings.sampler,
            settings.ddpo.steps_per_image,
            settings.batch,
            settings.seed,
            self.round,
        )

    def _keep(self, first: int, part: Batch) -> None:
        """Put a minibatch on the disk: pictures, tensors, then the journal; then tell."""
        pictures = self.learner.model.decode(part.latents_B_C_H_W)
        for index, pixels in enumerate(pictures, start=first):
            self.folder.save_picture(self.round, index, pixels)
        self.folder.save_part(self.round, first, part.tensors())
        self._announce(first, len(part))

    def _announce(self, first: int, count: int) -> None:
        images = range(first, first + count)
        paths = [self.folder.picture_path(self.round, image) for image in images]
        known = {i: self.folder.relative(p) for i, p in zip(images, paths, strict=True)}
        self.journal.add_images(self.round, known)
        self.tell(ImagesReady(self.round, tuple(images), tuple(map(str, paths))))

    def _pictures(self) -> dict[int, Path]:
        images = self.journal.images(self.round)
        return {index: self.folder.path / path for index, path in images.items()}

    def _notes(self, labels: Labels, *, contrasted: bool, why_not: str) -> Iterator[str]:
        """What was unusual about the round, in words."""
        if missing := len(labels.good) - labels.labelled:
            yield f"{missing} without a label are left out"
        if labels.labelled and not labels.goods:
            yield "no good one" + ("; best stays" if self.learner.best_C_H_W is not None else "")
        if labels.goods and not contrasted:
            yield "nothing to contrast: the embedding was not trained"
        if why_not:
            yield f"no update: {why_not}"

    def _report(
        self,
        labels: Labels,
        rewards: Tensor | None,
        metrics: dict[str, float],
        notes: list[str],
        *,
        updated: bool,
    ) -> RoundFinished:
        known = None if rewards is None else rewards[~rewards.isnan()]
        has_rewards = known is not None and len(known) > 0
        return RoundFinished(
            round=self.round,
            labels=labels.labelled,
            good=len(labels.goods),
            unlabelled=len(labels.good) - labels.labelled,
            labels_total=self.labels_used + labels.labelled,
            reward_mean=float(known.mean()) if known is not None and has_rewards else None,
            reward_std=float(known.std(correction=0))
            if known is not None and has_rewards
            else None,
            updated=updated,
            note="; ".join(notes),
            seconds={step: round(seconds, 3) for step, seconds in self.seconds.items()},
            metrics=metrics,
        )

    def _finish(self, report: RoundFinished) -> None:
        """Checkpoint the round, then let the rest of the folder follow."""
        self.folder.save_checkpoint(
            self.round + 1, self.learner.parts(), {"finished": asdict(report)}
        )
        self._settle(report)

    def _settle(self, report: RoundFinished) -> None:
        """What follows from a checkpoint; done again if a crash came in between."""
        round = report.round
        if parts := self.folder.load_parts(round):
            batch = Batch.cat(Batch.from_tensors(part) for part in parts.values())
            self.folder.condense(round, replace(batch, trajectory=None).tensors())
        self.journal.finish_round(round, asdict(report))
        self.round, self.labels_used = round + 1, report.labels_total
        self.tell(report)

    def _load_checkpoint(self) -> None:
        found = self.folder.load_checkpoint()
        at = self.journal.current()
        if found is None:
            self._refuse_lost_checkpoint(at)
            return
        parts, state = found
        self.learner.restore(parts)
        report = RoundFinished(**state["finished"])
        self.round, self.labels_used = report.round + 1, report.labels_total
        if at == (report.round, "training"):
            self._settle(report)
        self._refuse_lost_checkpoint(at)

    def _refuse_lost_checkpoint(self, at: tuple[int, str] | None) -> None:
        """The journal never runs ahead of the checkpoints, unless one was lost."""
        if at is not None and at[0] + (at[1] == "done") > self.round:
            raise HeroError(
                f"{self.folder.path}: the checkpoint of round {at[0]} is missing",
                exit_code=ExitCode.RUN,
            )

    def _phase(self) -> str:
        """The round's phase; "sampling" for one that has not begun."""
        at = self.journal.current()
        return at[1] if at is not None and at[0] == self.round else "sampling"

    def _enter(self, phase: str) -> None:
        self.check_stop()
        self.journal.add_round(self.round)
        self.journal.set_phase(self.round, phase)
        self.tell(PhaseStarted(self.round, phase))

    def _meter(self, phase: str, step: str) -> Meter:
        return Meter(self.tell, self.check_stop, self.round, phase, step)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds[step] += time.monotonic() - begun


def _reward_metrics(rewards: Tensor | None, labels: Labels) -> dict[str, Any]:
    auc = None if rewards is None else auc_of_labelled(rewards, labels)
    return {} if auc is None else {"reward_auc": auc}
