"""The settings of a run. The paper's values (official code, SD 1.5) are the defaults.

Each setting is declared with its default, its range and its sentence, which `hero config show` and
docs/configuration.md print. A settings object checks itself when it is created (`validation.py`).
`to_toml` and `from_toml` keep it in run.toml.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, cast, get_type_hints

import tomli_w

from hero_engine.config.old_names import with_new_names
from hero_engine.config.prompts import MOST, PromptPlan, Size, read_size
from hero_engine.config.update_settings import (
    D3poSettings,
    DdpoSettings,
    ForwardSettings,
    SftSettings,
)
from hero_engine.config.validation import Checked, from_names, merge, number, setting
from hero_engine.core.errors import HeroError


@dataclass(frozen=True)
class SamplerSettings(Checked):
    """Sampling: from noise to images."""

    steps: int = number(50, 1, 1000, "Denoising steps per image.")
    eta: float = number(
        1.0, 0, 1, "DDIM's eta: share of DDPM's noise added at each step; 0 is deterministic."
    )
    guidance: float = number(
        5.0, 0, 100, "Classifier-free guidance scale; 1 or less turns guidance off."
    )
    negative_prompt: str = setting("", "Negative prompt of classifier-free guidance.")
    image: tuple[str, ...] = setting(
        (),
        "Picture that an editing pipeline changes (Flux.2, Flux Kontext, Qwen-Image-Edit), or a "
        "list of several; each prompt is drawn from each. Empty: none.",
        may_be_empty=True,
        or_one=True,
    )
    height: int = number(0, 0, 8192, "Image height in pixels; 0: the width, or the model's own.")
    width: int = number(0, 0, 8192, "Image width in pixels; 0: the height, or the model's own.")


@dataclass(frozen=True)
class LoraSettings(Checked):
    """The trained weights."""

    rank: int = number(4, 1, 1024, "Rank of each pair of matrices.")
    alpha: int = number(4, 1, 4096, "Scale: a pair's product is multiplied by alpha / rank.")
    targets: tuple[str, ...] = setting(
        ("to_q", "to_k", "to_v", "to_out.0"),
        'Layers that get a LoRA, by the end of their name, or the groups "conv", "ff", "time" and '
        '"text".',
    )
    block: str = setting(
        "", 'Only layers whose name has this part, such as "mid_block"; empty: all layers.'
    )
    init: str = setting(
        "", "LoRA file to start from, which then sets rank, alpha and layers; empty: new weights."
    )


@dataclass(frozen=True)
class NoiseSettings(Checked):
    """The noise prior: the mixture that later rounds' initial noises are drawn from."""

    best_image_ratio: float = number(
        0.5, 0, 1, "The paper's beta: share of a batch drawn around the best image's noise."
    )
    perturbation: float = number(
        0.1, 0, 1, "The paper's epsilon: standard deviation added to a noise; variance is kept."
    )
    fresh_ratio: float = number(
        0.0, 0, 1, "Share of each later batch drawn from N(0, I) instead; not in the paper."
    )


@dataclass(frozen=True)
class EmbeddingSettings(Checked):
    """The representation of final latents that rewards are computed from."""

    kind: Literal["triplet", "backbone"] = setting(
        "triplet",
        "triplet: a network trained on the labels (paper); backbone: the frozen model's own "
        "activations, whose rewards are probabilities.",
    )
    channels: tuple[int, ...] = setting((8, 16, 32), "Channels after each convolution.")
    features: int = number(2048, 1, 65536, "Width of the features that rewards compare.")
    head: tuple[int, ...] = setting((2048, 1024, 512), "Layer widths of the triplet head.")
    margin: float = number(0.5, 0, 1, "Triplet margin; distances range from 0 to 1.")
    learning_rate: float = number(1e-5, 0, 1, "Adam's learning rate.", above=True)
    epochs: int = number(500, 0, 100_000, "Training epochs per round.")
    history: Literal["round", "all"] = setting(
        "round", "Labels it is trained on: this round's (paper), or all so far."
    )
    recency_half_life: float = number(
        0.0, 0, 1e6, "Recency half-life, in images of the same class; 0 samples uniformly."
    )


@dataclass(frozen=True)
class RewardSettings(Checked):
    """What an image is worth."""

    kind: Literal["best", "positives", "labels", "probability"] = setting(
        "best",
        "best: similarity to the best image (paper); positives: to all good ones; labels: the 0/1 "
        "label (DDPO's baseline); probability: of good, by a Bayesian logistic head.",
    )


@dataclass(frozen=True)
class SelfTrainingSettings(Checked):
    """Learning from generated images with predicted labels; not in the paper."""

    kind: Literal["after", "joint"] = setting(
        "after",
        "after: updates that follow the one on labels, images weighted by probability; joint: one "
        "update on labels and on unlabelled images by rank.",
    )
    rounds: int = number(
        0,
        0,
        1000,
        "Updates on images with predicted labels that follow each update on given ones; 0: none. "
        "joint: each has new images of the policy that it improves.",
    )
    images: int = number(
        64, 2, 100_000, "Images per such update, sampled from fresh noise with current weights."
    )
    base_images: int = number(
        192, 2, 100_000, "joint: images of the frozen base, sampled once, that every update uses."
    )
    novelty: float = number(
        0.0,
        0,
        10,
        "joint: exponent of the weight of unusual images among the good ones; 0: all alike.",
    )


@dataclass(frozen=True)
class Settings(Checked):
    """All settings of a run; frozen in run.toml when the run starts."""

    task: str = setting("", "Name of the task.")
    prompt: str = setting("", "Prompt of every image; the first one where there are several.")
    prompts: tuple[str, ...] = setting(
        (),
        "All prompts of a run with several, with as many images each. Empty: prompt alone.",
        may_be_empty=True,
    )
    prompt_starts: tuple[int, ...] = setting(
        (),
        "Round from which each prompt is drawn, counted from 0 as in a run's files; empty: all "
        "from the first.",
        may_be_empty=True,
        least=0,
    )
    prompt_order: Literal["grouped", "mixed"] = setting(
        "grouped",
        "Order of a round's images: prompt by prompt, or one image of each prompt in turn.",
    )
    sizes: tuple[str, ...] = setting(
        (),
        'Sizes of the images, as ["768x512", "512x768"]; each prompt is drawn in each, with as '
        "many images. Empty: sampler.width and sampler.height.",
        may_be_empty=True,
        or_one=True,
    )
    model: str = setting(
        "embedded",
        '"embedded", a diffusers folder, a .safetensors file, or a hub id.',
    )
    model_config: str = setting(
        "", "For a .safetensors file: folder or hub id of its configuration; empty: guess."
    )
    network: str = setting(
        "",
        "File of the network alone, .safetensors or .gguf, as ComfyUI keeps them; the rest is "
        "model's. Empty: the network is model's too.",
    )
    quantise: Literal["none", "int8", "fp8", "nf4"] = setting(
        "none",
        "Smaller weights of the frozen network: a byte each (int8, fp8; needs torchao) or half a "
        "byte (nf4; needs bitsandbytes and a GPU).",
    )
    offload: bool = setting(
        False,
        "Keep the network on the CPU and copy each layer to the GPU when it computes: slower, and "
        "little GPU memory.",
    )
    preset: str = setting(
        "paper", "Preset these settings started from. A run without one takes its model's."
    )
    update: Literal["ddpo", "forward", "d3po", "sft"] = setting(
        "ddpo", "Training method; its settings are in the section of the same name."
    )
    batch: int = number(64, 1, 4096, "Images per round.")
    microbatch: int = number(8, 1, 4096, "Images sampled at a time; changes no image.")
    labels: int = number(512, 1, 1_000_000, "Label budget: the run ends when it is used.")
    rounds: int = number(0, 0, 1_000_000, "Rounds to run; 0: until the label budget is used.")
    seed: int = number(0, 0, 2**31 - 1, "Seed of every random draw.")
    checkpoints: int = number(3, 0, 1_000_000, "Checkpoints to keep; 0: all.")
    tracker: Literal["none", "tensorboard", "wandb"] = setting(
        "none", "Where metrics are logged besides events.jsonl."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = setting(
        "auto",
        "Recompute activations in training to save memory; auto: on GPUs below 32 GB, and when one "
        "image's activations do not fit.",
    )
    sample_ahead: bool = setting(
        False,
        "Sample the next round while this one is labelled: no waiting, but each round then comes "
        "from weights one round older. Not in the paper.",
    )
    fixed_noise_samples: int = number(
        0, 0, 64, "Images regenerated every round from the same noises, to show what training did."
    )
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    reward: RewardSettings = field(default_factory=RewardSettings)
    self_training: SelfTrainingSettings = field(default_factory=SelfTrainingSettings)
    ddpo: DdpoSettings = field(default_factory=DdpoSettings)
    forward: ForwardSettings = field(default_factory=ForwardSettings)
    d3po: D3poSettings = field(default_factory=D3poSettings)
    sft: SftSettings = field(default_factory=SftSettings)

    @property
    def plan(self) -> PromptPlan:
        """Which image of a round has which prompt, size and input picture."""
        sizes, images = tuple(map(read_size, self.sizes)), self.sampler.image
        return PromptPlan(
            self.prompts or (self.prompt,),
            self.prompt_starts,
            self.prompt_order,
            sizes if len(sizes) > 1 else (),
            images if len(images) > 1 else (),
        )

    @property
    def size(self) -> Size:
        """Width and height of the largest images; 0 where they are the model's own."""
        sampler, sizes = self.sampler, tuple(map(read_size, self.sizes))
        if not sizes:
            return sampler.width, sampler.height
        return max(sizes, key=lambda each: (each[0] * each[1], each))

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_prompts()
        if self.offload and self.quantise == "nf4":
            raise HeroError("offload does not go with quantise 'nf4': use int8 or fp8")
        if self.offload and self.gradient_checkpointing == "off":
            raise HeroError(
                "offload needs gradient checkpointing: leave gradient_checkpointing out"
            )
        if self.network.endswith(".gguf") and (self.offload or self.quantise != "none"):
            raise HeroError("a .gguf network is quantised already: leave quantise and offload out")
        probabilities = self.reward.kind == "probability"
        if self.embedding.kind == "backbone" and self.reward.kind not in ("probability", "labels"):
            raise HeroError(
                f"reward.kind {self.reward.kind!r} needs a trained embedding: set embedding.kind "
                "to 'triplet', or reward.kind to 'probability'"
            )
        if self.self_training.rounds and not (probabilities and self.update in ("forward", "ddpo")):
            raise HeroError(
                "self_training.rounds needs rewards that are probabilities: set reward.kind to "
                "'probability', and update to 'forward' or 'ddpo'"
            )
        if self.self_training.kind == "joint" and not (probabilities and self.update == "forward"):
            raise HeroError(
                "self_training.kind 'joint' needs rewards that are probabilities: set reward.kind "
                "to 'probability', and update to 'forward'"
            )

    def _check_prompts(self) -> None:
        if len({*self.prompts}) != len(self.prompts):
            raise HeroError("setting prompts has a prompt twice")
        if len({*map(read_size, self.sizes)}) != len(self.sizes):
            raise HeroError("setting sizes has a size twice")
        if len({*self.sampler.image}) != len(self.sampler.image):
            raise HeroError("setting sampler.image has a picture twice")
        if len(self.plan) > MOST:
            raise HeroError(
                f"{len(self.plan)} combinations of prompt, size and input picture; a run takes at "
                f"most {MOST}"
            )
        if self.prompts and self.prompt != self.prompts[0]:
            raise HeroError("setting prompt must be the first of prompts, or prompts empty")
        starts = self.prompt_starts
        if starts and (len(starts) != len(self.prompts) or starts[0] != 0):
            raise HeroError("setting prompt_starts needs a round for each of prompts, the first 0")


def to_toml(settings: Settings) -> str:
    """The settings as TOML, one table per section."""
    return tomli_w.dumps(asdict(settings))


def from_toml(text: str) -> Settings:
    """The settings that `to_toml` wrote; missing keys take defaults, old names are read.

    HeroError if the text is not TOML, a key is unknown, or a value is out of range.
    """
    try:
        return cast(Settings, from_names(Settings, with_new_names(tomllib.loads(text))))
    except tomllib.TOMLDecodeError as error:
        raise HeroError(f"the settings are not valid TOML: {error}") from error


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with some replaced: {"batch": 8, "ddpo": {"clip_range": 1e-3}}.

    HeroError if a key is unknown or a value is out of range.
    """
    return cast(Settings, from_names(Settings, merge(asdict(settings), with_new_names(changes))))


def setting_types(kind: type = Settings, prefix: str = "") -> dict[str, Any]:
    """Full name of every setting ("sampler.steps"), with its type."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        inside = is_dataclass(hint)
        found |= setting_types(hint, f"{name}.") if inside else {prefix + name: hint}
    return found


def setting_sentences(kind: type = Settings, prefix: str = "") -> dict[str, str]:
    """Full name of every setting, with its sentence."""
    return {name: each.metadata["sentence"] for name, each in declared(kind, prefix)}


def declared(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full name and dataclass field of every setting, in the order of declaration."""
    hints = get_type_hints(kind)
    for each in fields(cast(Any, kind)):
        if is_dataclass(hints[each.name]):
            yield from declared(hints[each.name], f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, each
