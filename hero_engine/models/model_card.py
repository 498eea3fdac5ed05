"""The README.md of an exported model: what it is, how it was trained, and its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hero_engine.config.settings import LoraSettings, Settings
from hero_engine.core.numbering import number
from hero_engine.models.component_files import has_weights, weights_variant
from hero_engine.models.model_sources import (
    HUB_ID,
    UNUSED,
    component_kinds,
    configuration,
    find_model,
    local_folder,
    missing_parts,
    model_facts,
    model_index,
    network_name,
    public_name,
)
from hero_engine.models.single_files import SUFFIXES, SingleFile
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir


def model_card(folder: RunDir, facts: Mapping[str, str], exported: Path) -> str:
    """Markdown with the front matter that model hubs read.

    facts: the metadata of the exported weights. exported: their file, or a merged model's folder.
    """
    return "\n".join([*_front_matter(facts), *_text(folder, facts, exported), ""])


EMBEDDED = "The model that ships with `hero`, which draws pictures of 64 pixels"
MOST_NAMED = 12
"""Prompts that a card names."""


def _front_matter(facts: Mapping[str, str]) -> Iterator[str]:
    yield "---"
    if HUB_ID.fullmatch(facts["base_model"]):
        yield f"base_model: {facts['base_model']}"
    yield f"instance_prompt: {json.dumps(facts['prompt'])}"
    yield "library_name: diffusers"
    yield "tags: [text-to-image, diffusers, lora, hero]"
    yield "---"


def _text(folder: RunDir, facts: Mapping[str, str], exported: Path) -> Iterator[str]:
    settings, task = folder.settings, folder.task
    model = model_facts(settings.model, settings.model_config)
    title = EMBEDDED if settings.model == "embedded" else model.title
    yield f"\n# {task.title or task.name}, taught by labels\n"
    yield (
        f"{title}, tuned with [HERO](https://arxiv.org/abs/2410.05116) by `hero` "
        f"{facts['hero_version']} on {_prompts(settings)}. A picture was good when: "
        f"{task.success}.\n"
    )
    ships = ", which ships with `hero`; no other program opens it"
    yield f"- base model: `{facts['base_model']}`{ships if settings.model == 'embedded' else ''}"
    counts = f"labels: {facts['labels']}, rounds: {facts['rounds']}"
    yield f"- {counts}, of {settings.batch} pictures each"
    yield f"- update: `{settings.update}`, preset `{settings.preset}`, seed {settings.seed}"
    lora = settings.lora
    yield f"- LoRA: rank {lora.rank}, alpha {lora.alpha}, on {', '.join(lora.targets)}"
    sampler = settings.sampler
    yield (
        f"- pictures were sampled with {sampler.steps} steps, guidance {sampler.guidance:g}, "
        f"eta {sampler.eta:g}, negative prompt “{sampler.negative_prompt}”"
    )
    yield from _rounds(folder)
    yield from _use(settings, model.pipeline, facts, exported)
    used = "these prompts were" if settings.prompts else "this prompt was"
    yield (
        "\n## Limits\n\nThe table counts labelled pictures. Later rounds were sampled near the "
        "noises of good ones, so their share of good is higher than with fresh noise (`hero eval` "
        f"measures that). Only {used} used."
    )


def _prompts(settings: Settings) -> str:
    prompts = [f"“{prompt}”" for prompt in settings.plan.prompts]
    if len(prompts) == 1:
        return f"the prompt {prompts[0]}"
    more = f" and {len(prompts) - MOST_NAMED} more" if len(prompts) > MOST_NAMED else ""
    return f"the prompts {', '.join(prompts[:MOST_NAMED])}{more}"


def _rounds(folder: RunDir) -> Iterator[str]:
    yield "\n| round | labels | good |\n|---|---|---|"
    with Journal(folder.journal_path) as journal:
        for each in journal.metrics():
            share = f"{each['good'] / each['labels']:.0%}" if each["labels"] else "-"
            yield f"| {number(each['round'])} | {each['labels']} | {share} |"


def _use(
    settings: Settings, pipeline: str, facts: Mapping[str, str], exported: Path
) -> Iterator[str]:
    """Code that loads what the card names, from where it runs or from a hub."""
    yield "\n## Use\n\n```python\nimport diffusers\n"
    if exported.suffix != ".safetensors":
        more = _more_arguments(exported)
        yield f'pipeline = diffusers.{pipeline}.from_pretrained("."{more})'
    else:
        yield from _open_base(settings, pipeline, facts["base_model"])
        yield from _load_lora(settings.lora, pipeline, exported.name)
    yield f"pipeline({json.dumps(facts['prompt'])}).images[0]\n```"


def _open_base(settings: Settings, pipeline: str, base: str) -> Iterator[str]:
    path, config = Path(settings.model), settings.model_config
    if settings.model == "embedded":
        yield "import torch"
        yield "from hero_engine.embedded import weights_dir  # the model that ships with hero\n"
        yield f"pipeline = diffusers.{pipeline}.from_pretrained("
        yield "    weights_dir(), torch_dtype=torch.float32  # its files are in half precision\n)"
        return
    alone = path.suffix in SUFFIXES and bool(config) and SingleFile.read(path).network_only
    if settings.network or alone:
        yield from _open_network(settings, pipeline, alone=alone)
    elif path.suffix not in SUFFIXES:
        more = _more_arguments(local_folder(settings.model))
        yield f'pipeline = diffusers.{pipeline}.from_pretrained("{base}"{more})'
    else:
        said = f', config="{public_name(config)}"' if config else ""
        yield "# from_pretrained, where the base is a folder"
        yield f'pipeline = diffusers.{pipeline}.from_single_file("{base}"{said})'


def _open_network(settings: Settings, pipeline: str, *, alone: bool) -> Iterator[str]:
    """A network's file beside a base. alone: the model itself is the file."""
    file = settings.model if alone else settings.network
    base = settings.model_config if alone else settings.model
    config = configuration(find_model(settings.model), settings.model_config)
    index = model_index(config)
    part = network_name(index)
    of_file = not alone and Path(base).suffix in SUFFIXES
    source = config if of_file else base
    gguf = ", quantization_config=diffusers.GGUFQuantizationConfig()"
    more = gguf if file.endswith(".gguf") else ""
    yield (
        f"{part} = diffusers.{index[part][1]}.from_single_file(\n"
        f'    "{public_name(file)}", config="{public_name(source)}", subfolder="{part}"{more}\n)'
    )
    name = public_name(base)
    open_base = (
        f'from_single_file("{name}", config="{public_name(source)}", {part}={part})'
        if of_file
        else f'from_pretrained("{name}", {part}={part}{_more_arguments(local_folder(base))})'
    )
    yield f"pipeline = diffusers.{pipeline}.{open_base}"


def _more_arguments(folder: Path | None) -> str:
    """What diffusers must be told to open a folder as hero does; empty where nothing is known."""
    if folder is None:
        return ""
    index = model_index(str(folder))
    variant = next(filter(None, map(weights_variant, _weighted(folder, index))), "")
    more = [f'variant="{variant}"'] if variant else []
    more += [f"{name}=None" for name in missing_parts(folder, index)]
    return "".join(f", {each}" for each in more)


def _weighted(folder: Path, index: Mapping[str, Any]) -> Iterator[Path]:
    """The folders of the components that hero loads weights of."""
    for name in component_kinds(index):
        if name not in UNUSED and (folder / name).is_dir() and has_weights(folder / name):
            yield folder / name


def _load_lora(lora: LoraSettings, pipeline: str, name: str) -> Iterator[str]:
    """By the pipeline's loader; by peft, where diffusers has none."""
    import diffusers

    if hasattr(getattr(diffusers, pipeline), "load_lora_weights"):
        yield f'pipeline.load_lora_weights(".", weight_name="{name}")'
        return
    yield "import peft\nfrom safetensors.torch import load_file\n"
    yield f"targets = {json.dumps(list(lora.targets))}"
    rank, alpha = f"r={lora.rank}", f"lora_alpha={lora.alpha}"
    yield f"lora = peft.LoraConfig({rank}, {alpha}, target_modules=targets)"
    yield "peft.inject_adapter_in_model(lora, pipeline.transformer)"
    yield f'weights = load_file("{name}")'
    yield 'weights = {key.removeprefix("transformer."): weights[key] for key in weights}'
    yield "peft.set_peft_model_state_dict(pipeline.transformer, weights)"
