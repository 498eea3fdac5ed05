"""The steps of a round that learn, each with progress, time and memory backoff around it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.policy.sampler import SampleRequest
from hero_engine.reward.reward_model import Evidence, PredictProbability
from hero_engine.training.microbatch import first_microbatch
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.training.progress_reports import StepProgress
from hero_engine.training.round_report import Metrics, agreement_metric, diversity_metric
from hero_engine.training.self_training import (
    base_request,
    memory_features,
    pseudo_labelled,
    ranked,
    self_training_request,
)
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer
from hero_engine.updates import Feedback, NoSignal, PseudoLabelled, UpdateId, UpdateTask
from hero_engine.updates.lessons import JointImages


class LearningSteps:
    """Each step takes a state and returns the next one, with the step's metrics."""

    def __init__(self, trainer: Trainer, backoff: OomBackoff, progress: StepProgress) -> None:
        self.trainer, self.backoff, self.progress = trainer, backoff, progress
        self.settings, self.reward_model = trainer.settings, trainer.reward_model
        self._base_batch: Batch | None = None

    def observe(self, state: State, round: LabelledRound) -> Metrics:
        """Metrics of the round's images and of the policy that sampled them, before any learning.

        predicted_reward_auc: how well rewards predicted without this round's labels rank them.
        """
        metrics = {"guided": float(state.sampling_policy.priors.guided)}
        if self.settings.sample_ahead:
            metrics["staleness"] = float(state.staleness)
        evidence = Evidence(state.memory, state.bests)
        predicted = self.reward_model.predicted_rewards(state.embedding, evidence, round.batch)
        agreement = agreement_metric("predicted_reward_auc", predicted, round)
        return metrics | diversity_metric(round.batch.latents_B_C_H_W) | agreement

    def fit_reward_model(
        self, state: State, round: LabelledRound
    ) -> tuple[State, Metrics | NoSignal]:
        """Train the embedding on the labels; it stays where there is nothing to contrast."""
        if not self.reward_model.is_trained:
            return state, {}
        triplets = self.reward_model.triplets(self._evidence(state, round))
        if not triplets:
            return state, NoSignal("nothing to contrast")
        meter = self.progress.meter(round.number, "training", "embed")
        with self.progress.timed("embed"):
            return self.trainer.fit_embedding(state, triplets, round.number, meter)

    def reward(self, state: State, round: LabelledRound) -> tuple[Tensor | None, Metrics]:
        """Every image's reward, (B,); None where there is nothing to compare with."""
        evidence = self._evidence(state, round)
        rewards_B = self.trainer.processes.tensor_from_main(
            self.reward_model.rewards(state.embedding, evidence, round)
        )
        return rewards_B, agreement_metric("reward_auc", rewards_B, round)

    def update(
        self, state: State, round: LabelledRound, rewards_B: Tensor | None
    ) -> tuple[State, Metrics | NoSignal]:
        """Update the LoRA weights on the labels."""
        if not len(round.known):
            return state, NoSignal("nothing is labelled")
        behaviour_lora = None if state.behaviour is None else state.behaviour.lora
        joint = self._joint_images(state, round)
        lesson = self.trainer.update.lesson(
            Feedback(round, state.memory, rewards_B, behaviour_lora, joint)
        )
        if isinstance(lesson, NoSignal):
            return state, lesson
        update_id = UpdateId(self.settings.seed, round.number)
        with self.progress.timed("update"):
            return self._improve(state, UpdateTask(lesson, update_id, round.batch))

    def self_train(self, state: State, round: LabelledRound) -> tuple[State, Metrics]:
        """Further updates, on images of the new policy with pseudo-labels (not in the paper)."""
        wanted, metrics = self.settings.self_training, Metrics()
        if wanted.kind == "joint":
            return self._further_joint_updates(state, round), metrics
        if not wanted.rounds:
            return state, metrics
        predict = self.reward_model.probability(state.embedding, self._evidence(state, round))
        if predict is None:
            return state, metrics
        with self.progress.timed("update"):
            for number in range(1, wanted.rounds + 1):
                update_id = UpdateId(self.settings.seed, round.number, number)
                images = self._pseudo_labelled(state, update_id, predict)
                metrics["pseudo_label_mean"] = float(images.probability_B.mean())
                lesson = self.trainer.update.pseudo_lesson(images)
                if not isinstance(lesson, NoSignal):
                    task = UpdateTask(lesson, update_id, images.batch)
                    state, _ = self._improve(state, task)
        return state, metrics

    def _further_joint_updates(self, state: State, round: LabelledRound) -> State:
        """Joint updates with the same labels, each on images of the policy that it improves."""
        for number in range(1, self.settings.self_training.rounds + 1):
            joint = self._joint_images(state, round, number)
            lesson = self.trainer.update.lesson(Feedback(round, state.memory, joint=joint))
            if isinstance(lesson, NoSignal):
                return state
            update_id = UpdateId(self.settings.seed, round.number, number)
            with self.progress.timed("update"):
                state, _ = self._improve(state, UpdateTask(lesson, update_id, round.batch))
        return state

    def _joint_images(
        self, state: State, round: LabelledRound, number: int = 0
    ) -> JointImages | None:
        """Unlabelled images of the base and of the policy; None if not wanted.

        The policy of round 0 is the base, so its first update has the base's images alone.
        """
        wanted, evidence = self.settings.self_training, self._evidence(state, round)
        if wanted.kind != "joint":
            return None
        with self.progress.timed("update"):
            batches = [self._base_images()]
            if round.number or number:
                update_id = UpdateId(self.settings.seed, round.number, number + 1)
                batches.append(
                    self._sampled(state.lora, self_training_request(self.trainer, update_id))
                )
            images = [ranked(self.trainer, state, evidence, batch) for batch in batches]
            features = memory_features(self.trainer, state.memory)
        return JointImages(features, [each for each in images if each], wanted.novelty)

    def _base_images(self) -> Batch:
        """The base's images, sampled once."""
        if self._base_batch is None:
            request = base_request(self.trainer)
            self._base_batch = self._sampled(self.trainer.base_lora, request)
        return self._base_batch

    def _sampled(self, lora: Mapping[str, Tensor], request: SampleRequest) -> Batch:
        """Images that nobody will see."""
        meter, count = self.progress.meter(request.round, "training", "self_train"), len(request)

        def sample(microbatch: int) -> Batch:
            batch, _ = self.trainer.sample(
                lora, request, microbatch, lambda done: meter.at(done, count), decode=False
            )
            return batch

        return self.backoff.run("sample", self.settings.microbatch, sample)

    def _evidence(self, state: State, round: LabelledRound) -> Evidence:
        return self.reward_model.evidence(round, state.memory, state.bests)

    def _improve(self, state: State, task: UpdateTask) -> tuple[State, Metrics]:
        meter = self.progress.meter(task.update_id.round, "training", "update")
        return self.backoff.run(
            "update",
            self._first_microbatch(task),
            lambda microbatch: self.trainer.improve(state, task, microbatch, meter),
            self.trainer.save_memory,
        )

    def _first_microbatch(self, task: UpdateTask) -> int:
        smallest = self.trainer.processes.all_reduce_min
        return first_microbatch(self.trainer.update, task, self.backoff, smallest)

    def _pseudo_labelled(
        self, state: State, update_id: UpdateId, predict: PredictProbability
    ) -> PseudoLabelled:
        count = self.settings.self_training.images
        meter = self.progress.meter(update_id.round, "training", "self_train")
        return self.backoff.run(
            "sample",
            self.settings.microbatch,
            lambda microbatch: pseudo_labelled(
                self.trainer,
                state,
                update_id,
                predict,
                microbatch,
                lambda done: meter.at(done, count),
            ),
        )
