"""A round's pictures on their way to the disk, and back from it after a stop, a crash or damage.

They come in parts, one for each minibatch. A part is first its pictures, then its tensors, then a
line in the journal; only then is it told of, and can be labelled. What is missing or damaged is
made again: every draw has a generator of its own, so the same pictures come out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hero_engine.core.batch import Batch
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.events import ImagesReady, Notice
from hero_engine.core.numbering import round_name
from hero_engine.distributed.sharding import Pixels, Wanted, sample_together
from hero_engine.policy.sampler import pick_training_steps
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.oom_backoff import Limits
from hero_engine.training.progress_reports import Deliver, Meter
from hero_engine.training.state import Learner

OTHER = 0.1
"""Mean distance of latents (whose spread is about 1) from which on pictures are others."""


class Pictures:
    """The pictures of one round: `missing`, then `make` for each of those, then `batch`."""

    def __init__(
        self, folder: RunDir, journal: Journal, learner: Learner, limits: Limits, tell: Deliver
    ) -> None:
        self.folder, self.journal, self.learner = folder, journal, learner
        self.settings, self.limits, self.tell = folder.settings, limits, tell
        self.round, self.parts = 0, dict[int, Batch]()
        self.kept: Batch | None = None
        self.handed_in = False

    def missing(self, round: int) -> list[range]:
        """Take up a round: the minibatches that have to be made, as ranges of pictures.

        None where an update that needs no denoising steps learns again from a round.
        """
        self.round, self.handed_in = round, self.journal.submitted(round)
        kept = self.folder.condensed(round)
        self.kept = None if kept is None else Batch.from_tensors(kept)
        if self.kept is not None and not self.learner.update.steps_per_image:
            self.parts = {}
            return []
        found = self.folder.load_parts(round, lambda message: self.tell(Notice(message)))
        ranges = self._ranges()
        self.parts = {
            each.start: Batch.from_tensors(found[each.start])
            for each in ranges
            if each.start in found
        }
        return [each for each in ranges if each.start not in self.parts]

    def mend(self, *, announce: bool) -> None:
        """Make pictures again that are damaged or gone; tell of those, or of all that are there."""
        latents = {first: part.latents_B_C_H_W for first, part in self.parts.items()}
        if self.kept is not None and not latents:
            whole = self.kept.latents_B_C_H_W
            latents = {each.start: whole[each.start : each.stop] for each in self._ranges()}
        for first, part in latents.items():
            if self._mended(first, part) or announce:
                self._announce(range(first, first + len(part)))

    def turns(self, missing: list[range]) -> list[list[range]]:
        """The minibatches to make at the same time: as many as there are processes."""
        count = self.learner.ranks.count
        return [missing[first : first + count] for first in range(0, len(missing), count)]

    def make(self, turn: list[range], meter: Meter) -> None:
        """Sample the minibatches of a turn and put them on the disk."""
        batch, pictures = self.limits.halving(
            "sample",
            self.settings.microbatch,
            lambda at_once: self._sampled(turn, at_once, meter),
        )
        done = 0
        for rows in turn:
            here = slice(done, done + len(rows))
            self._keep(rows, batch.some(here), pictures[here])
            done += len(rows)

    def _keep(self, rows: range, part: Batch, pictures: Pixels) -> None:
        for image, pixels in zip(rows, pictures, strict=True):
            if not (self.handed_in and self.folder.has_picture(self.round, image)):
                self.folder.save_picture(self.round, image, pixels)
        self.folder.save_part(self.round, rows.start, part.tensors())
        self.parts[rows.start] = part
        self._announce(rows)

    def batch(self) -> Batch:
        """All of the round. HeroError, exit code 3, where it is not what was labelled."""
        if self.kept is not None and not self.parts:
            return self.kept
        batch = Batch.cat(self.parts[first] for first in sorted(self.parts))
        if self.kept is not None:
            self._compare(batch, self.kept)
        return batch

    def _ranges(self) -> list[range]:
        count, size = self.settings.batch, self.settings.microbatch
        return [range(first, min(first + size, count)) for first in range(0, count, size)]

    def _sampled(self, turn: list[range], at_once: int, meter: Meter) -> tuple[Batch, Pixels]:
        """The pictures of these minibatches, in pieces that memory holds."""
        images = [image for rows in turn for image in rows]
        every = Wanted(
            self.round,
            tuple(range(self.settings.batch)),
            self._noises(),
            steps_to_keep(self.learner, self.round),
        )
        whole = len(images)
        return sample_together(
            self.learner.ranks,
            self.learner.model,
            self.settings,
            every.some(images),
            at_once,
            lambda share: meter.at(images[0] + share * whole, self.settings.batch),
        )

    def _noises(self) -> Tensor:
        settings = self.settings
        return self.learner.prior.draw(
            settings.batch,
            self.learner.model.latent_shape,
            settings.noise,
            settings.seed,
            self.round,
        )

    def _mended(self, first: int, latents: Tensor) -> bool:
        """Whether anything had to be made again."""
        images = range(first, first + len(latents))
        broken = [image for image in images if not self.folder.has_picture(self.round, image)]
        if not broken:
            return False
        path = self.folder.picture_path(self.round, broken[0])
        self.tell(Notice(f"{path} is damaged or missing: {len(broken)} made again"))
        pictures = self.limits.halving(
            "sample", len(latents), lambda at_once: self._decoded(latents, at_once)
        )
        for image in broken:
            self.folder.save_picture(self.round, image, pictures[image - first])
        return True

    def _decoded(self, latents: Tensor, at_once: int) -> Pixels:
        pieces = torch.split(latents, at_once)
        return np.concatenate([self.learner.model.decode(each) for each in pieces])

    def _announce(self, images: range) -> None:
        paths = {image: self.folder.picture_path(self.round, image) for image in images}
        known = {image: self.folder.relative(path) for image, path in paths.items()}
        self.journal.add_images(self.round, known)
        self.tell(ImagesReady(self.round, tuple(paths), tuple(map(str, paths.values()))))

    def _compare(self, batch: Batch, kept: Batch) -> None:
        """The labels were given to the kept ones; another machine may round differently."""
        gap = (batch.latents_B_C_H_W - kept.latents_B_C_H_W).abs()
        if float(gap.mean()) > OTHER:
            raise HeroError(
                f"the pictures of {round_name(self.round)} come out as others than those that were "
                "labelled: the model, or what it learned from, is not the same any more",
                exit_code=ExitCode.ENVIRONMENT,
            )
        if float(gap.max()) > 0:
            self.tell(
                Notice(
                    f"the pictures of {round_name(self.round)} come out differently here, by up to "
                    f"{float(gap.max()):.1g}: the run goes on, but not bit for bit"
                )
            )


def steps_to_keep(learner: Learner, round: int) -> Tensor | None:
    """Which denoising steps of each picture will be trained, (B, S); None where none are."""
    settings, update = learner.settings, learner.update
    if not update.steps_per_image:
        return None
    return pick_training_steps(
        learner.model,
        settings.sampler,
        update.steps_per_image,
        settings.batch,
        settings.seed,
        round,
        update.window,
    )
