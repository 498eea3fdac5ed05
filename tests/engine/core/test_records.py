"""Batches: joining, and the flat form that goes to disk."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hero_engine.core.batch import Batch, Trajectory


def a_batch(images: int, steps: int | None, start: float = 0.0) -> Batch:
    latents = torch.arange(images * 12.0).view(images, 3, 2, 2) + start
    if steps is None:
        return Batch(latents, latents + 1)
    path = torch.arange(images * steps * 12.0).view(images, steps, 3, 2, 2) + start
    numbers = torch.arange(images * steps).view(images, steps)
    return Batch(
        latents, latents + 1, Trajectory(numbers, numbers - 9, path, path + 2, numbers / 3)
    )


@pytest.mark.parametrize("steps", [None, 4])
def test_safetensors_roundtrip(tmp_path: Path, steps: int | None) -> None:
    batch = a_batch(2, steps)
    save_file(batch.tensors(), tmp_path / "batch.safetensors")
    again = Batch.from_tensors(load_file(tmp_path / "batch.safetensors"))
    assert (again.trajectory is None) == (steps is None)
    for name, tensor in batch.tensors().items():
        assert torch.equal(again.tensors()[name], tensor), name
        assert again.tensors()[name].dtype == tensor.dtype


def test_cat_keeps_order() -> None:
    joined = Batch.cat([a_batch(2, 3), a_batch(1, 3, start=100)])
    assert len(joined) == 3
    assert joined.noises_B_C_H_W[2, 0, 0, 0] == 100
    assert joined.trajectory is not None
    assert joined.trajectory.latents_B_S_C_H_W.shape == (3, 3, 3, 2, 2)
    assert joined.trajectory.next_latents_B_S_C_H_W[2, 0, 0, 0, 0] == 102


def test_cat_refuses_a_half_kept_trajectory() -> None:
    with pytest.raises(ValueError, match="some did not"):
        Batch.cat([a_batch(1, 3), a_batch(1, None)])
