"""Imported pictures: encoded as the pipeline decodes, learned from once, also after a resume."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import PLUS, left_behind, played, tiny_settings

from hero_engine.config.settings import RewardSettings
from hero_engine.config.update_settings import ForwardSettings
from hero_engine.core.errors import HeroError
from hero_engine.labelling.picture_list import ListedPicture
from hero_engine.models.encode_pictures import encode_pictures
from hero_engine.models.pipeline import Model
from hero_engine.storage.branch_run import branch
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.import_pictures import import_pictures
from hero_tui.commands.import_labelled import unseen

BAD_ROUND, NEXT = "bbbbbb", "*bgbbb"


def pictures(folder: Path, count: int = 4) -> list[ListedPicture]:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(3)
    found = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
        found.append(ListedPicture(path, good=number % 2 == 0))
    return found


def test_latents_are_the_posteriors_mean_in_the_pipelines_scale(model: Model) -> None:
    height, width = model.picture_size
    pixels = np.random.default_rng(1).integers(0, 256, (3, height, width, 3), np.uint8)
    latents = encode_pictures(model, pixels)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        mean = model.vae.encode(x).latent_dist.mean
    assert torch.allclose(latents, mean * model.vae.config.scaling_factor, atol=1e-5)
    model.vae.config.scaling_factor *= 2
    try:
        shifted = encode_pictures(model, pixels)
        assert torch.allclose(shifted, 2 * latents, atol=1e-5)
    finally:
        model.vae.config.scaling_factor /= 2


def test_a_run_learns_from_imported_pictures_and_a_resume_repeats_it(
    make_run: Callable[..., RunDir], tmp_path: Path
) -> None:
    """Its own labels of round 1 are all bad: only the imported good ones give a direction."""
    some, without = pictures(tmp_path / "some"), make_run("without", update="forward")
    assert not played(without, BAD_ROUND)[0][0].updated
    whole, broken = (make_run(name, update="forward", labels=30) for name in ("whole", "broken"))
    for folder in (whole, broken):
        counts = import_pictures(folder, some, device="cpu")
        assert (counts["good"], counts["bad"]) == (2, 2)
    reports, state = played(whole, BAD_ROUND, NEXT)
    assert reports[0].updated and (reports[0].labels, reports[0].labels_total) == (6, 6)
    assert len(state.memory) == 16 and int(state.memory.good_N.sum()) == 4
    assert not state.bests or 0 in state.bests
    for lines in ((BAD_ROUND,), (BAD_ROUND, NEXT)):
        played(RunDir.open(broken.path), *lines)
    assert left_behind(broken) == left_behind(whole)
    again = branch(whole, 1, tmp_path / "branched")
    assert left_behind(again).keys() >= {"imported/r000-000/latents.safetensors"}
    played(again, BAD_ROUND, NEXT)
    assert (
        left_behind(again)["checkpoints/r002/lora.safetensors"]
        == (left_behind(whole)["checkpoints/r002/lora.safetensors"])
    )


def test_pictures_of_a_run_with_many_prompts_say_which(
    make_run: Callable[..., RunDir], tmp_path: Path
) -> None:
    some = pictures(tmp_path / "some", 1)
    folder = make_run(update="forward", prompts=("a", "a hand"))
    named = [replace(some[0], prompt="a dog")]
    with pytest.raises(HeroError, match="prompt 'a dog' of"):
        import_pictures(folder, named, device="cpu")
    with pytest.raises(HeroError, match="one of the run's 2 prompts"):
        import_pictures(folder, some, device="cpu")
    with pytest.raises(HeroError, match="the run has no prompt 'a cup'"):
        import_pictures(folder, some, prompt="a cup", device="cpu")
    import_pictures(folder, some, prompt="a hand", device="cpu")
    _, state = played(folder, BAD_ROUND)
    assert state.memory.group_ids.tolist()[-1] == 1 and bool(state.memory.good_N[-1])


def test_without_a_history_they_teach_the_round_that_they_join(
    make_run: Callable[..., RunDir], tmp_path: Path
) -> None:
    latest = ForwardSettings(steps=2, history="round")
    folder = make_run(update="forward", forward=latest)
    import_pictures(folder, pictures(tmp_path / "some"), device="cpu")
    reports, state = played(folder, BAD_ROUND, BAD_ROUND)
    assert [each.updated for each in reports] == [True, False] and len(state.memory) == 16


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"update": "forward"}, ""),
        ({"update": "sft"}, ""),
        ({"update": "d3po"}, "denoising steps"),
        ({"update": "ddpo", **PLUS}, ""),
        ({"update": "ddpo"}, ""),
        ({"update": "ddpo", "reward": RewardSettings(kind="labels")}, "the label itself"),
    ],
)
def test_a_run_that_would_not_learn_from_them_is_named(
    square_folder: Path, changes: dict[str, Any], said: str
) -> None:
    found = unseen(tiny_settings(square_folder, **changes))
    assert said in found and bool(found) == bool(said)


def test_the_reward_model_of_the_policy_gradient_sees_them(
    make_run: Callable[..., RunDir], tmp_path: Path
) -> None:
    """All its own labels of round 1 are good: only imported bad ones make rewards differ."""
    bad = [replace(each, good=False) for each in pictures(tmp_path / "some")]
    without, run = (make_run(name, update="ddpo", **PLUS) for name in ("without", "with"))
    import_pictures(run, bad, device="cpu")
    alone, told = (played(each, "*ggggg")[1] for each in (without, run))
    assert len(told.memory) == len(alone.memory) + 4
    assert any(not torch.equal(told.lora[name], alone.lora[name]) for name in told.lora)
