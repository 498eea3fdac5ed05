"""Write a saved pipeline as published models are laid out, so that other libraries open it.

transformers 5 saves a tokenizer as tokenizer.json alone, and since 5.6 a CLIP text encoder without
"text_model." in its keys. transformers 4 (kohya's scripts, OneTrainer) would fill such a text
encoder with random numbers. It also stops at a list of special tokens under their new name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hero_engine.models.component_files import WEIGHTS as WEIGHT_FILE
from hero_engine.models.component_files import weights_variant
from hero_engine.storage.atomic_files import write_atomically

INDEX = "model_index.json"
PREFIX = "text_model."
WEIGHTS = "model.safetensors"
VOCABULARIES = ("vocab.json", "spiece.model", "tokenizer.model")


def write_published_layout(folder: Path) -> None:
    """Rename the keys of CLIP text encoders, and add vocab.json and merges.txt to tokenizers.

    Lists of special tokens get the name that transformers 4 and 5 know.
    What is laid out so already stays as it is. A tokenizer that has tokenizer.json alone is named
    by its fast class, which older libraries open from that.
    """
    for encoder in folder.glob("text_encoder*"):
        _rename_keys(encoder)
    for tokenizer in folder.glob("tokenizer*"):
        _write_vocabulary(tokenizer)
        _rename_special_tokens(tokenizer / "tokenizer_config.json")
        alone = not any((tokenizer / name).is_file() for name in VOCABULARIES)
        if alone and (tokenizer / "tokenizer.json").is_file():
            _name_fast(folder / INDEX, tokenizer.name)


def _name_fast(path: Path, component: str) -> None:
    import transformers

    index: dict[str, Any] = json.loads(path.read_text("utf-8"))
    library, kind = index.get(component) or (None, None)
    fast = f"{kind}Fast"
    if library == "transformers" and not str(kind).endswith("Fast") and hasattr(transformers, fast):
        write_atomically(path, json.dumps(index | {component: [library, fast]}, indent=2) + "\n")


def make_loadable(folder: Path) -> None:
    """Let `from_pretrained` open a copied folder without further arguments.

    Files of a variant get plain names where a component has no others; components that the folder
    lacks are null in the index.
    """
    for component in filter(Path.is_dir, folder.iterdir()):
        _drop_variant(component)
    path = folder / INDEX
    index: dict[str, Any] = json.loads(path.read_text("utf-8"))
    lacking = {
        name: [None, None]
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
        if not (folder / name).is_dir()
    }
    if lacking:
        write_atomically(path, json.dumps(index | lacking, indent=2) + "\n")


def _drop_variant(component: Path) -> None:
    if not any(WEIGHT_FILE.fullmatch(each.name) for each in component.iterdir()):
        return
    variant = weights_variant(component)
    if variant is None:
        return
    for path in sorted(component.iterdir()):
        plain = path.name.replace(f".{variant}", "")
        if path.name == plain:
            continue
        path.rename(component / plain)
        if plain.endswith(".index.json"):
            text = (component / plain).read_text("utf-8")
            write_atomically(component / plain, text.replace(f".{variant}", ""))


def _rename_keys(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / "config.json").read_text("utf-8"))
    path = folder / WEIGHTS
    if config.get("architectures") != ["CLIPTextModel"] or not path.is_file():
        return
    state = load_file(path)
    if all(name.startswith(PREFIX) for name in state):
        return
    named = {PREFIX + name.removeprefix(PREFIX): weight for name, weight in state.items()}
    save_file(named, path, {"format": "pt"})


def _rename_special_tokens(path: Path) -> None:
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if isinstance(tokens := config.get("extra_special_tokens"), list):
        del config["extra_special_tokens"]
        config |= {"additional_special_tokens": tokens} if tokens else {}
        write_atomically(path, json.dumps(config, ensure_ascii=False, indent=2) + "\n")


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
