"""The settings of each update (`updates/`), declared as those of `settings.py` are."""

from dataclasses import dataclass
from typing import Literal

from hero_engine.config.validation import Checked, number, setting


@dataclass(frozen=True)
class AdamWSettings(Checked):
    """The optimizer, which every update has."""

    learning_rate: float = number(1e-3, 0, 1, "AdamW's learning rate.", above=True)
    betas: tuple[float, float] = setting((0.9, 0.999), "AdamW's betas.")
    weight_decay: float = number(1e-4, 0, 1, "AdamW's weight decay.")
    adam_epsilon: float = number(1e-8, 0, 1, "AdamW's epsilon.", above=True)
    max_grad_norm: float = number(1.0, 0, 1e6, "Gradients are clipped to this norm.", above=True)
    decay_learning_rate: bool = setting(
        False,
        "Raise the learning rate over the first five steps of an update, then lower it linearly to "
        "a tenth.",
    )
    weight_average: float = number(
        0.0,
        0,
        0.9999,
        "Decay of a moving average of the LoRA over an update's steps, which the update ends with; "
        "0: off.",
    )


@dataclass(frozen=True)
class DdpoSettings(AdamWSettings):
    """`update = "ddpo"`: the paper's policy gradient."""

    steps_per_image: int = number(5, 1, 1000, "Denoising steps trained per image.")
    window: tuple[float, float] = setting(
        (0.0, 1.0), "Part of the sampler's steps those are drawn from; 0 is the noisiest."
    )
    clip_range: float = number(
        1e-4, 0, 1, "PPO's clip range on the likelihood ratio (a mean over elements).", above=True
    )
    advantage_clip: float = number(
        5.0, 0, 1000, "Advantages are clipped to plus or minus this.", above=True
    )
    inner_epochs: int = number(1, 1, 100, "Passes over a round's images.")
    microbatch: int = number(
        2, 1, 4096, "Images per forward pass, times steps_per_image rows; bounds memory only."
    )
    auto_microbatch: bool = setting(
        True,
        "On a GPU, use a larger microbatch where memory allows: the same gradient up to rounding.",
    )
    images_per_update: int = number(8, 1, 4096, "Images per optimizer step.")
    ratio_precision: Literal["float32", "network"] = setting(
        "float32",
        "Precision of likelihood ratios on a bf16 or fp16 network: float32 takes a second forward "
        "pass; network clips about half of the steps wrongly in bf16.",
    )


@dataclass(frozen=True)
class ForwardSettings(AdamWSettings):
    """`update = "forward"`: the forward-process update (as in DiffusionNFT)."""

    steps: int = number(60, 1, 100_000, "Optimizer steps per round.")
    good_images_per_update: int = number(16, 1, 4096, "Noised good images per optimizer step.")
    bad_images_per_update: int = number(16, 1, 4096, "Noised bad images per optimizer step.")
    beta: float = number(
        1.0, 0, 10, "How far the positive and negative policies lie from the old one.", above=True
    )
    bad_weight: float = number(1.0, 0, 100, "Weight of a bad image's loss; a good one's is 1.")
    kl_weight: float = number(
        0.0, 0, 1000, "Weight of the squared distance to the frozen base's predictions; 0: off."
    )
    old_policy: Literal["base", "round"] = setting(
        "base", "The old policy: the frozen base, or the policy at the start of the round."
    )
    loss: Literal["prediction", "x0", "x0_normalised"] = setting(
        "prediction", "Space in which the error is measured."
    )
    timesteps: tuple[float, float] = setting(
        (0.0, 1.0), "Part of the schedule images are noised to; 0 is clean, 1 is pure noise."
    )
    history: Literal["all", "round"] = setting(
        "all", "Labels it learns from: all so far, or this round's."
    )
    scale_steps_by_variance: bool = setting(
        False, "Take 4 p (1 - p) of the steps, where p is the share of good images."
    )
    assume_unlabelled_bad: bool = setting(
        True, "In a round with good images and no bad one, treat the unlabelled ones as bad."
    )


@dataclass(frozen=True)
class D3poSettings(AdamWSettings):
    """`update = "d3po"`: preferences between pairs of images; its paper's values."""

    learning_rate: float = number(3e-5, 0, 1, "AdamW's learning rate.", above=True)
    steps_per_image: int = number(
        20, 1, 1000, "Denoising steps trained per image (all 20 in its paper)."
    )
    beta: float = number(
        0.1, 0, 100, "Weight of a preference against the distance to the base.", above=True
    )
    clip_range: float = number(
        0.1,
        0,
        0.99,
        "Likelihood ratios to the base are clipped to 1 plus or minus this.",
        above=True,
    )
    images_per_noise: int = number(
        7,
        1,
        4096,
        "Images that start from the same initial noise; pairs are made among them. 1: every image "
        "has its own noise, and pairs are made among all.",
    )
    pairs: int = number(64, 1, 100_000, "Pairs of a good and a bad image per round.")
    pairs_per_update: int = number(1, 1, 4096, "Pairs per optimizer step.")
    microbatch: int = number(
        4, 1, 4096, "Pairs per forward pass, times 2 steps_per_image rows; bounds memory only."
    )


@dataclass(frozen=True)
class SftSettings(AdamWSettings):
    """`update = "sft"`: supervised fine-tuning on the good images (a baseline)."""

    steps: int = number(40, 1, 100_000, "Optimizer steps per round.")
    images_per_update: int = number(32, 1, 4096, "Noised good images per optimizer step.")
    history: Literal["all", "round"] = setting(
        "all", "Good images it learns from: all so far, or this round's."
    )
