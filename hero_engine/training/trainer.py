"""What the steps of the loop compute with: model, update, reward model, processes.

It holds nothing that a round learns: every method loads what it needs from a `State` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Self

import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.core.batch import Batch, some_groups
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.core.numbering import round_name
from hero_engine.core.padding import padded
from hero_engine.distributed.collectives import SINGLE, Processes
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.float32_pass import HALF
from hero_engine.models.grouped_conditioning import GroupedConditioning, Pixels
from hero_engine.models.model_record import check_model
from hero_engine.models.open_model import model_for
from hero_engine.models.pipeline import Model
from hero_engine.models.row_by_row import train_row_by_row
from hero_engine.policy.noise_prior import GroupPriors, shared_noises
from hero_engine.policy.sampler import OnImages, SampleRequest, pick_training_steps, rows_of_image
from hero_engine.reward.embedding import OnEpoch, Triplets
from hero_engine.reward.reward_model import RewardModel
from hero_engine.storage.run_folder import Parts, RunDir
from hero_engine.training.sharded_sampling import Sampler, sample_sharded
from hero_engine.training.state import State
from hero_engine.updates import OnProgress, PolicyOptimizer, RoundSize, UpdateTask, make_update


class Trainer:
    """The model with its LoRA, the update with its optimizer, and the reward model."""

    def __init__(self, settings: Settings, model: Model, processes: Processes = SINGLE) -> None:
        self.settings, self.model, self.processes = settings, model, processes
        self._row_by_row = False
        self.update = make_update(settings, model)
        self.optimizer = PolicyOptimizer(self.update, settings.plan.kinds, processes)
        self.drawn = GroupedConditioning.of_sampler(settings.plan.kinds, settings.sampler)
        self.latent_shape = self.drawn.latent_shape(model)
        self.reward_model = RewardModel(settings, model)
        self._initial = State(
            round=0,
            labels_used=0,
            lora=model.lora_state(),
            optimizer={},
            embedding=self.reward_model.weights(),
            memory=LabelledLatents.none(self.latent_shape),
        )

    @classmethod
    def open(cls, settings: Settings, device: str = "auto", processes: Processes = SINGLE) -> Self:
        """Open the model. HeroError, exit code 3, where that fails."""
        return cls(settings, model_for(settings, device), processes)

    def initial_state(self, lora: Mapping[str, Tensor] | None = None) -> State:
        """The state that round 0 starts from.

        lora: weights to start from. HeroError, exit code 4, where they do not fit.
        """
        if lora is None:
            return self._initial
        try:
            self.model.load_lora_state(lora)
        except ValueError as error:
            raise HeroError(f"the run's first LoRA: {error}", exit_code=ExitCode.RUN) from error
        return replace(self._initial, lora=self.model.lora_state())

    @property
    def base_lora(self) -> dict[str, Tensor]:
        """LoRA weights that leave the base model as it is."""
        return {name: torch.zeros_like(each) for name, each in self._initial.lora.items()}

    def restored(self, parts: Parts, round: int, labels_used: int) -> State:
        """The state of a checkpoint. HeroError, exit code 4, where it does not fit the run."""
        try:
            state = State.from_parts(parts, round, labels_used)
            self.load(state)
            self.reward_model.load(state.embedding)
        except (KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise HeroError(
                f"the checkpoint does not fit the run: {reason}", exit_code=ExitCode.RUN
            ) from error
        return state

    def load(self, state: State) -> None:
        """Put a state's LoRA weights into the model, and its optimizer's state into ours."""
        self.model.load_lora_state(state.lora)
        self.optimizer.load_state_dict(state.optimizer)

    def sample(
        self,
        lora: Mapping[str, Tensor],
        request: SampleRequest,
        microbatch: int,
        on_images: OnImages = lambda done: None,
        *,
        decode: bool = True,
    ) -> tuple[Batch, Pixels]:
        """Sample images with these LoRA weights; all processes share the work.

        Returns the batch on every rank, and the pixels on rank 0. decode: whether anybody will see
        the images; otherwise they have no pixels.
        """
        self.model.load_lora_state(lora)
        sampler = Sampler(self.model, self.drawn, self.settings)
        return sample_sharded(
            self.processes, sampler, request, microbatch, on_images, decode=decode
        )

    def round_request(self, round: int, priors: GroupPriors) -> SampleRequest:
        """What to sample in a round: noises of these priors, and the steps to keep."""
        settings, images = self.settings, range(self.settings.batch)
        own = settings.plan.groups(round, settings.batch)
        noises = priors.draw(own, self.shapes, settings.noise, settings.seed, round)
        shapes = [self.shapes[group] for group in own]
        noises = shared_noises(noises, self.update.images_per_noise, shapes)
        kept, groups = self.kept_steps(round, images), self.groups(round, settings.batch)
        return SampleRequest(settings.seed, round, images, noises, kept, groups=groups)

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The shape of each group's latents."""
        return [each.latent_shape for each in self.drawn.every_model(self.model)]

    def fresh_noises(self, randoms: Sequence[torch.Generator], group_B: Tensor | None) -> Tensor:
        """N(0, I) of images of these groups, each from its own generator, padded."""
        groups = [0] * len(randoms) if group_B is None else group_B.tolist()
        shapes = self.shapes
        return torch.stack(
            [
                padded(torch.randn(shapes[group], generator=random), self.latent_shape)
                for group, random in zip(groups, randoms, strict=True)
            ]
        )

    @property
    def round_size(self) -> RoundSize:
        """What the network's calls in a round's update follow from."""
        settings, model = self.settings, self.model
        sampled = Conditioning.of_sampler(settings.prompt, settings.sampler)
        return RoundSize(
            images=settings.batch,
            steps=rows_of_image(model, settings.sampler, self.update.kept_steps),
            rows=2 if model.arguments.guided(sampled) else 1,
            lower=model.dtype in HALF,
        )

    def groups(self, round: int, images: int) -> Tensor | None:
        """The number of each image's prompt in a round; None: all images have the first one."""
        return some_groups(torch.tensor(self.settings.plan.groups(round, images)))

    def kept_steps(self, round: int, images: range) -> Tensor | None:
        """Which denoising steps of these images the update trains, (B, S); None for none."""
        settings, kept = self.settings, self.update.kept_steps
        if not kept.per_image:
            return None
        return pick_training_steps(self.model, settings.sampler, kept, images, settings.seed, round)

    def fit_embedding(
        self, state: State, triplets: Sequence[Triplets], round: int, on_epoch: OnEpoch
    ) -> tuple[State, dict[str, float]]:
        """Train the embedding; returns the new state, and the losses.

        HeroError, exit code 1, where training diverges.
        """
        embedding, losses = self.reward_model.fit(state.embedding, triplets, round, on_epoch)
        _check_finite(embedding.values(), losses, round, "embedding")
        return replace(state, embedding=embedding), losses

    def improve(
        self,
        state: State,
        task: UpdateTask,
        microbatch: int | None = None,
        on_progress: OnProgress = lambda done, total: None,
    ) -> tuple[State, dict[str, float]]:
        """Update the LoRA weights, `microbatch` rows a forward pass; returns the new state.

        HeroError, exit code 1, where training diverges. An error leaves the state as it was.
        """
        self.load(state)
        with self.processes.in_step():
            rows = self.processes.all_reduce_min(microbatch or self.update.microbatch)
            metrics = self.optimizer.step(task, rows, on_progress)
        lora, optimizer = self.model.lora_state(), self.optimizer.state_dict()
        learned = [*lora.values(), *optimizer.values()]
        _check_finite(learned, metrics, task.update_id.round, self.settings.update)
        return replace(state, lora=lora, optimizer=optimizer), metrics

    def save_memory(self) -> str:
        """Make a row need less memory; returns what was done, or nothing where no more can be."""
        network, wanted = self.model.network, self.settings.gradient_checkpointing
        if wanted == "auto" and not network.is_gradient_checkpointing:
            network.enable_gradient_checkpointing()
            return "gradient checkpointing is on"
        if wanted != "off" and not self._row_by_row:
            self._row_by_row = True
            train_row_by_row(network)
            return "the network computes one row at a time"
        return ""


def trained(folder: RunDir, device: str = "auto") -> tuple[Trainer, State]:
    """The newest checkpoint of a run, loaded. HeroError, exit code 4, where there is none."""
    found = folder.load_checkpoint()
    if found is None:
        raise HeroError(f"{folder.path} has not finished a round yet", exit_code=ExitCode.RUN)
    parts, counters = found
    trainer, finished = Trainer.open(folder.settings, device), counters["finished"]
    check_model(folder, trainer.model.fingerprints)
    return trainer, trainer.restored(parts, finished["round"] + 1, finished["labels_total"])


def _check_finite(
    learned: Iterable[Tensor], metrics: Mapping[str, float], round: int, part: str
) -> None:
    """HeroError, exit code 1, where a weight or a loss is NaN or infinite."""
    losses = [value for name, value in metrics.items() if "loss" in name]
    if all(bool(each.isfinite().all()) for each in learned) and all(map(isfinite, losses)):
        return
    raise HeroError(
        f"training diverged in {round_name(round)} (NaN); the run stays at its last checkpoint. "
        f"Run hero resume; if it happens again, start a run with a lower {part}.learning_rate",
        exit_code=ExitCode.FAILED,
    )
