"""Writing so that a kill, at any moment, leaves the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hero_engine.errors import ExitCode, HeroError

if TYPE_CHECKING:
    from torch import Tensor


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file, durably: written beside, flushed to the disk, renamed into place."""
    data = content.encode() if isinstance(content, str) else content
    write_beside(path, lambda file: file.write(data))


def write_beside(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write_atomically` for what writes itself into a file."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Push a folder's entries (renames) to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """A safetensors file, replaced atomically."""
    from safetensors.torch import save

    plain = {name: each.detach().contiguous() for name, each in tensors.items()}
    write_atomically(path, save(plain, metadata={"format": "pt", **(metadata or {})}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """What `write_tensors` wrote. HeroError, exit code 4, for a damaged file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    read: Callable[[bytes], dict[str, Tensor]] = load
    try:
        return read(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise HeroError(f"{path} is damaged: {error}", exit_code=ExitCode.RUN) from error
