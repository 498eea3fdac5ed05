"""Load a pipeline from a folder, a hub id or a file of weights: whole, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.known_configurations import is_configuration, known_configuration
from hero_engine.models.model_sources import (
    UNUSED,
    configuration,
    find_model,
    hub_folder,
    model_facts,
    model_index,
    network_name,
)
from hero_engine.models.noise_schedules import FLOWS
from hero_engine.models.pipeline_components import (
    load_components,
    load_missing_encoders,
    refuse_unloaded,
)
from hero_engine.models.pipeline_facts import PipelineFacts
from hero_engine.models.quiet_libraries import quiet
from hero_engine.models.random_models import random_pipeline
from hero_engine.models.single_files import (
    SUFFIXES,
    SingleFile,
    apply_markers,
    has_encoder,
    open_network,
    open_single_file,
)


@dataclass
class OpenPipeline:
    """A diffusers pipeline on the CPU. network: the name of the component that denoises.

    folder: where all but the network was loaded from; None for a pipeline of a single file.
    """

    pipeline: Any
    facts: PipelineFacts
    network: str
    notices: list[str] = field(default_factory=list)
    folder: Path | None = None


def load_pipeline(
    name: str, dtype: torch.dtype, config: str = "", network: str = "", quantisation: Any = None
) -> OpenPipeline:
    """A diffusers pipeline on the CPU, every weight of it loaded; the VAE in float32 always.

    network: a file with the network's weights, in place of the model's own. quantisation: of it,
    diffusers' configuration. Any failure of the libraries, whatever its type, becomes one line for
    the user.
    """
    with quiet():
        facts = model_facts(name, config)
        with in_one_line(name):
            reading = Reading(facts, dtype, config, network, quantisation)
            opened = _opened(find_model(name), reading)
            refuse_unloaded(opened.pipeline, name)
            opened.pipeline.vae.to(torch.float32)
            return opened


@dataclass(frozen=True)
class Reading:
    """How a pipeline is loaded: see `load_pipeline`."""

    facts: PipelineFacts
    dtype: torch.dtype
    config: str = ""
    network: str = ""
    quantisation: Any = None

    def network_of(self, file: SingleFile, folder: Path, index: Mapping[str, Any]) -> Any:
        """The network of a file, in the configuration of the base folder."""
        name = network_name(index)
        kind = index[name][1]
        return open_network(file, kind, name, str(folder), self.dtype, self.quantisation)


def _opened(source: str, reading: Reading) -> OpenPipeline:
    if is_configuration(source):
        known = known_configuration(source)
        notices = [f"{source} has random weights: it is for measuring"]
        pipeline = random_pipeline(known, reading.dtype)
        return OpenPipeline(pipeline, reading.facts, known.network, notices)
    path = Path(source)
    if path.suffix in SUFFIXES and path.is_file():
        return _from_file(SingleFile.read(path), reading)
    folder = path if path.is_dir() else hub_folder(source)
    return _with_network(folder, reading) if reading.network else _from_folder(folder, reading, [])


def _with_network(folder: Path, reading: Reading) -> OpenPipeline:
    """A base folder with the network of a file."""
    file, index = _network_file(reading), model_index(str(folder))
    name = network_name(index)
    network = reading.network_of(file, folder, index)
    notices = [f"the {name} comes from {file.path.name}, everything else from {folder}"]
    notices += file.notices()
    opened = _from_folder(folder, reading, notices, **{name: network})
    apply_markers(file, opened.pipeline)
    return opened


def _network_file(reading: Reading) -> SingleFile:
    path = Path(reading.network).expanduser()
    if path.suffix not in SUFFIXES or not path.is_file():
        raise HeroError(
            f"there is no network file {path} (.safetensors or .gguf)",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return SingleFile.read(path)


def has_torchvision() -> bool:
    """Whether torchvision is installed: a text encoder that sees pictures needs it."""
    return find_spec("torchvision") is not None


def _from_folder(folder: Path, reading: Reading, notices: list[str], **given: Any) -> OpenPipeline:
    import diffusers

    index = model_index(str(folder))
    if "processor" in index and not has_torchvision():
        raise HeroError(
            f"{reading.facts.title} needs torchvision: pip install torchvision",
            exit_code=ExitCode.ENVIRONMENT,
        )
    options = {}
    if reading.quantisation is not None:
        options[network_name(index)] = {"quantization_config": reading.quantisation}
    parts = load_components(folder, index, reading.dtype, given, options)
    more = {"requires_safety_checker": False} if "safety_checker" in index else {}
    kind = getattr(diffusers, index["_class_name"])
    pipeline = kind.from_pretrained(
        folder, local_files_only=True, torch_dtype=reading.dtype, **parts.given, **given, **more
    )
    notices = [*notices, *parts.notices]
    return OpenPipeline(pipeline, reading.facts, network_name(index), notices, folder)


def _from_file(file: SingleFile, reading: Reading) -> OpenPipeline:
    config, dtype = reading.config, reading.dtype
    folder = _configuration_folder(str(file.path), config)
    index, source = model_index(str(folder)), config or str(folder)
    notices = [*file.notices()]
    if not config:
        source = configuration(str(file.path))
        notices.append(f"{file.path.name}: configuration guessed from its keys: {source}")
    name = network_name(index)
    if file.network_only:
        if not config:
            raise HeroError(
                f"{file.path.name} has only a {name}: say where the rest is, with "
                "--set model_config=FOLDER",
                exit_code=ExitCode.ENVIRONMENT,
            )
        network = reading.network_of(file, folder, index)
        notices.append(f"{file.path.name} has only the {name}; everything else comes from {source}")
        opened = _from_folder(folder, reading, notices, **{name: network})
        apply_markers(file, opened.pipeline)
        return opened
    given: dict[str, Any] = {each: None for each in UNUSED if each in index}
    given |= load_missing_encoders(
        folder, index, dtype, lambda kind: has_encoder(file, kind), notices
    )
    if "safety_checker" in index:
        given["requires_safety_checker"] = False
    network_file = _network_file(reading) if reading.network else None
    if network_file or reading.quantisation is not None:
        given[name] = reading.network_of(network_file or file, folder, index)
    pipeline = open_single_file(file, index["_class_name"], str(folder), dtype, **given)
    if network_file:
        apply_markers(network_file, pipeline)
        notices += network_file.notices()
    return OpenPipeline(pipeline, reading.facts, name, notices)


def bare_network(name: str, config: str = "") -> tuple[PipelineFacts, str, Any]:
    """The model's facts, and its network's name in the pipeline and layers, without weights.

    HeroError, exit code 3, if its configuration cannot be read.
    """
    with quiet():
        facts = model_facts(name, config)
        with in_one_line(name):
            import diffusers

            folder = _configuration_folder(find_model(name), config)
            index = model_index(str(folder))
            part = network_name(index)
            kind = getattr(diffusers, index[part][1])
            with torch.device("meta"):
                return facts, part, kind.from_config(kind.load_config(folder, subfolder=part))


def prediction_type(name: str, config: str = "", network: str = "") -> str:
    """What its files say that a model predicts: "epsilon", "v_prediction", ...; "" for a flow.

    HeroError, exit code 3, if its configuration cannot be read.
    """
    with quiet(), in_one_line(name):
        source = find_model(name)
        path = _configuration_folder(source, config) / "scheduler" / "scheduler_config.json"
        read = json.loads(path.read_text("utf-8"))
        flow = str(read.get("_class_name")) in FLOWS
        predicts = str(read.get("prediction_type", "" if flow else "epsilon"))
        for file in filter(None, (source if Path(source).is_file() else "", network)):
            markers = SingleFile.read(Path(file).expanduser()).scheduler_changes()
            predicts = str(markers.get("prediction_type", predicts))
        return predicts


def _configuration_folder(source: str, config: str) -> Path:
    found = configuration(source, config)
    return Path(found) if Path(found).is_dir() else hub_folder(found)


@contextmanager
def in_one_line(name: str) -> Iterator[None]:
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
