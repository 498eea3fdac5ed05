"""Import labelled pictures into a run: the VAE's latents of each join the next round's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from math import log
from typing import Any

import numpy as np
import torch

from hero_engine.config.prompts import PromptPlan
from hero_engine.core.batch import some_groups
from hero_engine.core.errors import HeroError, short
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.core.padding import padded
from hero_engine.labelling.picture_list import Crop, ListedPicture, cropped
from hero_engine.models.encode_pictures import encode_pictures
from hero_engine.models.grouped_conditioning import GroupedConditioning
from hero_engine.models.model_record import check_model
from hero_engine.models.open_model import model_for
from hero_engine.models.pipeline import Model
from hero_engine.storage.foreign_pictures import opened
from hero_engine.storage.imported_pictures import NewImport, imported_tensors
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir

OnPicture = Callable[[int, int], None]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def import_pictures(
    run: RunDir,
    pictures: Sequence[ListedPicture],
    *,
    prompt: str = "",
    crop: Crop = "center",
    device: str = "auto",
    on_picture: OnPicture = lambda done, total: None,
) -> Counter[str]:
    """Encode the pictures, and keep them for the first round that was not learned from.

    prompt: of pictures without one; by default the run's, if it has one. The caller holds the
    run's lock. Returns how many are good and bad, and how many named a prompt that the run does not
    have. HeroError where a picture or its prompt is wrong (exit code 2) or the model cannot encode
    (3).
    """
    plan = run.settings.plan
    groups = [_group(each, prompt, plan) for each in pictures]
    model = model_for(run.settings, device)
    check_model(run, model.fingerprints)
    with Journal(run.journal_path) as journal:
        round = len(journal.metrics())
    new = NewImport(run.path, round)
    latents, drawn = [], GroupedConditioning.plain(plan.kinds)
    canvas = drawn.latent_shape(model)
    for some in _microbatches(groups, run.settings.microbatch):
        own = drawn.model(model, groups[some[0]])
        pixels = np.stack([_pixels(pictures[place], own, crop) for place in some])
        latents.append(padded(encode_pictures(own, pixels), canvas))
        new.add(pixels)
        on_picture(new.count, len(pictures))
    good = torch.tensor([each.good for each in pictures])
    known = LabelledLatents(torch.cat(latents), good, some_groups(torch.tensor(groups)))
    rows = list(_rows(pictures, [plan.kinds[group].prompt for group in groups]))
    new.finish(known.tensors(), rows)
    others = sum(bool(each.prompt) and each.prompt not in plan.prompts for each in pictures)
    return Counter(good=int(good.sum()), bad=int((~good).sum()), other_prompt=others)


def _microbatches(groups: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """The places of pictures in order, at most `size` of one group a time."""
    for _, places in groupby(range(len(groups)), lambda place: groups[place]):
        own = list(places)
        for first in range(0, len(own), size):
            yield own[first : first + size]


def _pixels(picture: ListedPicture, model: Model, crop: Crop) -> Pixels:
    height, width = model.picture_size
    return np.asarray(cropped(opened(picture.path), height, width, crop))


def imported(run: RunDir, round: int) -> LabelledLatents | None:
    """What joins a round; None for nothing."""
    found = [LabelledLatents(**each) for each in imported_tensors(run.path, round)]
    if not found:
        return None
    known = found[0]
    for each in found[1:]:
        known = known.plus(each)
    return known


def _group(picture: ListedPicture, prompt: str, plan: PromptPlan) -> int:
    """The picture's group: its prompt, in the size whose proportions are nearest to its own.

    HeroError where its prompt is not clear.
    """
    own = plan.prompts[_prompt(picture, prompt, plan.prompts)]
    groups = [group for group, kind in enumerate(plan.kinds) if kind.prompt == own]
    if not plan.sizes:
        return groups[0]
    width, height = opened(picture.path).size

    def stretch(group: int) -> float:
        wide, high = plan.kinds[group].size or (width, height)
        return abs(log((width * high) / (height * wide)))

    return min(groups, key=stretch)


def _prompt(picture: ListedPicture, prompt: str, prompts: Sequence[str]) -> int:
    """The number of the picture's prompt. HeroError where that is not clear."""
    named = picture.prompt if picture.prompt in prompts else prompt
    if named in prompts:
        return prompts.index(named)
    if named:
        raise HeroError(f"the run has no prompt {short(named)}; add it: hero resume --add-prompt")
    if len(prompts) == 1:
        return 0
    has = f"prompt {short(picture.prompt)} of" if picture.prompt else "no prompt is known for"
    raise HeroError(
        f"{has} {picture.path}: give one of the run's {len(prompts)} prompts with --prompt TEXT"
    )


def _rows(pictures: Sequence[ListedPicture], prompts: Sequence[str]) -> Iterator[dict[str, Any]]:
    for picture, prompt in zip(pictures, prompts, strict=True):
        yield {
            "path": str(picture.path),
            "sha256": sha256(picture.path.read_bytes()).hexdigest(),
            "label": "good" if picture.good else "bad",
            "prompt": prompt,
        }
