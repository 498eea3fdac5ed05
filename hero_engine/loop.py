"""The loop: Algorithm 1 of the paper, round by round. Read ``run_round`` first.

Each phase of a round is on the disk before the next begins, so that a run which was stopped or
killed goes on in the phase it left: a half-sampled round with its next minibatch, a half-labelled
one with its marks, a half-trained one from the checkpoint that the round began with.

What a round means that is not like the paper's:
- no good picture: the best carries over; the mixture's share for goods is drawn fresh;
- no good picture so far at all: the prior stays N(0, I);
- goods but no best, and none carried over: the good one that was marked first stands in;
- no bad one, or no good one but the best: the embedding is not trained;
- nothing that an update can learn from: no update, and the round's note says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hero_engine.errors import HeroError, StopRequested
from hero_engine.journal import Journal
from hero_engine.labellers import Labeller
from hero_engine.labels import Labels
from hero_engine.learner import Learner
from hero_engine.progress import Stopwatch
from hero_engine.protocol import (
    Event,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    RoundFinished,
    RunOpened,
)
from hero_engine.records import Batch
from hero_engine.rundir import RunDir
from hero_engine.sampler import pick_training_steps, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from hero_engine.pipeline import Model

Report = Callable[[Event], None]


@dataclass
class Round:
    """A round under way: what it took and what was unusual."""

    number: int
    seconds: dict[str, float] = field(
        default_factory=lambda: {"sample": 0.0, "embed": 0.0, "update": 0.0}
    )
    notes: list[str] = field(default_factory=list)


class Loop:
    """Runs rounds of one run. The caller holds the run's lock.

    report: gets every event. safe_point: called between steps; raises ``StopRequested`` to stop.
    """

    def __init__(
        self,
        run: RunDir,
        model: Model,
        labeller: Labeller,
        report: Report,
        safe_point: Callable[[], None],
    ) -> None:
        self.run_dir, self.settings, self.model = run, run.settings, model
        self.labeller, self.safe_point = labeller, safe_point
        self.journal = Journal(run.journal_path)
        self.learner = Learner(run.settings, model)
        self._listener = report
        self._next_round = self._restore()

    # ------------------------------------------------------------------ the algorithm

    def run(self, rounds: int | None = None) -> Finished:
        """Run until the budget of labels is spent, or for ``rounds`` rounds whatever the budget."""
        self.report(self._opened())
        first = self._next_round
        while not self._done(first, rounds):
            self.run_round(self._next_round)
            self._next_round += 1
        reason = "budget" if rounds is None else "rounds"
        return Finished(str(self.run_dir.path), self._next_round, self._labels_total(), reason)

    def run_round(self, number: int) -> RoundFinished:
        """One round of Algorithm 1, from wherever the journal says it stands."""
        this = Round(number)
        self.journal.add_round(number)
        batch = self.sample(this)
        labels = self.label(this, batch)
        finished = self.learn(this, batch, labels)
        self.finish(finished)
        return finished

    def sample(self, this: Round) -> Batch:
        """Pictures from noises z_T ~ pi; each minibatch is on the disk before it is shown."""
        self.enter(this.number, "sampling")
        settings, shape = self.settings, self.model.latent_shape
        noises = self.learner.prior.draw(
            settings.batch, shape, settings.noise, settings.seed, this.number
        )
        kept = self._kept_steps(this.number)
        parts = []
        with self.timed(this, "sample", "sampling", self._sampling_units()) as step:
            for first in range(0, settings.batch, settings.minibatch):
                rows = slice(first, min(first + settings.minibatch, settings.batch))
                part = self._load_part(this.number, first)
                if part is None:
                    part = sample(
                        self.model,
                        settings.prompt,
                        noises[rows],
                        settings.sampler,
                        seed=settings.seed,
                        round=this.number,
                        first_index=first,
                        kept_steps_B_S=None if kept is None else kept[rows],
                        on_step=lambda done, _, at=first: step(self._unit(at, done)),
                    )
                    self._save_part(this.number, first, part)
                self._announce(this.number, first, len(part))
                parts.append(part)
        return Batch.cat(parts)

    def label(self, this: Round, batch: Batch) -> Labels:
        """Good or bad for every picture, and one best, from the person (or a stand-in)."""
        if not self.journal.submitted(this.number):
            self.enter(this.number, "labelling")
            paths = self.journal.images(this.number)
            pictures = {image: self.run_dir.path / path for image, path in paths.items()}
            self.labeller.label(this.number, pictures, self.journal)
        labels = self.journal.labels(this.number, len(batch))
        if labels.best is None and labels.goods and self.learner.best_C_H_W is None:
            this.notes.append("no best was named: the first good one stands in")
            return replace(labels, best=self.journal.first_good(this.number, len(batch)))
        return labels

    def learn(self, this: Round, batch: Batch, labels: Labels) -> RoundFinished:
        """Representation, reward, update of the LoRA, and where the next noises come from."""
        self.enter(this.number, "training")
        learner, metrics = self.learner, dict[str, float]()
        learner.remember(batch, labels)
        with self.timed(this, "embed", "training", self.settings.embedding.epochs) as step:
            metrics |= learner.represent(batch, labels, this.number, lambda done, _: step(done))
        rewards_B = learner.rewards(batch, labels)
        experience = learner.experience(batch, labels, rewards_B, this.number)
        reason = learner.update.signal(experience)
        if not reason:
            with self.timed(this, "update", "training", 1) as step:
                metrics |= learner.update.step(experience, step)
        learner.guide(batch, labels)
        this.notes += self._notes(labels, reason)
        return self._round_finished(this, labels, rewards_B, metrics, updated=not reason)

    def finish(self, finished: RoundFinished) -> None:
        """The checkpoint that the next round begins with, then the journal, then the event."""
        state = {"settings": asdict(self.settings), "finished": asdict(finished)}
        self.run_dir.save_checkpoint(finished.round + 1, self.learner.parts(), state)
        self._close_round(finished.round, asdict(finished))
        self.report(finished)
        self.enter(finished.round, "done")

    # ------------------------------------------------------------------ events

    def report(self, event: Event) -> None:
        """Give an event to the listener and, progress apart, to events.jsonl and status.json."""
        if not isinstance(event, Progress):
            self.run_dir.add_event(event.to_json())
        self._listener(event)

    def enter(self, number: int, phase: str) -> None:
        """The round enters a phase."""
        self.journal.set_phase(number, phase)
        self.write_status(number, phase)
        self.report(PhaseStarted(number, phase))

    def write_status(self, number: int, phase: str) -> None:
        """What ``hero status`` shows, without opening the journal."""
        rounds = self.journal.metrics()
        shares = [r["good"] / r["labels"] if r["labels"] else None for r in rounds]
        self.run_dir.write_status({
            "run": str(self.run_dir.path),
            "task": self.run_dir.task.name,
            "prompt": self.settings.prompt,
            "model": self.settings.model,
            "update": self.settings.update,
            "preset": self.settings.preset,
            "round": number,
            "phase": phase,
            "labels": self._labels_total(),
            "budget": self.settings.labels,
            "good_shares": shares,
            "time": time.time(),
        })  # fmt: skip

    @contextmanager
    def timed(
        self, this: Round, step: str, phase: str, total: int
    ) -> Iterator[Callable[..., None]]:
        """Times a step of the round; gives a callback that reports progress and is a safe point.

        The callback takes the units done and, where it differs, the units in all.
        """
        watch = Stopwatch()

        def on_step(done: int, total: int = total) -> None:
            self.safe_point()
            if watch.due(done, total):
                left = watch.seconds_left(done, total)
                self._listener(Progress(this.number, phase, step, done, total, left))

        self.safe_point()
        try:
            yield on_step
        finally:
            this.seconds[step] = round(watch.elapsed(), 3)

    # ------------------------------------------------------------------ details of sampling

    def _kept_steps(self, number: int) -> torch.Tensor | None:
        """Which denoising steps will be trained, drawn before sampling; None where none will."""
        if not self.learner.update.needs_trajectory:
            return None
        settings = self.settings
        return pick_training_steps(
            self.model,
            settings.sampler,
            settings.ddpo.steps_per_image,
            settings.batch,
            settings.seed,
            number,
        )

    def _sampling_units(self) -> int:
        minibatches = math.ceil(self.settings.batch / self.settings.minibatch)
        return minibatches * self.settings.sampler.steps

    def _unit(self, first: int, done: int) -> int:
        return first // self.settings.minibatch * self.settings.sampler.steps + done

    def _load_part(self, number: int, first: int) -> Batch | None:
        tensors = self.run_dir.load_tensors(part_name(number, first))
        return None if tensors is None else Batch.from_tensors(tensors)

    def _save_part(self, number: int, first: int, part: Batch) -> None:
        """Pictures first, then latents: where the latents are, the pictures are too."""
        pixels = self.model.decode(part.latents_B_C_H_W)
        for offset, picture in enumerate(pixels):
            self.run_dir.save_picture(number, first + offset, picture)
        self.run_dir.save_tensors(part_name(number, first), part.tensors())

    def _announce(self, number: int, first: int, count: int) -> None:
        folder = self.run_dir.images_dir(number)
        paths = {first + i: folder / f"{first + i:03}.png" for i in range(count)}
        relative = {i: str(path.relative_to(self.run_dir.path)) for i, path in paths.items()}
        self.journal.add_images(number, relative)
        absolute = tuple(str(path.absolute()) for path in paths.values())
        self.report(ImagesReady(number, tuple(paths), absolute))

    # ------------------------------------------------------------------ details of a round's end

    def _notes(self, labels: Labels, reason: str) -> list[str]:
        notes = []
        if reason:
            notes.append(f"no update: {reason}")
        if not self.learner.rewards_are_labels and not (labels.others and labels.bads):
            notes.append("the embedding was not trained: nothing to contrast")
        if not labels.goods:
            carried = self.learner.best_C_H_W is not None
            notes.append("no good picture: " + ("best carries over" if carried else "fresh noise"))
        return notes

    def _round_finished(
        self,
        this: Round,
        labels: Labels,
        rewards_B: torch.Tensor | None,
        metrics: dict[str, float],
        *,
        updated: bool,
    ) -> RoundFinished:
        known = None if rewards_B is None else rewards_B[~rewards_B.isnan()]
        some = known is not None and len(known) > 0
        return RoundFinished(
            round=this.number,
            labels=labels.labelled,
            good=len(labels.goods),
            unlabelled=len(labels.good) - labels.labelled,
            labels_total=self._labels_total() + labels.labelled,
            reward_mean=float(known.mean()) if some and known is not None else None,
            reward_std=float(known.std(correction=0)) if some and known is not None else None,
            updated=updated,
            note="; ".join(this.notes),
            seconds=this.seconds,
            metrics=metrics,
        )

    def _close_round(self, number: int, finished: dict[str, Any]) -> None:
        """Put a round that is in a checkpoint on record; its trajectories are not needed again."""
        self.journal.add_metrics(number, finished)
        self.journal.set_phase(number, "done")
        for first in range(0, self.settings.batch, self.settings.minibatch):
            part = self._load_part(number, first)
            if part is not None and part.trajectory is not None:
                tensors = replace(part, trajectory=None).tensors()
                self.run_dir.save_tensors(part_name(number, first), tensors)

    # ------------------------------------------------------------------ where the run stands

    def _restore(self) -> int:
        """Load the newest checkpoint; returns the round to go on with."""
        checkpoint = self.run_dir.load_checkpoint()
        if checkpoint is None:
            return 0
        parts, state = checkpoint
        try:
            self.learner.load(parts)
        except (KeyError, ValueError, RuntimeError) as error:
            raise HeroError(
                f"the checkpoint of {self.run_dir.path} does not fit its settings: {error}",
                exit_code=3,
            ) from error
        done = int(state["round"]) - 1
        if self.journal.current() == (done, "training"):
            self._close_round(done, state["finished"])
        return done + 1

    def _labels_total(self) -> int:
        rounds = self.journal.metrics()
        return int(rounds[-1]["labels_total"]) if rounds else 0

    def _done(self, first: int, rounds: int | None) -> bool:
        if rounds is not None:
            return self._next_round - first >= rounds
        return self._labels_total() >= self.settings.labels

    def _opened(self) -> RunOpened:
        task, settings = self.run_dir.task, self.settings
        return RunOpened(
            run=str(self.run_dir.path),
            task=task.name,
            prompt=settings.prompt,
            success=task.success,
            model=settings.model,
            update=settings.update,
            preset=settings.preset,
            batch=settings.batch,
            budget=settings.labels,
            labels_used=self._labels_total(),
            round=self._next_round,
        )


def part_name(number: int, first: int) -> str:
    """Name of the tensors of the minibatch that begins with picture ``first``."""
    return f"rounds/r{number:03}/{first:03}"


def round_latents(run: RunDir, number: int) -> Batch:
    """All latents and noises of a sampled round."""
    settings, parts = run.settings, []
    for first in range(0, settings.batch, settings.minibatch):
        tensors = run.load_tensors(part_name(number, first))
        if tensors is None:
            raise HeroError(f"round {number} of {run.path} is not sampled yet", exit_code=3)
        parts.append(Batch.from_tensors(tensors))
    return Batch.cat(parts)


__all__ = ["Loop", "Round", "StopRequested", "part_name", "round_latents"]
