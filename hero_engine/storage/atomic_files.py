"""Atomic, durable writes: a kill at any moment leaves the old file or the new one.

A file of tensors has the SHA-256 of its tensors, so that one flipped bit is detected on reading.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hero_engine.core.errors import Damaged

if TYPE_CHECKING:
    from torch import Tensor


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file, durably: written beside, flushed to the disk, renamed into place."""
    data = content.encode() if isinstance(content, str) else content
    write_beside(path, lambda file: file.write(data))


def write_beside(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write_atomically` for content that `write` writes into an open file."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    flush_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, durably."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        flush_folder(path.parent)


def write_png(path: Path, pixels_H_W_3: Any) -> None:
    """Write a uint8 image as PNG, atomically; its folder is made if it does not exist."""
    from PIL import Image

    make_folder(path.parent)
    write_beside(path, lambda file: Image.fromarray(pixels_H_W_3).save(file, "PNG"))


def flush_folder(path: Path) -> None:
    """Flush a folder's entries (renames) to the disk, if the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file with the checksum of its tensors, atomically.

    The same tensors make the same bytes, unless there is metadata, whose order is random.
    """
    from safetensors.torch import save

    plain = {name: each.detach().contiguous() for name, each in tensors.items()}
    more = {"format": "pt", **metadata} if metadata else {}
    write_atomically(path, save(plain, metadata={"sha256": _checksum(plain), **more}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote. Damaged if the file is missing or differs from that."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    read: Callable[[bytes], dict[str, Tensor]] = load
    try:
        data = path.read_bytes()
        tensors, checksum = read(data), _metadata(data).get("sha256")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Damaged(f"{path} is damaged: {reason}") from error
    if checksum != _checksum(tensors):
        raise Damaged(f"{path} is damaged: its checksum differs")
    return tensors


def _metadata(data: bytes) -> dict[str, Any]:
    """Metadata of a safetensors file: 8 bytes of header length, then the header in JSON."""
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length])["__metadata__"])


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    import torch

    digest = hashlib.sha256()
    for name, each in sorted(tensors.items()):
        digest.update(f"{name} {each.dtype} {tuple(each.shape)}\n".encode())
        digest.update(each.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
