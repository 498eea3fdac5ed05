"""Write a saved pipeline as published models are laid out, so that older libraries open it.

transformers 5 saves a tokenizer as tokenizer.json alone, and since 5.6 a CLIP text encoder without
"text_model." in its keys. transformers 4 (kohya's scripts, OneTrainer) would fill such a text
encoder with random numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hero_engine.storage.atomic_files import write_atomically

PREFIX = "text_model."
WEIGHTS = "model.safetensors"


def write_published_layout(folder: Path) -> None:
    """Rename the keys of CLIP text encoders, and add vocab.json and merges.txt to tokenizers."""
    for encoder in folder.glob("text_encoder*"):
        _rename_keys(encoder)
    for tokenizer in folder.glob("tokenizer*"):
        _write_vocabulary(tokenizer)


def _rename_keys(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / "config.json").read_text("utf-8"))
    path = folder / WEIGHTS
    if config.get("architectures") != ["CLIPTextModel"] or not path.is_file():
        return
    state = load_file(path)
    named = {PREFIX + name.removeprefix(PREFIX): weight for name, weight in state.items()}
    save_file(named, path, {"format": "pt"})


def _write_vocabulary(folder: Path) -> None:
    """From tokenizer.json, for byte-pair tokenizers."""
    path = folder / "tokenizer.json"
    if not path.is_file() or (folder / "vocab.json").is_file():
        return
    model: dict[str, Any] = json.loads(path.read_text("utf-8")).get("model", {})
    if model.get("type") != "BPE":
        return
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    write_atomically(folder / "vocab.json", json.dumps(model["vocab"], ensure_ascii=False))
    write_atomically(folder / "merges.txt", "\n".join(["#version: 0.2", *merges, ""]))
