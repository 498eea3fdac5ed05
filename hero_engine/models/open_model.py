"""Open a model by name: its pipeline whole, its noise process known, its LoRA attached, tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from hero_engine.config.settings import LoraSettings, SamplerSettings, Settings
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.models.conditioning import Conditioning, as_group
from hero_engine.models.grouped_conditioning import Prompts, texts_of
from hero_engine.models.lora import attach_lora
from hero_engine.models.model_record import fingerprints
from hero_engine.models.noise_schedules import NoiseSchedule, noise_schedule
from hero_engine.models.offload import offload
from hero_engine.models.pipeline import Model
from hero_engine.models.pipeline_arguments import PipelineArguments
from hero_engine.models.pipeline_components import refuse_nan
from hero_engine.models.pipeline_driver import PipelineDriver, Rows
from hero_engine.models.pipeline_loading import OpenPipeline, in_one_line, load_pipeline
from hero_engine.models.quantisation import quantisation_config
from hero_engine.models.quiet_libraries import quiet
from hero_engine.models.self_test import self_test
from hero_engine.models.text_encoders import Encoders, modules_of
from hero_engine.storage.foreign_pictures import opened as opened_picture

LARGE_PICTURE = 256
HUGE_PICTURE = 1536
"""Longer sides, in pixels, from which the VAE decodes one picture at a time, and in tiles."""

AMPLE_MEMORY = 32e9
"""Bytes of a GPU that can keep every activation of SD 1.5 at the paper's microbatch."""


@dataclass(frozen=True)
class NetworkWeights:
    """The network's weights. file: of the network alone; empty: the model's own. quantise,
    offload: as in the settings.
    """

    file: str = ""
    quantise: str = "none"
    offload: bool = False


def model_for(settings: Settings, device: str = "auto") -> Model:
    """The model of a run as it begins, its prompts encoded.

    HeroError, exit code 3, if it cannot be opened, and 2 where the run's settings do not fit.
    """
    width, height = settings.size
    sampler = replace(settings.sampler, width=width, height=height)
    model = open_model(
        settings.model,
        settings.lora,
        device,
        seed=settings.seed,
        config=settings.model_config,
        sampler=sampler,
        prompts=settings.plan.kinds,
        weights=NetworkWeights(settings.network, settings.quantise, offload=settings.offload),
    )
    if settings.offload or _short_of_memory(settings.gradient_checkpointing, model.device):
        model.network.enable_gradient_checkpointing()
    return model


def _short_of_memory(said: str, device: torch.device) -> bool:
    """Whether activations are computed again: as the settings say, or by the GPU's size."""
    if said != "auto":
        return said == "on"
    if device.type != "cuda":
        return False
    return bool(torch.cuda.get_device_properties(device).total_memory < AMPLE_MEMORY)


def open_model(
    name: str,
    lora: LoraSettings,
    device: str = "auto",
    *,
    seed: int = 0,
    config: str = "",
    sampler: SamplerSettings | None = None,
    prompts: Prompts = "",
    weights: NetworkWeights | None = None,
) -> Model:
    """A model by name: "embedded", a folder with a pipeline, a hub id, or a file of weights.

    device: "auto" (a GPU where there is one), or any torch device. The LoRA's first weights come
    from `seed`. config: the folder or hub id whose configuration a single file has. sampler,
    prompts: what pictures will be drawn with; their size is the sampler's. weights: where the
    network's come from and how they are kept. HeroError, in one line: exit code 3 when it cannot be
    opened, 2 when it cannot have this size or this LoRA.
    """
    where = torch.device(_pick_device(device))
    dtype = _pick_dtype(where)
    weights, drawn = weights or NetworkWeights(), sampler or SamplerSettings()
    with quiet():
        quantisation = quantisation_config(weights.quantise, dtype, where)
    opened = load_pipeline(name, dtype, config, weights.file, quantisation)
    with quiet():
        if weights.offload:
            offload(getattr(opened.pipeline, opened.network), where)
        return _model(name, opened, lora, where, dtype, seed, drawn, prompts, weights)


def _model(
    name: str,
    opened: OpenPipeline,
    lora: LoraSettings,
    device: torch.device,
    dtype: torch.dtype,
    seed: int,
    sampler: SamplerSettings,
    prompts: Prompts,
    weights: NetworkWeights,
) -> Model:
    pipeline, network = opened.pipeline, getattr(opened.pipeline, opened.network)
    for part in modules_of(pipeline):
        part.requires_grad_(False).eval()
    noise = noise_schedule(pipeline.scheduler, scales_input=opened.network == "unet")
    pipeline.scheduler = noise.scheduler
    size = (sampler.height, sampler.width)
    arguments = PipelineArguments.for_pipeline(
        pipeline, network, opened.facts, size, sampler.guidance
    )
    _check_channels(opened)
    refuse_nan("vae", pipeline.vae)  # the self-test compares latents; it decodes no picture
    components = fingerprints(pipeline)
    pictures = {path: opened_picture(Path(path)) for path in sampler.image}
    for picture in list(pictures.values())[:1]:
        arguments = arguments.editing(picture)
    for number, picture in enumerate(pictures.values()):
        which = f"the picture to change {number + 1}" if number else "the picture to change"
        components[which] = sha256(picture.tobytes()).hexdigest()
    if opened.facts.needs_picture and not pictures:
        raise HeroError(f"{opened.facts.title} changes a picture: name it with --image FILE")
    attach_lora(network, lora, seed)
    encoders = Encoders(pipeline, network, device)
    conditionings = [
        each
        for drawn in texts_of(prompts)
        for each in (Conditioning.plain(drawn), Conditioning.of_sampler(drawn, sampler))
    ]
    with in_one_line(name):
        driver = PipelineDriver(pipeline, network, device, encoders.at_work)
        with encoders.at_work():
            first = as_group(texts_of(prompts)[0]).prompt
            model = Model(driver, arguments, noise, dtype=dtype, lora=lora, prompt=first)
            model.pictures = pictures
            model.encode(conditionings)
        pipeline.vae.to(device)
        model.place(device, offloaded=weights.offload)
        for each in conditionings:
            model.drawing(each).process.steps(sampler.steps)
        _try(name, model, noise, conditionings)
    notices = [*_kind_notices(opened), *opened.notices, noise.notice, *driver.truncated]
    model.notices, model.fingerprints = tuple(filter(None, notices)), components
    if max(model.picture_size) >= LARGE_PICTURE:
        model.vae.enable_slicing()
    if max(model.picture_size) >= HUGE_PICTURE:
        model.vae.enable_tiling()
    return model


def _check_channels(opened: OpenPipeline) -> None:
    """HeroError, exit code 3, for a UNet with further inputs: a mask, another picture."""
    if opened.network != "unet":
        return
    wanted, made = (
        part.config.get(name)
        for part, name in (
            (opened.pipeline.unet, "in_channels"),
            (opened.pipeline.vae, "latent_channels"),
        )
    )
    if wanted != made:
        raise HeroError(
            f"its UNet takes {wanted} channels and the VAE makes {made}: an inpainting or editing "
            "model, which hero does not train",
            exit_code=ExitCode.ENVIRONMENT,
        )


def _kind_notices(opened: OpenPipeline) -> Iterator[str]:
    """A notice for a pipeline without a row of facts."""
    if not opened.facts.known:
        yield (
            f"{opened.facts.title} has no row in hero's table: it opens with the defaults "
            "(guidance_scale, off at 1; 28 steps)"
        )


_tried: dict[tuple[Any, ...], dict[bool, Rows]] = {}
"""Models that passed the self-test in this process, with what it found."""


def _try(
    name: str, model: Model, noise: NoiseSchedule, conditionings: Sequence[Conditioning]
) -> None:
    """The self-test, once a process for each model; the embedded one is tested with the code."""
    guided = {model.arguments.guided(each): each for each in conditionings}
    key = (name, model.device, model.dtype, tuple(guided))
    if key not in _tried and name != "embedded":
        self_test(model, noise, guided.values())
        _tried[key] = dict(model.driver.mixed)
    model.driver.mixed = dict(_tried.get(key, {False: "one call", True: "doubled"}))


def _pick_device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _pick_dtype(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
