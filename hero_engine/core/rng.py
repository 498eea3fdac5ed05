"""Random draws that do not depend on order, batch size or process.

Every draw of a run comes from a generator of its own, seeded by (run seed, purpose, round, index).
So a resumed run, another microbatch size or another number of processes repeats the same images.
No generator outlives its draw, so a checkpoint needs the seed and the round, no generator states.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch

Purpose = Literal[
    "noise",
    "step",
    "pick",
    "embed",
    "update",
    "renoise",
    "init",
    "probe",
    "label",
    "same",
    "features",
    "base",
]


def seed_number(seed: int, purpose: Purpose, round: int, index: int) -> int:
    """A 63-bit seed; unrelated to that of any neighbouring purpose, round or index."""
    name = f"{seed}/{purpose}/{round}/{index}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1


def generator(seed: int, purpose: Purpose, round: int, index: int) -> torch.Generator:
    """A CPU generator at the start of its stream. CPU on purpose: a GPU draws other numbers."""
    return torch.Generator("cpu").manual_seed(seed_number(seed, purpose, round, index))


def normal_each(
    generators: Sequence[torch.Generator], shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Standard normal draws, one image from each of G generators: (G, *shape)."""
    return torch.stack([torch.randn(tuple(shape), generator=g, dtype=dtype) for g in generators])
