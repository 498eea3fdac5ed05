"""The methods that a study compares: each is a few settings of the one engine over a preset.

All methods share the model, the sampler, the LoRA, the labels, the seeds and the loop. On the
command line a method is written "ddpo", "ddpo@2048" (its own budget of labels) or
"d3po:d3po.learning_rate=1e-3@2048" (with other settings).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hero_engine.config.old_names import new_name, with_new_names
from hero_engine.config.presets import JOINT, PLUS
from hero_engine.config.validation import known_instead, merge
from hero_engine.core.errors import HeroError


@dataclass(frozen=True)
class Method:
    """description: what it is; changes: the settings that differ from the preset's."""

    description: str
    changes: Mapping[str, Any]


HERO: dict[str, Any] = {"update": "ddpo", "noise": {"fresh_ratio": 0.0}}
PLAIN: dict[str, Any] = {
    "reward": {"kind": "labels"},
    "noise": {"fresh_ratio": 1.0},
    "embedding": {"epochs": 0},
}
"""No embedding and no guided noise."""


def _but(**changes: Any) -> dict[str, Any]:
    """HERO with other settings."""
    return merge(HERO, changes)


METHODS: dict[str, Method] = {
    "hero": Method("HERO as in its paper: learned reward, guided noise, policy gradient", HERO),
    "hero-preset": Method(
        "the preset with update ddpo: HERO with part of the noises fresh",
        {"update": "ddpo"},
    ),
    "hero-forward": Method("the embedded preset: forward update, guided noise", {}),
    "hero-labels": Method(
        "HERO without the embedding, rewarded with the label",
        _but(reward={"kind": "labels"}, embedding={"epochs": 0}),
    ),
    "hero-positives": Method(
        "HERO, rewarded for similarity to all positives", _but(reward={"kind": "positives"})
    ),
    "hero-fresh": Method("HERO without guided noise", _but(noise={"fresh_ratio": 1.0})),
    "hero-beta-0": Method("HERO, no noise around best", _but(noise={"best_image_ratio": 0.0})),
    "hero-beta-1": Method("HERO, all noise around best", _but(noise={"best_image_ratio": 1.0})),
    "hero-eps-0.05": Method("HERO, noise perturbation 0.05", _but(noise={"perturbation": 0.05})),
    "hero-eps-0.3": Method("HERO, noise perturbation 0.3", _but(noise={"perturbation": 0.3})),
    "hero+": Method(
        "the embedded preset with self-training on pseudo-labels from backbone features",
        PLUS,
    ),
    "joint": Method(
        "the embedded preset, trained on labels and on ranked pictures of the base and the policy",
        JOINT,
    ),
    "hero-recent": Method(
        "HERO, its embedding trained on all labels, recent ones more often",
        _but(embedding={"history": "all", "recency_half_life": 64.0}),
    ),
    "hero-probability": Method(
        "HERO, rewarded with the probability of good",
        _but(reward={"kind": "probability"}),
    ),
    "ddpo": Method("policy gradient on the labels", {"update": "ddpo", **PLAIN}),
    "d3po": Method(
        "preferences between pairs of pictures",
        {"update": "d3po", **PLAIN, "d3po": {"images_per_noise": 1}},
    ),
    "sft": Method("supervised fine-tuning on the good pictures", {"update": "sft", **PLAIN}),
}
ALIASES = {"hero-beta-0.5": "hero", "hero-eps-0.1": "hero"}
"""Names for ablations at the paper's own values."""

HEADLINE = ("hero", "hero+", "hero-forward", "ddpo", "d3po", "sft")
BEYOND = ("hero+", "joint", "hero-recent", "hero-probability")
"""Methods that are not in the paper."""
ABLATIONS = tuple(
    name
    for name in METHODS
    if name.startswith("hero-") and name not in ("hero-preset", "hero-forward", *BEYOND)
)

VARIANTS = frozenset({*ABLATIONS, *BEYOND} - {"hero+", "joint"})
"""HERO with one setting changed."""

BETWEEN_METHODS = re.compile(r",(?![^\[]*\])")
"""A comma outside brackets."""


@dataclass(frozen=True)
class MethodSpec:
    """A method with changed settings. name: as written, old setting names replaced, no budget."""

    name: str
    changes: Mapping[str, Any]
    labels: int | None = None

    @property
    def base(self) -> str:
        """Name of the method in `METHODS`."""
        return self.name.partition(":")[0]


def parse_methods(text: str) -> tuple[MethodSpec, ...]:
    """Methods from a list with commas; "ablations" stands for all of them.

    HeroError for an unknown method or a badly written setting.
    """
    names: list[str] = []
    for part in BETWEEN_METHODS.split(text):
        names += ABLATIONS if part == "ablations" else [part]
    return tuple({each.name: each for each in map(parse_method, names)}.values())


def parse_method(text: str) -> MethodSpec:
    """One method: NAME, then settings as ":ddpo.clip_range=0.1", then a budget as "@2048"."""
    spec, at, labels = text.partition("@")
    if at and not (labels.isdecimal() and int(labels)):
        raise HeroError(f"method {text!r}: after @ write a number of labels, as in ddpo@2048")
    name, *settings = spec.split(":")
    name = ALIASES.get(name, name)
    if name not in METHODS:
        known = [*METHODS, *ALIASES, "ablations"]
        raise HeroError(f"no method is called {name!r}; {known_instead(name, known)}")
    changes = dict(METHODS[name].changes)
    for setting in settings:
        changes = merge(changes, _parse_setting(setting))
    spec = ":".join([name, *map(_present_name, settings)])
    return MethodSpec(spec, changes, int(labels) if at else None)


def _present_name(setting: str) -> str:
    """A typed setting under its present name."""
    key, equals, value = setting.partition("=")
    return f"{new_name(key)}{equals}{value}"


def _parse_setting(text: str) -> dict[str, Any]:
    """ "d3po.learning_rate=1e-3" as nested tables; the value is TOML, or plain text."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise HeroError(f"method setting {text!r}: write KEY=VALUE")
    try:
        found: Any = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        found = value
    for part in reversed(key.split(".")):
        found = {part: found}
    return with_new_names(found)


def described(names: Iterable[str]) -> str:
    """One line a method: its name and what it is."""
    return "\n".join(f"{name:<17} {METHODS[name].description}" for name in names)
