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
training from the last checkpoint. The checkpoint's rename is what makes a round done. Where the
newest checkpoint is damaged, rounds after the one before it are learned again from their labels;
`pictures.py` sees to their pictures.

With the setting `ahead` the next round's pictures are drawn while a person labels this one's, by
what was learned so far (`Run.draw_ahead`): then she goes on labelling while the run learns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from hero_engine.core.batch import Batch
from hero_engine.core.errors import Damaged
from hero_engine.core.events import Finished, Notice, PhaseStarted, RoundFinished
from hero_engine.core.labels import Labels
from hero_engine.core.numbering import round_name, rounds_name
from hero_engine.labelling.annotators import Labeller
from hero_engine.reward.rewards import ChanceOfGood
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir, why_over
from hero_engine.training.fixed_noise import make_same_noise_pictures
from hero_engine.training.microbatch import pictures_at_once
from hero_engine.training.oom_backoff import Limits
from hero_engine.training.progress_reports import CheckStop, Deliver, Meter
from hero_engine.training.round_images import Pictures
from hero_engine.training.self_training import mean_chance, unlabelled_experience
from hero_engine.training.state import Learner, agreement_metric, diversity_metric
from hero_engine.updates import Experience


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
        self.limits = Limits(journal, tell)
        reached = self._load_checkpoint()
        self._until = None if more_rounds is None else reached + more_rounds

    def run(self) -> Finished:
        """Rounds until the budget is used."""
        while not (reason := self.over()):
            self.run_round()
        self._show_same_noise()
        return Finished(str(self.folder.path), self.round, self.labels_used, reason)

    def run_round(self) -> None:
        """One round."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        batch = self.sample()
        self.draw_ahead()
        labels, notes = self.ask()
        self.learn(batch, labels, notes)

    def over(self) -> str:
        """Why the run has ended: "rounds" or "budget"; empty while it has not.

        A round that was begun is always brought to its end.
        """
        if self._until is not None:
            return "rounds" if self.round >= self._until else ""
        if self.round in self.journal.rounds():
            return ""
        return why_over(self.settings, self.round, self.labels_used)

    def sample(self) -> Batch:
        """The round's pictures, drawn; from here on they can be labelled."""
        with self.learner.as_the_source():
            batch = self._draw(self.round).batch()
        if not self.journal.submitted(self.round):
            self._enter("labelling")
        return batch

    def draw_ahead(self) -> None:
        """The next round's pictures, by what was learned so far: from all labels but this round's.

        Before anything is learned from this round, also where its labels came sooner than those
        pictures: they are what a person waits for, and what comes out must not depend on her pace.
        """
        if self._draws_ahead():
            self._draw(self.round + 1)
            if not self.journal.submitted(self.round + 1):
                self._enter("labelling", self.round + 1)

    def _draws_ahead(self) -> bool:
        """Whether a next round comes, however many labels this one gets; once learned, as it was.

        Where it takes this round's labels to know, it is drawn after them as if nothing was ahead.
        """
        next, known = self.round + 1, self.journal.metrics()
        if not self.settings.sample_ahead:
            return False
        if next < len(known):
            return bool(known[next]["metrics"].get("behind"))
        if self._until is not None and next < self._until:
            return True
        return not why_over(self.settings, next, self.labels_used + self.settings.batch)

    def _draw(self, round: int) -> Pictures:
        """A round's pictures: those already made, and the minibatches still missing."""
        pictures = Pictures(self.folder, self.journal, self.learner, self.limits, self.tell)
        missing = pictures.missing(round)
        if begins := bool(missing) or self._phase(round) in ("sampling", "done"):
            self._enter("sampling", round)
        pictures.mend(announce=begins)
        meter = Meter(self.tell, self.check_stop, round, "sampling", "sample")
        for turn in pictures.turns(missing):
            with self._timed("sample"):
                pictures.make(turn, meter)
        return pictures

    def ask(self) -> tuple[Labels, list[str]]:
        """The round's labels, and what was unusual about them."""
        submitted = self.journal.submitted(self.round)
        self._show_same_noise()
        if not submitted:
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
        metrics = self._origin() | diversity_metric(batch)
        metrics |= agreement_metric("reward_auc_before", learner.foreseen(batch), labels)
        learner.remember(batch, labels)
        before = learner.as_it_is() if self._draws_ahead() else None

        # 1. The embedding learns what sets good apart from bad.
        contrast = learner.contrast(batch, labels)
        if contrast is not None:
            with self._timed("embed"):
                metrics |= learner.train_embedding(
                    contrast, round, self._meter("training", "embed")
                )

        # 2. Every picture's reward.
        rewards = learner.rewards(batch, labels)
        metrics |= agreement_metric("reward_auc", rewards, labels)

        # 3. The LoRA weights.
        experience = learner.experience(batch, labels, rewards, round)
        why_not = learner.update.signal(experience) if labels.labelled else "nothing is labelled"
        if not why_not:
            with self._timed("update"):
                metrics |= self._improve(experience)
                metrics |= self._improve_unlabelled(batch, labels)

        # 4. The noises of the next round.
        learner.prior = learner.prior.updated(batch, labels)
        learner.source = before

        contrasted = contrast is not None or learner.network_features is not None
        notes = [*notes, *self._notes(labels, metrics, contrasted=contrasted, why_not=why_not)]
        self._finish(self._report(labels, rewards, metrics, notes, updated=not why_not))

    def _origin(self) -> dict[str, float]:
        """Where the round's pictures come from: guided noises; rounds that were not learned yet."""
        source = self.learner.source
        guided = {"guided": float((source or self.learner).prior.guided)}
        return guided | (
            {"behind": float(source is not None)} if self.settings.sample_ahead else {}
        )

    def _improve(self, experience: Experience) -> dict[str, float]:
        meter = self._meter("training", "update")
        at_once = pictures_at_once(self.learner.update, experience, self.limits)
        return self.limits.halving(
            "update",
            at_once,
            lambda rows: self.learner.improve(experience, meter, rows),
            self.learner.spare_memory,
        )

    def _improve_unlabelled(self, batch: Batch, labels: Labels) -> dict[str, float]:
        """Further updates, on pictures that only the representation judges: see unlabelled.py."""
        wanted, metrics = self.settings.self_training, dict[str, float]()
        chance = self.learner.chance_of_good(batch, labels) if wanted.rounds else None
        if chance is None:
            return metrics
        for turn in range(1, wanted.rounds + 1):
            experience = self._unlabelled(chance, turn)
            metrics["unlabelled_chance"] = mean_chance(experience)
            if not self.learner.update.signal(experience):
                self._improve(experience)
        return metrics

    def _unlabelled(self, chance: ChanceOfGood, turn: int) -> Experience:
        meter, whole = self._meter("training", "unlabelled"), self.settings.self_training.images

        def on_share(done: float) -> None:
            meter.at(done * whole, whole)

        return self.limits.halving(
            "sample",
            self.settings.microbatch,
            lambda at_once: unlabelled_experience(
                self.learner, chance, self.round, turn, at_once, on_share
            ),
        )

    def _show_same_noise(self) -> None:
        """Pictures that show what training changed; made while a person has others to label."""
        self.limits.halving(
            "sample",
            self.settings.microbatch,
            lambda at_once: make_same_noise_pictures(
                self.folder, self.learner, self.round, at_once, self.check_stop
            ),
        )

    def _pictures(self) -> dict[int, Path]:
        images = self.journal.images(self.round)
        return {index: self.folder.path / path for index, path in images.items()}

    def _notes(
        self, labels: Labels, metrics: dict[str, float], *, contrasted: bool, why_not: str
    ) -> Iterator[str]:
        """What was unusual about the round, in words."""
        stand_ins = int(metrics.get("stand_ins", 0))
        if missing := len(labels.unlabelled) - stand_ins:
            yield f"{missing} without a label are left out"
        if labels.labelled and not labels.goods:
            yield "no good one" + ("; best stays" if self.learner.best_C_H_W is not None else "")
        if stand_ins:
            yield f"none called bad: {stand_ins} without a label stand in"
        elif labels.goods and bool(self.learner.memory.good_N.all()):
            yield "no bad one yet to tell good ones from"
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
            unlabelled=len(labels.unlabelled),
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
        state = {"seed": self.settings.seed, "finished": asdict(report)}
        self.folder.save_checkpoint(self.round + 1, self.learner.parts(), state)
        self._settle(report)

    def _settle(self, report: RoundFinished) -> None:
        """What follows from a checkpoint; done again if a crash came in between."""
        round = report.round
        if parts := self.folder.load_parts(round, self._notice):
            batch = Batch.cat(Batch.from_tensors(part) for part in parts.values())
            whole = len(batch) == self.settings.batch
            self.folder.condense(
                round, replace(batch, trajectory=None).tensors() if whole else None
            )
        self.journal.finish_round(round, asdict(report))
        self.round, self.labels_used = round + 1, report.labels_total
        self.tell(report)

    def _load_checkpoint(self) -> int:
        """Begin at the newest checkpoint that is whole; returns the round the run had reached."""
        rounds = self.journal.rounds()
        found = self.folder.load_checkpoint(self._notice)
        if found is None:
            self.learner.begin_with(self.folder.first_lora())
        else:
            parts, state = found
            self.learner.restore(parts)
            report = RoundFinished(**state["finished"])
            self.round, self.labels_used = report.round + 1, report.labels_total
            if lost := sorted({*range(self.round)} - rounds.keys()):
                raise Damaged(
                    f"{self.folder.journal_path} knows nothing of {round_name(lost[0])}, which was "
                    "learned from: put the run's own journal back"
                )
            if rounds[report.round].phase != "done":
                self._settle(report)
        return self._reached()

    def _reached(self) -> int:
        """The round that was never learned from; those before it may have to be learned again."""
        reached = len(self.journal.metrics())
        if self.round < reached:
            self._notice(
                f"no whole checkpoint is newer than the start of {round_name(self.round)}: "
                f"learning again from the labels of {rounds_name(range(self.round, reached))}"
            )
        return max(self.round, reached)

    def _notice(self, message: str) -> None:
        self.tell(Notice(message))

    def _phase(self, round: int) -> str:
        """A round's phase; "sampling" for one that has not begun."""
        row = self.journal.rounds().get(round)
        return "sampling" if row is None else row.phase

    def _enter(self, phase: str, round: int | None = None) -> None:
        round = self.round if round is None else round
        self.check_stop()
        self.journal.add_round(round)
        self.journal.set_phase(round, phase)
        self.tell(PhaseStarted(round, phase))

    def _meter(self, phase: str, step: str) -> Meter:
        return Meter(self.tell, self.check_stop, self.round, phase, step)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds[step] += time.monotonic() - begun
