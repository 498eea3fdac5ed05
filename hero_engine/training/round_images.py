"""Writes a round's images, and restores them after a stop, a crash or damage.

They come in parts, one for each microbatch. A part is first its PNGs, then its tensors, then a line
in the journal; only then is it announced and can be labelled. What is missing or damaged is sampled
again: every draw has a generator of its own, so the images are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hero_engine.core.batch import Batch
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.events import ImagesReady, Notice
from hero_engine.core.numbering import round_name
from hero_engine.distributed.sharding import slices
from hero_engine.models.grouped_conditioning import Pixels
from hero_engine.policy.noise_origins import mixed_by_prompt
from hero_engine.policy.noise_prior import GroupPriors
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.training.phases import Phases
from hero_engine.training.progress_reports import StepProgress
from hero_engine.training.round_sampler import RoundSampler
from hero_engine.training.trainer import Trainer

DIFFERENT = 0.1
"""Mean distance between latents (whose spread is about 1) above which images differ."""


@dataclass(frozen=True)
class Found:
    """The part of a round that is on the disk.

    parts: microbatches by the index of their first image. missing: those that are not there.
    kept: noises and latents of the whole round, once it was learned from.
    """

    parts: Mapping[int, Batch] = field(default_factory=dict)
    missing: Sequence[range] = ()
    kept: Batch | None = None

    def latents(self, ranges: Sequence[range]) -> dict[int, Tensor]:
        """The final latents there are, by the index of their first image."""
        if self.parts or self.kept is None:
            return {first: part.latents_B_C_H_W for first, part in self.parts.items()}
        whole = self.kept.latents_B_C_H_W
        return {each.start: whole[each.start : each.stop] for each in ranges}


class RoundImages:
    """Makes a round's images; samples those that are not on the disk."""

    def __init__(
        self,
        folder: RunDir,
        journal: Journal,
        trainer: Trainer,
        backoff: OomBackoff,
        progress: StepProgress,
    ) -> None:
        self.folder, self.journal, self.trainer = folder, journal, trainer
        self.settings, self.backoff, self.progress = folder.settings, backoff, progress
        self.phases = Phases(journal, progress)
        self.sampler = RoundSampler(trainer, backoff, progress)
        count, size = self.settings.batch, self.settings.microbatch
        self.ranges = [range(first, min(first + size, count)) for first in range(0, count, size)]

    def sample(self, round: int, policy: PolicySnapshot) -> Batch:
        """The round's images, on the disk and announced; those that are missing are sampled.

        HeroError, exit code 3, if they are not those that were labelled.
        """
        found = self._found(round, policy.priors)
        begins = bool(found.missing) or self.phases.of(round) in ("sampling", "done")
        if begins:
            self.phases.enter(round, "sampling")
        self._restore(round, found, announce=begins)
        sampled = self._sampled(round, policy, found.missing)
        batch = self._whole(round, found, sampled)
        return self.sampler.whole(batch, sum(map(len, sampled.values())))

    def _whole(self, round: int, found: Found, sampled: Mapping[int, Batch]) -> Batch:
        parts = {**found.parts, **sampled}
        if not parts and found.kept is not None:
            return found.kept
        batch = Batch.cat(parts[first] for first in sorted(parts))
        if found.kept is not None:
            self._compare(round, batch, found.kept)
        return batch

    def _found(self, round: int, priors: GroupPriors) -> Found:
        """Nothing is missing of a round that is learned from again without denoising steps.

        Microbatches are missing in the order in which they are to be sampled.
        """
        condensed = self.folder.condensed(round)
        kept = None if condensed is None else Batch.from_tensors(condensed)
        if kept is not None and not self.trainer.update.kept_steps.per_image:
            return Found(kept=kept)
        saved = self.folder.load_parts(round, self._notice)
        parts = {
            each.start: Batch.from_tensors(saved[each.start])
            for each in self.ranges
            if each.start in saved
        }
        return Found(
            parts, [each for each in self._order(round, priors) if each.start not in parts], kept
        )

    def _order(self, round: int, priors: GroupPriors) -> list[range]:
        """Microbatches as they are sampled: those near earlier good pictures between fresh ones.

        The app mixes them on its pages in the same way, so its first page is whole the soonest.
        """
        groups = self.folder.groups(round)
        origins = priors.origins(groups, self.settings.noise)
        firsts = [each.start for each in self.ranges]
        order = mixed_by_prompt([origins[i] for i in firsts], [groups[i] for i in firsts])
        return [self.ranges[index] for index in order]

    def _restore(self, round: int, found: Found, *, announce: bool) -> None:
        """Decode images again that are damaged or gone; announce those, or all that are there."""
        for first, latents in found.latents(self.ranges).items():
            if self._restored(round, first, latents) or announce:
                self._announce(round, range(first, first + len(latents)))

    def _restored(self, round: int, first: int, latents: Tensor) -> bool:
        """Whether anything had to be decoded again."""
        images = range(first, first + len(latents))
        broken = [image for image in images if not self.folder.has_picture(round, image)]
        if not broken:
            return False
        path = self.folder.picture_path(round, broken[0])
        self._notice(f"{path} is damaged or missing: {len(broken)} images were decoded again")
        groups = torch.tensor(self.folder.groups(round)[images.start : images.stop])
        pictures = self.backoff.run(
            "sample", len(latents), lambda microbatch: self._decoded(latents, groups, microbatch)
        )
        for image in broken:
            self._save(round, image, pictures[image - first])
        return True

    def _decoded(self, latents: Tensor, groups: Tensor, microbatch: int) -> Pixels:
        pieces = zip(torch.split(latents, microbatch), torch.split(groups, microbatch), strict=True)
        model, drawn = self.trainer.model, self.trainer.drawn
        return np.concatenate([drawn.decode(model, *piece) for piece in pieces])

    def _save(self, round: int, image: int, pixels: Pixels) -> None:
        group = self.folder.groups(round)[image]
        own = self.trainer.drawn.own(self.trainer.model, pixels, group)
        self.folder.save_picture(round, image, own)

    def _sampled(
        self, round: int, policy: PolicySnapshot, missing: Sequence[range]
    ) -> dict[int, Batch]:
        """Sample the missing microbatches; each group is on the disk before the next begins."""
        parts: dict[int, Batch] = {}
        with self.progress.timed("sample"):
            for group, batch, pixels in self.sampler.sample(round, policy, missing):
                for images, here in slices(group):
                    parts[images.start] = batch.some(here)
                    self._keep(round, images, parts[images.start], pixels[here])
        return parts

    def _keep(self, round: int, rows: range, part: Batch, pictures: Pixels) -> None:
        """Put a microbatch on the disk. Pictures that were labelled stay as they are."""
        submitted = self.journal.submitted(round)
        for image, pixels in zip(rows, pictures, strict=True):
            if not (submitted and self.folder.has_picture(round, image)):
                self._save(round, image, pixels)
        self.folder.save_part(round, rows.start, part.tensors())
        self._announce(round, rows)

    def _announce(self, round: int, images: range) -> None:
        paths = {image: self.folder.picture_path(round, image) for image in images}
        known = {image: self.folder.relative(path) for image, path in paths.items()}
        self.journal.add_images(round, known)
        self.progress.emit(ImagesReady(round, tuple(paths), tuple(map(str, paths.values()))))

    def _compare(self, round: int, batch: Batch, kept: Batch) -> None:
        """The labels were given to the kept ones; another machine may round differently."""
        gap = (batch.latents_B_C_H_W - kept.latents_B_C_H_W).abs()
        if float(gap.mean()) > DIFFERENT:
            raise HeroError(
                f"regenerated images for {round_name(round)} differ from the labelled ones: the "
                "model or its inputs changed",
                exit_code=ExitCode.ENVIRONMENT,
            )
        if float(gap.max()) > 0:
            self._notice(
                f"regenerated images for {round_name(round)} differ from the labelled ones by up "
                f"to {float(gap.max()):.1g}, as another machine rounds differently: the run "
                "continues, but not bit for bit"
            )

    def _notice(self, message: str) -> None:
        self.progress.emit(Notice(message))
