"""Open a model by name: its pipeline whole, its noise process known, its LoRA attached, tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hero_engine.config.settings import LoraSettings, SamplerSettings, Settings
from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.lora import attach_lora
from hero_engine.models.model_record import fingerprints
from hero_engine.models.model_sources import (
    configuration,
    find_model,
    hub_folder,
    model_facts,
    model_index,
    network_name,
)
from hero_engine.models.noise_schedules import NoiseSchedule, noise_schedule
from hero_engine.models.pipeline import Model
from hero_engine.models.pipeline_arguments import PipelineArguments
from hero_engine.models.pipeline_components import (
    UNUSED,
    load_components,
    refuse_unloaded,
)
from hero_engine.models.pipeline_driver import PipelineDriver, Rows
from hero_engine.models.pipeline_facts import PipelineFacts
from hero_engine.models.quiet_libraries import quiet
from hero_engine.models.self_test import self_test
from hero_engine.models.single_files import SUFFIXES, SingleFile, open_network, open_single_file

LARGE_PICTURE = 256
HUGE_PICTURE = 1536
"""Longer sides, in pixels, from which the VAE decodes one picture at a time, and in tiles."""

AMPLE_MEMORY = 32e9
"""Bytes of a GPU that can keep every activation of SD 1.5 at the paper's microbatch."""


@dataclass
class OpenPipeline:
    """A diffusers pipeline on the CPU. network: the name of the component that denoises.

    folder: where all of it was loaded from; None for a pipeline with parts from a single file.
    """

    pipeline: Any
    facts: PipelineFacts
    network: str
    told: list[str] = field(default_factory=list)
    folder: Path | None = None


def model_for(settings: Settings, device: str = "auto") -> Model:
    """The model of a run as it begins, its prompts encoded.

    HeroError, exit code 3, where it cannot be opened, and 2 where the run's settings do not fit.
    """
    sampler = settings.sampler
    model = open_model(
        settings.model,
        settings.lora,
        device,
        seed=settings.seed,
        config=settings.model_config,
        sampler=sampler,
        prompt=settings.prompt,
    )
    _check_noise(model, settings)
    if _short_of_memory(settings.gradient_checkpointing, model.device):
        model.network.enable_gradient_checkpointing()
    return model


def _check_noise(model: Model, settings: Settings) -> None:
    """HeroError, exit code 2, where an update has no step with noise to learn from."""
    if settings.update not in ("ddpo", "d3po"):
        return
    sampler = settings.sampler
    stds = model.process.std(*model.process.steps(sampler.steps), sampler.eta)
    if not bool((stds > 0).any()):
        raise HeroError(
            f"update {settings.update!r} learns from steps with noise, and sampler.steps "
            f"{sampler.steps} with sampler.eta {sampler.eta:g} has none: raise sampler.steps, or "
            "use --update forward"
        )


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
    prompt: str = "",
) -> Model:
    """A model by name: "embedded", a folder with a pipeline, a hub id, or a file of weights.

    device: "auto" (a GPU where there is one), or any torch device. The LoRA's first weights come
    from `seed`. config: the folder or hub id whose configuration a single file has. sampler,
    prompt: what pictures will be drawn with; their size is the sampler's. HeroError, in one line:
    exit code 3 when it cannot be opened, 2 when it cannot have this size or this LoRA.
    """
    where = torch.device(_pick_device(device))
    dtype = _pick_dtype(where)
    opened = load_pipeline(name, dtype, config)
    with quiet():
        return _model(name, opened, lora, where, dtype, seed, sampler or SamplerSettings(), prompt)


def _model(
    name: str,
    opened: OpenPipeline,
    lora: LoraSettings,
    device: torch.device,
    dtype: torch.dtype,
    seed: int,
    sampler: SamplerSettings,
    prompt: str,
) -> Model:
    pipeline, network = opened.pipeline, getattr(opened.pipeline, opened.network)
    for part in _modules(pipeline):
        part.requires_grad_(False).eval()
    noise = noise_schedule(pipeline.scheduler, scales_input=opened.network == "unet")
    pipeline.scheduler = noise.scheduler
    size = (sampler.height, sampler.width)
    arguments = PipelineArguments.for_pipeline(
        pipeline, network, opened.facts, size, sampler.guidance
    )
    _check_channels(opened)
    components = fingerprints(pipeline)
    attach_lora(network, lora, seed)
    encoders = Encoders(pipeline, network, device)
    conditionings = (Conditioning(prompt), Conditioning.of_sampler(prompt, sampler))
    with _in_one_line(name):
        driver = PipelineDriver(pipeline, network, device, encoders.at_work)
        with encoders.at_work():
            model = Model(driver, arguments, noise, dtype=dtype, lora=lora, prompt=prompt)
            model.encode(conditionings)
        pipeline.vae.to(device)
        network.to(device)
        model.process.steps(sampler.steps)
        _try(name, model, noise, conditionings)
    told = [*_kind_told(opened), *opened.told, noise.told, *driver.truncated]
    model.told, model.fingerprints = tuple(filter(None, told)), components
    if max(model.picture_size) >= LARGE_PICTURE:
        model.vae.enable_slicing()
    if max(model.picture_size) >= HUGE_PICTURE:
        model.vae.enable_tiling()
    return model


def _check_channels(opened: OpenPipeline) -> None:
    """HeroError, exit code 3, for a UNet that wants more than a latent: a mask, another picture."""
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


def _kind_told(opened: OpenPipeline) -> Iterator[str]:
    """For a kind of pipeline that nobody has looked at."""
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


@dataclass
class Encoders:
    """A pipeline's text encoders: on the device only while they encode."""

    pipeline: Any
    network: Any
    device: torch.device
    working: bool = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The network makes room for them, where it was on the device already."""
        if self.working:
            yield
            return
        placed = next(self.network.parameters()).device
        moves = placed.type != "cpu" and placed == self.device
        if moves:
            self.network.to("cpu")
        encoders = [
            part
            for part in _modules(self.pipeline)
            if part is not self.network and part is not self.pipeline.vae
        ]
        for encoder in encoders:
            encoder.to(self.device)
        self.working = True
        try:
            yield
        finally:
            self.working = False
            for encoder in encoders:
                encoder.to("cpu")
            if moves:
                self.network.to(placed)


def _modules(pipeline: Any) -> list[nn.Module]:
    return [each for each in pipeline.components.values() if isinstance(each, nn.Module)]


def load_pipeline(name: str, dtype: torch.dtype, config: str = "") -> OpenPipeline:
    """A diffusers pipeline on the CPU, every weight of it loaded; the VAE in float32 always.

    Any failure of the libraries, whatever its type, becomes one line for the user.
    """
    with quiet():
        facts = model_facts(name, config)
        with _in_one_line(name):
            opened = _opened(find_model(name), facts, dtype, config)
            refuse_unloaded(opened.pipeline, name)
            opened.pipeline.vae.to(torch.float32)
            return opened


def _opened(source: str, facts: PipelineFacts, dtype: torch.dtype, config: str) -> OpenPipeline:
    path = Path(source)
    if path.suffix in SUFFIXES and path.is_file():
        return _from_file(SingleFile.read(path), facts, dtype, config)
    folder = path if path.is_dir() else hub_folder(source)
    return _from_folder(folder, facts, dtype, [])


def _from_folder(
    folder: Path, facts: PipelineFacts, dtype: torch.dtype, told: list[str], **given: Any
) -> OpenPipeline:
    import diffusers

    index = model_index(str(folder))
    parts = load_components(folder, index, dtype, given)
    more = {"requires_safety_checker": False} if "safety_checker" in index else {}
    kind = getattr(diffusers, index["_class_name"])
    pipeline = kind.from_pretrained(
        folder, local_files_only=True, torch_dtype=dtype, **parts.given, **given, **more
    )
    where = None if given else folder
    return OpenPipeline(pipeline, facts, network_name(index), [*told, *parts.told], where)


def _from_file(
    file: SingleFile, facts: PipelineFacts, dtype: torch.dtype, config: str
) -> OpenPipeline:
    source = configuration(str(file.path), config)
    folder = Path(source) if Path(source).is_dir() else hub_folder(source)
    index = model_index(str(folder))
    told = [*file.told()]
    if not config:
        told.append(f"{file.path.name}: configuration guessed from its keys: {source}")
    name = network_name(index)
    if file.network_only and config:
        network = open_network(file, index[name][1], name, str(folder), dtype)
        told.append(f"{file.path.name} has only the {name}; everything else comes from {source}")
        return _from_folder(folder, facts, dtype, told, **{name: network})
    given: dict[str, Any] = {each: None for each in UNUSED if each in index}
    if "safety_checker" in index:
        given["requires_safety_checker"] = False
    pipeline = open_single_file(file, index["_class_name"], str(folder), dtype, **given)
    return OpenPipeline(pipeline, facts, name, told)


def bare_network(name: str, config: str = "") -> tuple[PipelineFacts, str, Any]:
    """The model's facts, and its network's name in the pipeline and layers, without weights.

    HeroError, exit code 3, where its configuration cannot be read.
    """
    with quiet():
        facts = model_facts(name, config)
        source = configuration(find_model(name), config)
        with _in_one_line(name):
            import diffusers

            folder = Path(source) if Path(source).is_dir() else hub_folder(source)
            index = model_index(str(folder))
            part = network_name(index)
            kind = getattr(diffusers, index[part][1])
            with torch.device("meta"):
                return facts, part, kind.from_config(kind.load_config(folder, subfolder=part))


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    """Any failure of the libraries as one line, exit code 3."""
    try:
        yield
    except HeroError as error:
        raise HeroError(
            f"cannot open model {name}: {error.message}", exit_code=error.exit_code
        ) from error
    except Exception as error:
        raise HeroError(
            f"cannot open model {name}: {one_line(error)}", exit_code=ExitCode.ENVIRONMENT
        ) from error


def _pick_device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _pick_dtype(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
