"""A component's files on the disk: which weights it has, and whether all files are whole.

The libraries say of a damaged file that they cannot load it, not why; and they make an empty
tokenizer of a folder without its vocabulary. Imports no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hero_engine.core.errors import ExitCode, HeroError

WEIGHTS = re.compile(
    r"(?:model|diffusion_pytorch_model)(?P<shard>-\d+-of-\d+)?(?:\.(?P<variant>\w+?))?"
    r"(?P<late_shard>-\d+-of-\d+)?\.safetensors"
)
"""A file of weights, whether it is one of several, and its variant ("fp16"), if it has one."""

PREFERRED = ("fp16", "bf16")
"""Of several variants."""

OTHER_CONTENTS = (
    (b"version https://git-lfs", "is a Git LFS pointer in place of the weights: run git lfs pull"),
    (
        (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "is a pickle, which can run code: convert it to .safetensors",
    ),
    (b"<", "is a web page in place of the weights: download it again"),
)
"""How files begin that are no safetensors file whatever they are called, and what to do. torch.save
writes a ZIP archive, before torch 1.6 a pickle; pickles begin with their protocol's number."""

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""Files that have a tokenizer's words; vocab.json goes with merges.txt."""

LENGTH = 8
"""Bytes that say how long a safetensors file's header is."""

LONGEST_HEADER = 100_000_000


def weights_variant(folder: Path) -> str | None:
    """The variant to load: None for plain files. HeroError, exit code 3, without safetensors."""
    variants = {match["variant"] for _, match in _files(folder)}
    if None in variants:
        return None
    if not variants:
        raise _refused(f"{folder} has no .safetensors weights; hero reads no other kind")
    names = [*PREFERRED, *sorted(variants - {None})]
    return next(str(name) for name in names if name in variants)


def has_weights(folder: Path) -> bool:
    """Whether a component's folder has files of weights."""
    return any(_files(folder))


def refuse_damaged_files(folder: Path, variant: str | None) -> None:
    """HeroError, exit code 3, for a component whose files of this variant are not whole."""
    found = [(path, match) for path, match in _files(folder) if match["variant"] == variant]
    for path, _ in found:
        refuse_damaged(path)
    end = f".safetensors.index.{variant}.json" if variant else ".safetensors.index.json"
    indices = sorted(folder.glob(f"*{end}"))
    for index in indices:
        _refuse_missing(index)
    if not indices and all(match["shard"] or match["late_shard"] for _, match in found):
        names = f"{found[0][0].name} is one of several files"
        raise _refused(f"{folder.name}/{names}, but the list of them is missing (*{end})")


def refuse_damaged_json(folder: Path) -> None:
    """HeroError, exit code 3, for a component with a .json file that cannot be parsed."""
    for path in sorted(folder.glob("*.json")):
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            raise _refused(f"{folder.name}/{path.name} is damaged: download it again") from error


def refuse_missing_vocabulary(folder: Path) -> None:
    """HeroError, exit code 3, for a tokenizer's folder without its words."""
    found = {path.name for pattern in VOCABULARIES for path in folder.glob(pattern)}
    if not found:
        raise _refused(
            f"{folder.name}/ has no vocabulary ({', '.join(VOCABULARIES)}): download it again"
        )
    if found == {"vocab.json"} and not (folder / "merges.txt").is_file():
        raise _refused(f"{folder.name}/ has vocab.json without merges.txt: download it again")


def _refuse_missing(index: Path) -> None:
    """HeroError, exit code 3, unless every file that an index names is there."""
    name = f"{index.parent.name}/{index.name}"
    try:
        listed = {str(each) for each in json.loads(index.read_text("utf-8"))["weight_map"].values()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _refused(f"{name} is damaged: download it again") from error
    missing = sorted(each for each in listed if not (index.parent / each).is_file())
    if missing:
        raise _refused(f"{name} names {missing[0]}, which is missing: download it")


def refuse_damaged(path: Path) -> None:
    """HeroError, exit code 3, for a .safetensors file that is not one, or not whole."""
    if fault := fault_of_file(path):
        raise _refused(f"{path} {fault}")


def fault_of_file(path: Path) -> str:
    """Why a .safetensors file cannot be read, and what to do; empty if it can.

    OSError where the disk does not answer.
    """
    if not path.is_file():
        return "points to a file that is missing: download it again" if path.is_symlink() else ""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH)
        length = int.from_bytes(start, "little")
        head = start + file.read(min(length, LONGEST_HEADER, size))
    for begins, told in OTHER_CONTENTS:
        if head.startswith(begins) and length > size:
            return told
    if not size:
        return "is empty: download it again"
    if length > size - LENGTH:
        return f"is cut short, or no safetensors file ({size} bytes): download it again"
    try:
        end = LENGTH + length + _bytes_of_tensors(json.loads(head[LENGTH:]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "is no safetensors file: its header is damaged"
    return f"is cut short: {size} of {end} bytes; download it again" if size < end else ""


def _bytes_of_tensors(header: dict[str, Any]) -> int:
    ends = [int(each["data_offsets"][1]) for name, each in header.items() if name != "__metadata__"]
    return max(ends, default=0)


def _files(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in sorted(folder.iterdir()):
        if match := WEIGHTS.fullmatch(path.name):
            yield path, match


def _refused(message: str) -> HeroError:
    return HeroError(message, exit_code=ExitCode.ENVIRONMENT)
