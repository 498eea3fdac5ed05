"""The pictures that `hero import` gets, with labels and prompts. Imports no torch.

A folder's pictures are good or bad by its name ("good/", "bad-hands/"). A JSON lines file has a
line each: {"path": "a.png", "label": "good", "prompt": "1 hand"}, or a pair:
{"better": "a.png", "worse": "b.png"}; the prompt may be left out, and paths are relative to the
file. Pictures are PNG, JPEG or WebP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hero_engine.core.errors import HeroError, one_line, short
from hero_engine.core.sanitize import sanitized
from hero_engine.storage.foreign_pictures import opened

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
MOST = 4096
"""Pictures of an import. The latents of all labelled pictures are in every checkpoint."""
LONGEST_METADATA = 1 << 20
"""Characters of a picture's metadata that are looked through for its prompt."""
Crop = Literal["center", "top", "bottom", "left", "right"]
CROPS: Mapping[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
}
"""The share of the surplus that is cut off at the left, and at the top."""


@dataclass(frozen=True)
class ListedPicture:
    """A picture to import. prompt: "" if it is unknown."""

    path: Path
    good: bool
    prompt: str = ""


def listed(sources: Sequence[Path]) -> list[ListedPicture]:
    """The pictures of folders and lists, in order. HeroError where one is wrong, or there is none.

    A prompt that a list does not give is read from the picture's metadata.
    """
    found = [each for source in sources for each in _of(source)]
    if not found:
        raise HeroError(f"no picture is in {', '.join(map(str, sources))}: PNG, JPEG or WebP")
    if len(found) > MOST:
        raise HeroError(f"{len(found)} pictures are too many to import at once: at most {MOST}")
    return [each if each.prompt else replace(each, prompt=own_prompt(each.path)) for each in found]


def _of(source: Path) -> Iterator[ListedPicture]:
    if source.is_dir():
        good = _label_of(source)
        for path in sorted(source.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                yield ListedPicture(path, good)
    elif source.suffix == ".jsonl":
        yield from _lines(source)
    else:
        raise HeroError(f"{source} is neither a folder of pictures nor a .jsonl file")


def _label_of(folder: Path) -> bool:
    words = re.findall("[a-z]+", folder.resolve().name.lower())
    good, bad = "good" in words, "bad" in words
    if good == bad:
        raise HeroError(f"the folder {folder} must have good or bad in its name")
    return good


def _lines(file: Path) -> Iterator[ListedPicture]:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise HeroError(f"cannot read {file}: {reason}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield from _pictures(json.loads(line), file.parent)
            except (ValueError, RecursionError) as error:
                raise HeroError(f"{file}, line {number}: {one_line(error)}") from error


def _pictures(values: Any, folder: Path) -> Iterator[ListedPicture]:
    """ValueError says what is wrong with the line."""
    if not isinstance(values, dict):
        raise ValueError('expected an object such as {"path": "a.png", "label": "good"}')
    prompt = values.get("prompt", "")
    if not isinstance(prompt, str) or sanitized(prompt) != prompt:
        raise ValueError(f'"prompt" is {short(prompt)}; it must be one line of text')
    if "better" in values or "worse" in values:
        yield ListedPicture(_path(values, "better", folder), good=True, prompt=prompt)
        yield ListedPicture(_path(values, "worse", folder), good=False, prompt=prompt)
        return
    label = values.get("label")
    if label not in ("good", "bad"):
        raise ValueError(f'"label" is {short(label)}; it must be "good" or "bad"')
    yield ListedPicture(_path(values, "path", folder), good=label == "good", prompt=prompt)


def _path(values: Mapping[str, Any], name: str, folder: Path) -> Path:
    path = values.get(name)
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(f'"{name}" is {short(path)}; it must be the path of a picture')
    return folder / path


def cropped(picture: Image.Image, height: int, width: int, crop: Crop) -> Image.Image:
    """The picture scaled to cover this size; the surplus is cut off."""
    from PIL import ImageOps

    return ImageOps.fit(picture, (width, height), centering=CROPS[crop])


def own_prompt(path: Path) -> str:
    """The prompt in a picture's metadata, as A1111 or ComfyUI write it; "" for none."""
    metadata = opened(path).info
    text = metadata.get("parameters")
    if isinstance(text, str):
        first = re.split(r"(?:^|\n)(?:Negative prompt|Steps):", text[:LONGEST_METADATA])[0]
        return _one_line(first)
    graph = metadata.get("prompt")
    return _one_line(_prompt_of_graph(graph)) if isinstance(graph, str) else ""


def _one_line(text: str) -> str:
    return sanitized(" ".join(text.split()))


def _prompt_of_graph(graph: str) -> str:
    """The positive prompt of a ComfyUI graph in JSON."""
    try:
        nodes = json.loads(graph[:LONGEST_METADATA])
        for node in nodes.values():
            if "positive" in node.get("inputs", {}):
                source = nodes[str(node["inputs"]["positive"][0])]
                text = source["inputs"]["text"]
                return text if isinstance(text, str) else ""
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    return ""
