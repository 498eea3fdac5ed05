"""A run that starts from someone's LoRA."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import LINES, latents, left_behind, new_run, played, tiny_settings

from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import Damaged
from hero_engine.models.export import export_lora
from hero_engine.models.initial_lora import FirstLora
from hero_engine.storage.run_folder import RunDir


@pytest.fixture
def first(square_folder: Path, tmp_path: Path) -> FirstLora:
    """What another run learned, at rank 2 with alpha 3."""
    other = new_run(tmp_path / "other", tiny_settings(square_folder, update="forward"))
    played(other, LINES[0])
    export_lora(other, tmp_path / "other.safetensors", "kohya")
    lora = LoraSettings(init=str(tmp_path / "other.safetensors"))
    return FirstLora.of(tiny_settings(square_folder, update="forward", lora=lora))


def started(first: FirstLora, path: Path) -> RunDir:
    run = new_run(path, first.settings)
    first.save(run)
    return run


def test_the_settings_are_the_files(first: FirstLora, tmp_path: Path) -> None:
    lora = first.settings.lora
    assert (lora.rank, lora.alpha) == (2, 2)
    assert set(lora.targets) == {"to_q", "conv1", "conv2"}
    assert first.sentence() == f"starting from {lora.init}: rank 2, {', '.join(lora.targets)}"


def test_its_first_pictures_are_those_of_that_lora(first: FirstLora, tmp_path: Path) -> None:
    """From the same noises, other pictures than fresh weights make."""
    fresh = replace(first.settings, lora=replace(first.settings.lora, init=""))
    tuned, plain = started(first, tmp_path / "run"), new_run(tmp_path / "plain", fresh)
    (tmp_path / "other.safetensors").unlink()  # the run has a copy
    for run in (tuned, plain):
        played(run, LINES[0])
    one, other = latents(tuned, 0), latents(plain, 0)
    assert torch.equal(one["noises_B_C_H_W"], other["noises_B_C_H_W"])
    gap = (one["latents_B_C_H_W"] - other["latents_B_C_H_W"]).abs().max()
    assert float(gap) > 1e-6


def test_it_resumes_as_any_run(first: FirstLora, tmp_path: Path) -> None:
    straight, stopped = (started(first, tmp_path / name) for name in ("straight", "stopped"))
    played(straight, *LINES)
    for line in (LINES[:1], LINES):
        played(stopped, *line)
    assert left_behind(stopped) == left_behind(straight)


def test_a_lost_copy_is_named(first: FirstLora, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", first.settings)
    with pytest.raises(Damaged, match=r"first-lora\.safetensors is damaged"):
        played(run, LINES[0])
