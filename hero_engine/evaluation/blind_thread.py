"""The engine's thread of a blind comparison: makes the pictures, then waits for the verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hero_engine.core.events import Finished, ImagesReady, PhaseStarted
from hero_engine.evaluation.blind_comparison import Comparison
from hero_engine.runtime.engine_thread import NICE, EngineWorker
from hero_engine.storage.journal import Journal
from hero_engine.training.progress_reports import Deliver, Meter, Reporter


class BlindWorker(EngineWorker):
    """Speaks to the app as the engine of a run with one round does."""

    def __init__(
        self, comparison: Comparison, deliver: Deliver, *, device: str = "auto", nice: int = NICE
    ) -> None:
        super().__init__(comparison.folder, deliver, device=device, nice=nice)
        self._comparison = comparison

    def _rounds(self, journal: Journal, reporter: Reporter) -> Finished:
        self.check_stop()
        reporter.tell(self._folder.opened())
        journal.add_round(0)
        self._enter("sampling", journal, reporter)
        missing = self._missing(journal)
        if missing:
            self._draw(missing, journal, reporter)
        self._enter("labelling", journal, reporter)
        paths = {image: self._folder.path / name for image, name in journal.images(0).items()}
        self._labeller.label(0, paths, journal)
        labels = journal.labels(0, len(self._comparison.owners))
        return Finished(str(self._folder.path), 1, labels.labelled, "rounds")

    def _enter(self, phase: str, journal: Journal, reporter: Reporter) -> None:
        journal.set_phase(0, phase)
        reporter.tell(PhaseStarted(0, phase))

    def _missing(self, journal: Journal) -> list[range]:
        """Blocks of pairs of which a picture is missing."""
        done, pairs = journal.images(0), self._comparison.pairs
        size = self._folder.settings.minibatch
        blocks = [range(first, min(first + size, pairs)) for first in range(0, pairs, size)]
        return [
            block
            for block in blocks
            if not all(
                image in done and self._folder.has_picture(0, image)
                for image in self._places(block)
            )
        ]

    def _places(self, block: range) -> list[int]:
        """Where the pictures of a block of pairs lie."""
        return [i for i, (pair, _) in enumerate(self._comparison.owners) if pair in block]

    def _draw(self, blocks: list[range], journal: Journal, reporter: Reporter) -> None:
        """Make each block's pictures with both models, and tell of them together."""
        from hero_engine.evaluation.evaluate import EVALUATION_SEED, draw, trained
        from hero_engine.policy.noise_prior import FRESH

        learner = trained(self._comparison.run, self._device)
        settings, shape = self._folder.settings, learner.model.latent_shape
        noises = FRESH.draw(self._comparison.pairs, shape, settings.noise, EVALUATION_SEED, 0)
        meter = Meter(reporter.tell, self.check_stop, 0, "sampling", "sample")
        total = len(self._comparison.owners)
        for block in blocks:
            pictures = {
                tuned: draw(
                    learner,
                    settings.prompt,
                    noises[block.start : block.stop],
                    block.start,
                    base=not tuned,
                    on_step=meter.piece(2 * block.start + tuned * len(block), len(block), total),
                )
                for tuned in (False, True)
            }
            self._keep(block, pictures, journal, reporter)

    def _keep(
        self, block: range, pictures: Mapping[bool, Any], journal: Journal, reporter: Reporter
    ) -> None:
        places = self._places(block)
        for image in places:
            pair, tuned = self._comparison.owners[image]
            self._folder.save_picture(0, image, pictures[tuned][pair - block.start])
        paths = {image: self._folder.picture_path(0, image) for image in places}
        journal.add_images(0, {i: self._folder.relative(path) for i, path in paths.items()})
        reporter.tell(ImagesReady(0, tuple(paths), tuple(map(str, paths.values()))))
