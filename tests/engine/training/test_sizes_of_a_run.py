"""Several sizes a run: each prompt is drawn in each, and a size is a group of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import figures
from PIL import Image
from refusals import refused
from tiny_pipelines import Folders
from tiny_runs import JOINT, latents, left_behind, played, tiny_settings

from hero_engine.config.prompts import Group, PromptPlan, short_names
from hero_engine.config.settings import LoraSettings, SamplerSettings, Settings
from hero_engine.core.errors import ExitCode
from hero_engine.core.padding import cut
from hero_engine.evaluation.evaluate import evaluation_pictures
from hero_engine.labelling.picture_list import ListedPicture
from hero_engine.models.grouped_conditioning import GroupedConditioning
from hero_engine.models.open_model import model_for
from hero_engine.policy.sampler import KeptSteps, SampleRequest, pick_training_steps, sample_batches
from hero_engine.storage.png import png_size
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.import_pictures import import_pictures, imported
from hero_engine.training.trainer import trained
from hero_engine.updates.denoising_policy import DenoisingPolicy
from hero_tui.commands.inspect_runs import status

SIZES = ("24x16", "16x32")
LINES = ("*bgb*b", "b*bgbg")


def test_groups_are_prompts_by_sizes_and_an_added_prompt_changes_no_number() -> None:
    plan = PromptPlan(("a cup", "a hat"), sizes=((24, 16), (16, 32)))
    assert plan.kinds[:2] == (Group("a cup", (24, 16)), Group("a cup", (16, 32)))
    later = replace(plan, prompts=(*plan.prompts, "a dog"), starts=(0, 0, 3))
    assert later.kinds[:4] == plan.kinds and later.active(2) == plan.active(2) == (0, 1, 2, 3)
    assert later.active(3) == (0, 1, 2, 3, 4, 5) and later.groups(2, 8) == plan.groups(2, 8)
    assert plan.short_names == ("cup 24x16", "cup 16x32", "hat 24x16", "hat 16x32")
    assert replace(plan, prompts=("a cup",)).short_names == ("24x16", "16x32")
    assert PromptPlan(("a cup", "a hat")).short_names == short_names(("a cup", "a hat"))


@pytest.mark.parametrize(
    ("update", "more"),
    [
        ("ddpo", {"prompts": ("a", "a hand"), "prompt_order": "mixed"}),
        ("forward", JOINT),
        ("d3po", {}),
        ("sft", {"fixed_noise_samples": 2}),
    ],
    ids=("ddpo", "joint", "d3po", "sft"),
)
def test_a_run_of_two_sizes_learns_and_a_resume_repeats_it(
    make_run: Callable[..., RunDir], update: str, more: dict[str, Any]
) -> None:
    whole, broken = (make_run(name, update=update, sizes=SIZES, **more) for name in ("w", "b"))
    reports, state = played(whole, *LINES)
    for count in (1, 2):
        played(RunDir.open(broken.path), *LINES[:count])
    assert left_behind(RunDir.open(broken.path)) == left_behind(whole)
    assert figures(broken) == figures(whole)
    assert all(each.updated for each in reports) and len(reports[0].prompts) == len(
        whole.settings.plan
    )
    assert reports[0].metrics.get("first_ratio_error", 0) < 1e-4
    kinds = whole.settings.plan.kinds
    for round in (0, 1):
        kept, groups = latents(whole, round), whole.groups(round)
        for image, group in enumerate(groups):
            width, height = kinds[group].size or (0, 0)
            assert png_size(whole.picture_path(round, image)) == (width, height)
            for tensor in (kept["latents_B_C_H_W"], kept["noises_B_C_H_W"]):
                assert tensor.shape[-2:] == (16, 12) and bool(
                    tensor[image, :, : height // 2, : width // 2].all()
                )
                assert not tensor[image, :, height // 2 :].any()
                assert not tensor[image, :, :, width // 2 :].any()
    assert state.memory.latents_N_C_H_W.shape[-2:] == (16, 12)


@pytest.mark.parametrize("name", ["sd2", "flux"])
def test_a_row_is_computed_as_a_model_of_its_size_computes_it(name: str, folders: Folders) -> None:
    """Sampling, its log-probabilities in training, and any microbatch."""
    sampler = SamplerSettings(steps=3, eta=0.7, guidance=2.0)
    lora = LoraSettings(rank=2, alpha=3, targets=("to_q",))
    sizes = ("32x16", "16x48")
    settings = tiny_settings(folders(name), sampler=sampler, sizes=sizes, batch=5, lora=lora)
    model, kinds = model_for(settings, "cpu"), settings.plan.kinds
    drawn = GroupedConditioning.of_sampler(kinds, sampler)
    canvas, groups = drawn.latent_shape(model), torch.tensor([1, 0, 0, 1, 1])
    noises = torch.randn(5, *canvas, generator=torch.Generator().manual_seed(1))
    kept = pick_training_steps(model, sampler, KeptSteps(2), range(5), 1, 0)
    request = SampleRequest(1, 0, range(5), noises, kept, groups=groups)
    (batch,) = sample_batches(model, kinds, sampler, request, 5)
    pieces = [*sample_batches(model, kinds, sampler, request, 2)]
    apart = torch.cat([each.latents_B_C_H_W for each in pieces])
    assert torch.allclose(apart, batch.latents_B_C_H_W, atol=1e-4)
    pictures = drawn.decode(model, batch.latents_B_C_H_W, groups)
    for group, size in enumerate(((32, 16), (16, 48))):
        one = replace(settings, sizes=(), sampler=replace(sampler, width=size[0], height=size[1]))
        alone = model_for(one, "cpu")
        own = (groups == group).nonzero().flatten()
        part = replace(
            request.rows(own), noises_B_C_H_W=cut(noises[own], alone.latent_shape), groups=None
        )
        (want,) = sample_batches(alone, "a", sampler, part, 5)
        got = cut(batch.latents_B_C_H_W[own], alone.latent_shape)
        assert torch.equal(got, want.latents_B_C_H_W)
        for place, pixels in zip(own.tolist(), alone.decode(got), strict=True):
            assert (drawn.own(model, pictures[place], group) == pixels).all()
    assert batch.trajectory is not None
    with torch.no_grad():
        again = DenoisingPolicy(model, sampler, kinds).log_probs(batch.trajectory, groups)
    assert torch.allclose(again, batch.trajectory.log_probs_B_S, atol=2e-4)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (("24x16", "24x17"), "this model cannot draw 24x17 pixels"),
        (("24x16", "24 x 16"), "size '24 x 16': write WIDTHxHEIGHT"),
        (("24x16", "24x9999"), "each at most 8192"),
        (("24x16", "24x16"), "setting sizes has a size twice"),
    ],
)
def test_a_size_that_cannot_be_is_one_line(
    square_folder: Path, sizes: tuple[str, ...], said: str
) -> None:
    with refused(ExitCode.USAGE, said):
        model_for(tiny_settings(square_folder, sizes=sizes), "cpu")


def test_one_size_in_the_list_is_the_samplers(square_folder: Path) -> None:
    settings = Settings(sizes=("24x16",))
    assert settings.size == (24, 16) and len(settings.plan) == 1
    assert model_for(tiny_settings(square_folder, sizes=("24x16",)), "cpu").picture_size == (16, 24)


def test_an_imported_picture_joins_the_size_that_is_nearest_to_its_own(
    make_run: Callable[..., RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(update="forward", sizes=SIZES)
    pictures = []
    for name, size in (("high", (10, 30)), ("wide", (90, 50)), ("square", (40, 40))):
        Image.new("RGB", size, (200, 10, 90)).save(tmp_path / f"{name}.png")
        pictures.append(ListedPicture(tmp_path / f"{name}.png", good=name != "wide"))
    import_pictures(folder, pictures, device="cpu")
    known = imported(folder, 0)
    assert known is not None and known.group_ids.tolist() == [1, 0, 0]
    assert known.latents_N_C_H_W.shape[-2:] == (16, 12)
    sizes = [png_size(folder.path / f"imported/r000-000/{i:03}.png") for i in range(3)]
    assert sizes == [(16, 32), (24, 16), (24, 16)]
    reports, _ = played(folder, *LINES)
    status(str(folder.path), as_json=False)
    table = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split(maxsplit=3)[3] for line in table] == ["a 24x16", "a 16x32"]
    assert reports[0].note.startswith("3 imported pictures") and all(r.updated for r in reports)
    trainer, state = trained(folder, "cpu")
    trainer.model.load_lora_state(state.lora)
    noises = torch.randn(2, 4, 16, 8, generator=torch.Generator().manual_seed(3))
    drawn = evaluation_pictures(
        trainer, Group("a", (16, 32)), SampleRequest(1, 0, range(2), noises), base=False
    )
    assert [each.shape for each in drawn] == [(2, 32, 16, 3)]
