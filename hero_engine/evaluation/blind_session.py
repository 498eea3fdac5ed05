"""A blind comparison as an engine job: draw the pictures, then wait for the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hero_engine.config.prompts import Group
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.events import Finished, ImagesReady, PhaseStarted
from hero_engine.evaluation.blind_comparison import Comparison
from hero_engine.runtime.engine_thread import Job, JobContext
from hero_engine.training.progress_reports import Meter

if TYPE_CHECKING:
    from torch import Tensor

    from hero_engine.training.trainer import Trainer

    Lora = Mapping[str, Tensor]


def blind_job(comparison: Comparison) -> Job:
    """The job of an engine thread on the comparison's folder."""
    return lambda context: BlindSession(comparison, context).run()


class BlindSession:
    """The pictures and labels of one comparison. To the app it looks like a run of one round."""

    def __init__(self, comparison: Comparison, context: JobContext) -> None:
        self._comparison, self._context = comparison, context
        self._folder, self._journal = context.folder, context.journal
        self._emit = context.reporter.emit

    def run(self) -> Finished:
        """Draw what is missing, wait for the labels, count them. May raise StopRequested."""
        self._context.raise_if_stopped()
        self._emit(self._folder.opened())
        self._journal.add_round(0)
        self._enter("sampling")
        if missing := self._missing_blocks():
            self._draw(missing)
        self._enter("labelling")
        self._context.annotator.label(0, self._pictures(), self._journal)
        labels = self._journal.labels(0, len(self._comparison.owners))
        return Finished(str(self._folder.path), 1, labels.labelled, "rounds")

    @property
    def _kind(self) -> Group:
        """What the pictures are drawn from: of several sizes or input pictures, the first."""
        (kind,) = self._folder.settings.plan.kinds
        first = self._comparison.run.settings.plan.kinds[0]
        return replace(first, prompt=kind.prompt)

    def _enter(self, phase: str) -> None:
        self._journal.set_phase(0, phase)
        self._emit(PhaseStarted(0, phase))

    def _pictures(self) -> dict[int, Any]:
        return {i: self._folder.path / name for i, name in self._journal.images(0).items()}

    def _missing_blocks(self) -> list[range]:
        """Blocks of pairs with a missing picture."""
        pairs, size = self._comparison.pairs, self._folder.settings.microbatch
        blocks = [range(first, min(first + size, pairs)) for first in range(0, pairs, size)]
        drawn = self._journal.images(0)
        return [
            block
            for block in blocks
            if not all(
                image in drawn and self._folder.has_picture(0, image)
                for image in self._images_of(block)
            )
        ]

    def _images_of(self, block: range) -> list[int]:
        """The pictures of a block of pairs, by their index in the folder."""
        return [i for i, (pair, _) in enumerate(self._comparison.owners) if pair in block]

    def _draw(self, blocks: list[range]) -> None:
        """Draw each block with both models, and report its pictures together."""
        from hero_engine.evaluation.evaluate import EVALUATION_SEED
        from hero_engine.models.grouped_conditioning import GroupedConditioning
        from hero_engine.policy.noise_prior import FRESH
        from hero_engine.training.trainer import trained

        trainer, state = trained(self._comparison.run, self._context.device)
        trainer.model.load_lora_state(state.lora)
        other = self._lora_of_other(trainer)
        noises = FRESH.draw(
            self._comparison.pairs,
            GroupedConditioning.plain([self._kind]).latent_shape(trainer.model),
            self._folder.settings.noise,
            EVALUATION_SEED,
            0,
        )
        meter = Meter(self._emit, self._context.raise_if_stopped, 0, "sampling", "sample")
        for block in blocks:
            self._save(block, self._drawn_by_both(block, trainer, noises, meter, other))

    def _lora_of_other(self, trainer: Trainer) -> Lora | None:
        """The LoRA of the run that this one is compared with; None for the base model.

        HeroError, exit code 4, if it was made for another model or for other layers.
        """
        from hero_engine.models.model_record import check_model

        other = self._comparison.other
        if other is None:
            return None
        check_model(other, trainer.model.fingerprints)
        parts = other.load_checkpoint()
        if parts is None:
            raise HeroError(f"{other.path} has no whole checkpoint", exit_code=ExitCode.RUN)
        lora = parts[0]["lora"]
        try:
            with trainer.model.with_lora(lora):
                return lora
        except ValueError as error:
            raise HeroError(
                f"{self._comparison.run.path} and {other.path} cannot be compared: {error}",
                exit_code=ExitCode.RUN,
            ) from error

    def _drawn_by_both(
        self,
        block: range,
        trainer: Trainer,
        noises_P_C_H_W: Tensor,
        meter: Meter,
        other: Lora | None,
    ) -> Mapping[bool, Any]:
        """The block's pictures by the tuned model (True) and by what it is compared with."""
        import numpy as np

        from hero_engine.evaluation.evaluate import EVALUATION_SEED, evaluation_pictures
        from hero_engine.policy.sampler import SampleRequest

        total = len(self._comparison.owners)
        noises = noises_P_C_H_W[block.start : block.stop]
        request = SampleRequest(EVALUATION_SEED, 0, block, noises)
        drawn: dict[bool, Any] = {}
        for tuned in (False, True):
            before = 2 * block.start + tuned * len(block)

            def on_images(done: float, before: int = before) -> None:
                meter.at(before + done, total)

            base = not tuned and other is None
            with trainer.model.with_lora(None if tuned else other):
                pictures = evaluation_pictures(
                    trainer, self._kind, request, base=base, on_images=on_images
                )
                drawn[tuned] = np.concatenate(list(pictures))
        return drawn

    def _save(self, block: range, drawn: Mapping[bool, Any]) -> None:
        images = self._images_of(block)
        for image in images:
            pair, tuned = self._comparison.owners[image]
            self._folder.save_picture(0, image, drawn[tuned][pair - block.start])
        paths = {image: self._folder.picture_path(0, image) for image in images}
        self._journal.add_images(0, {i: self._folder.relative(path) for i, path in paths.items()})
        self._emit(ImagesReady(0, tuple(paths), tuple(map(str, paths.values()))))
