"""The settings of a run. The paper's values (official code, SD 1.5) are the defaults everywhere.

They check themselves on creation (`checked.py`). `to_toml` and `from_toml` keep them in run.toml.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, Literal, cast, get_type_hints

import tomli_w

from hero_engine.config.old_names import with_new_names
from hero_engine.config.validation import Checked, from_names, merge, ranged
from hero_engine.core.errors import HeroError


@dataclass(frozen=True)
class SamplerSettings(Checked):
    """From noise to pictures."""

    steps: int = ranged(50, 1, 1000)
    """Denoising steps a picture."""
    eta: float = ranged(1.0, 0, 1)
    """Share of DDPM's noise in every step; 0 is deterministic."""
    guidance: float = ranged(5.0, 0, 100)
    """Scale of classifier-free guidance; 1 or less means none (one UNet call a step)."""
    negative_prompt: str = ""
    """What guidance leads away from."""
    height: int = ranged(0, 0, 8192)
    """Of a picture, in pixels; 0: as the width, or the model's own."""
    width: int = ranged(0, 0, 8192)
    """Of a picture, in pixels; 0: as the height, or the model's own."""


@dataclass(frozen=True)
class LoraSettings(Checked):
    """The trainable weights in the network."""

    rank: int = ranged(4, 1, 1024)
    """Inner width of each pair of matrices."""
    alpha: int = ranged(4, 1, 4096)
    """The pair's product is scaled by alpha / rank."""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    """Ends of layer names; also the groups "conv", "ff", "time" and "text"."""
    block: str = ""
    """Only layers in this part of the network, such as "mid_block"; empty: everywhere."""
    init: str = ""
    """A LoRA file to start from, which then sets all the others; empty: fresh weights."""


@dataclass(frozen=True)
class NoiseSettings(Checked):
    """The mixture that later rounds' initial noises are drawn from."""

    best_image_ratio: float = ranged(0.5, 0, 1)
    """beta: share of a batch around the best picture's noise."""
    perturbation: float = ranged(0.1, 0, 1)
    """epsilon: standard deviation of what is added (variance is preserved)."""
    fresh_ratio: float = ranged(0.0, 0, 1)
    """Share of every later batch drawn from N(0, I); not in the paper."""


@dataclass(frozen=True)
class EmbeddingSettings(Checked):
    """The representation of final latents that rewards come from."""

    kind: Literal["triplet", "backbone"] = "triplet"
    """Learned from the labels (paper), or the frozen backbone's activations (not learned; then
    rewards are probabilities)."""
    channels: tuple[int, ...] = (8, 16, 32)
    """Channels after each convolution."""
    features: int = ranged(2048, 1, 65536)
    """Width of the features that rewards compare."""
    head: tuple[int, ...] = (2048, 1024, 512)
    """Widths of the triplet head."""
    margin: float = ranged(0.5, 0, 1)
    """Triplet margin, in distances of 0..1."""
    learning_rate: float = ranged(1e-5, 0, 1, above=True)
    """Adam's."""
    epochs: int = ranged(500, 0, 100_000)
    """Epochs a round."""
    history: Literal["round", "all"] = "round"
    """Labels it, or the head on it, is trained on: this round's (paper) or all so far."""
    recency_half_life: float = ranged(0.0, 0, 1e6)
    """Newer pictures of its kind (good, bad) that make one drawn half as often; 0: all alike."""


@dataclass(frozen=True)
class RewardSettings(Checked):
    """What a picture is worth."""

    kind: Literal["best", "positives", "labels", "probability"] = "best"
    """Similarity to the best (paper), to all goods, the 0/1 label itself (DDPO's baseline), or the
    probability of good, by a logistic head on the embedding (not in the paper)."""


@dataclass(frozen=True)
class SelfTrainingSettings(Checked):
    """Further updates of a round, on pictures that nobody labels (not in the paper).

    Each draws pictures with the weights as they are then, and trains on the probabilities of good
    that the representation gives them.
    """

    rounds: int = ranged(0, 0, 1000)
    """How many follow the update on the labels; 0: none."""
    images: int = ranged(64, 2, 100_000)
    """Pictures of each, all from fresh noise."""


@dataclass(frozen=True)
class AdamWSettings(Checked):
    """What every update's optimizer has."""

    learning_rate: float = ranged(1e-3, 0, 1, above=True)
    """AdamW's."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's."""
    weight_decay: float = ranged(1e-4, 0, 1)
    """AdamW's."""
    adam_epsilon: float = ranged(1e-8, 0, 1, above=True)
    """AdamW's."""
    max_grad_norm: float = ranged(1.0, 0, 1e6, above=True)
    """Longer gradients are shortened to this norm."""


@dataclass(frozen=True)
class DdpoSettings(AdamWSettings):
    """The paper's policy gradient."""

    steps_per_image: int = ranged(5, 1, 1000)
    """Denoising steps trained of each picture."""
    window: tuple[float, float] = (0.0, 1.0)
    """Part of the sampler's steps that those are drawn from (0 the noisiest, 1 the last)."""
    clip_range: float = ranged(1e-4, 0, 1, above=True)
    """PPO's, on the ratio of element-averaged likelihoods."""
    advantage_clip: float = ranged(5.0, 0, 1000, above=True)
    """Advantages are cut to plus or minus this."""
    inner_epochs: int = ranged(1, 1, 100)
    """Passes over a round's pictures."""
    microbatch: int = ranged(2, 1, 4096)
    """Pictures a forward pass (times steps_per_image rows); bounds memory only."""
    auto_microbatch: bool = True
    """On a GPU, a larger minibatch where its memory allows; the same gradient up to rounding."""
    images_per_update: int = ranged(8, 1, 4096)
    """Pictures an optimizer step."""


@dataclass(frozen=True)
class ForwardSettings(AdamWSettings):
    """The forward-process update."""

    steps: int = ranged(60, 1, 100_000)
    """Optimizer steps a round."""
    good_images_per_update: int = ranged(16, 1, 4096)
    """Re-noised good pictures an optimizer step."""
    bad_images_per_update: int = ranged(16, 1, 4096)
    """Re-noised bad pictures an optimizer step."""
    beta: float = ranged(1.0, 0, 10, above=True)
    """How far the implicit positive and negative policies lie from the old one."""
    bad_weight: float = ranged(1.0, 0, 100)
    """Weight of a bad picture's loss against a good one's."""
    kl_weight: float = ranged(0.0, 0, 1000)
    """Weight of the squared distance between its predictions and the frozen base's; 0: none."""
    old_policy: Literal["base", "round"] = "base"
    """The old policy: the frozen base, or the one at the start of the round."""
    loss: Literal["prediction", "x0", "x0_normalised"] = "prediction"
    """The space the error is measured in."""
    timesteps: tuple[float, float] = (0.0, 1.0)
    """Part of the schedule that pictures are noised to (0 clean, 1 pure noise)."""
    history: Literal["all", "round"] = "all"
    """Labels it learns from: all so far, or this round's."""
    scale_steps_by_variance: bool = False
    """Take 4 p (1 - p) of the steps, p being the share of goods: all where half are good, few where
    nearly all or nearly none are."""
    assume_unlabelled_bad: bool = True
    """Where it knows good pictures but no bad one: the round's unlabelled ones stand for them."""


@dataclass(frozen=True)
class D3poSettings(AdamWSettings):
    """Preferences between pairs of pictures, step by step (a baseline); its paper's values."""

    learning_rate: float = ranged(3e-5, 0, 1, above=True)
    """AdamW's."""
    steps_per_image: int = ranged(20, 1, 1000)
    """Denoising steps trained of each picture (the paper's: all of its 20)."""
    beta: float = ranged(0.1, 0, 100, above=True)
    """Strength of a preference against the distance to the base."""
    clip_range: float = ranged(0.1, 0, 0.99, above=True)
    """Likelihood ratios to the base are cut to 1 minus and plus this."""
    pairs: int = ranged(64, 1, 100_000)
    """Pairs of a good and a bad picture a round."""
    pairs_per_update: int = ranged(1, 1, 4096)
    """Pairs an optimizer step."""
    microbatch: int = ranged(4, 1, 4096)
    """Pairs a forward pass (times 2 steps_per_image rows); bounds memory only."""


@dataclass(frozen=True)
class SftSettings(AdamWSettings):
    """Supervised fine-tuning on the good pictures (a baseline)."""

    steps: int = ranged(40, 1, 100_000)
    """Optimizer steps a round."""
    images_per_update: int = ranged(32, 1, 4096)
    """Re-noised good pictures an optimizer step."""
    history: Literal["all", "round"] = "all"
    """Good pictures it learns from: all so far, or this round's."""


@dataclass(frozen=True)
class Settings(Checked):
    """Everything a run is made of; frozen in run.toml when it starts."""

    task: str = ""
    """The task's name."""
    prompt: str = ""
    """What the pictures are asked for with."""
    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    """"embedded", a folder, a .safetensors file, or a hub id."""
    model_config: str = ""
    """For a .safetensors file: the folder or hub id whose configuration it has; empty: guess."""
    preset: str = "paper"
    """The preset these settings began as."""
    update: Literal["ddpo", "forward", "d3po", "sft"] = "ddpo"
    """How the model learns."""
    batch: int = ranged(64, 1, 4096)
    """Pictures a round."""
    microbatch: int = ranged(8, 1, 4096)
    """Pictures sampled at a time; changes no picture."""
    labels: int = ranged(512, 1, 1_000_000)
    """Budget of labels."""
    rounds: int = ranged(0, 0, 1_000_000)
    """Rounds to run; 0: until the budget of labels is used."""
    seed: int = ranged(0, 0, 2**31 - 1)
    """Of every random draw."""
    checkpoints: int = ranged(3, 0, 1_000_000)
    """How many are kept; 0: all."""
    tracker: Literal["none", "tensorboard", "wandb"] = "none"
    """Where metrics go besides events.jsonl: into the run's folder, or to Weights & Biases."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Compute activations again in training, to save memory; auto: on a GPU below 32 GB, and where
    memory does not hold the activations of one picture."""
    sample_ahead: bool = False
    """Draw the next round while a person labels this one, so that nobody waits for it: every round
    then comes from weights that have not learned from the one before it. Not in the paper."""
    fixed_noise_samples: int = ranged(0, 0, 64)
    """Pictures of the same noises made anew every round, to see what training changed; 0: none."""
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

    def __post_init__(self) -> None:
        super().__post_init__()
        chance = self.reward.kind == "probability"
        if self.embedding.kind == "backbone" and self.reward.kind not in ("probability", "labels"):
            raise HeroError(
                f"embedding.kind 'backbone' gives probabilities: reward.kind {self.reward.kind!r} "
                "needs 'triplet', or set reward.kind to 'probability'"
            )
        if self.self_training.rounds and not (chance and self.update in ("forward", "ddpo")):
            raise HeroError(
                "self_training.rounds needs rewards that are probabilities: set reward.kind to "
                "'probability', and update to 'forward' or 'ddpo'"
            )


def to_toml(settings: Settings) -> str:
    """The settings as TOML, one table a part."""
    return tomli_w.dumps(asdict(settings))


def from_toml(text: str) -> Settings:
    """The settings that `to_toml` wrote; missing keys take defaults.

    HeroError where the text is no TOML, a key is unknown, or a value is out of its range.
    """
    try:
        return cast(Settings, from_names(Settings, with_new_names(tomllib.loads(text))))
    except tomllib.TOMLDecodeError as error:
        raise HeroError(f"the settings are not valid TOML: {error}") from error


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with some replaced: {"batch": 8, "ddpo": {"clip_range": 1e-3}}.

    HeroError where a key is unknown or a value is out of its range.
    """
    return cast(Settings, from_names(Settings, merge(asdict(settings), with_new_names(changes))))


def setting_types(kind: type = Settings, prefix: str = "") -> dict[str, Any]:
    """Every setting by its full name ("sampler.steps"), with its type."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        inside = is_dataclass(hint)
        found |= setting_types(hint, f"{name}.") if inside else {prefix + name: hint}
    return found
