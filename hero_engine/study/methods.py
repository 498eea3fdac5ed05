"""The methods that are compared, each a few settings of the one engine over a preset.

All share model, sampler, LoRA, labels, seeds and the run's loop; a method is only what is named
here. A contender is a method as the command line writes it, such as "ddpo", "ddpo@2048" (its own
budget of labels) or "d3po:d3po.learning_rate=1e-3@2048" (with other settings).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hero_engine.config.old_names import with_new_names
from hero_engine.config.presets import PLUS
from hero_engine.config.validation import known_instead, merge
from hero_engine.core.errors import HeroError


@dataclass(frozen=True)
class Method:
    """says: what it is, in a few words; changes: the settings that differ from the preset's."""

    says: str
    changes: Mapping[str, Any]


HERO: dict[str, Any] = {"update": "ddpo", "noise": {"fresh_ratio": 0.0}}
PLAIN: dict[str, Any] = {
    "reward": {"kind": "labels"},
    "noise": {"fresh_ratio": 1.0},
    "embedding": {"epochs": 0},
}
"""No representation and no guided noise."""


def _but(**changes: Any) -> dict[str, Any]:
    """HERO with something changed."""
    return merge(HERO, changes)


METHODS: dict[str, Method] = {
    "hero": Method("HERO as in its paper: learned reward, guided noise, policy gradient", HERO),
    "hero-preset": Method(
        "the preset with update ddpo: on the embedded model HERO with part of the noises fresh",
        {"update": "ddpo"},
    ),
    "hero-forward": Method("the embedded preset: forward update, guided noise", {}),
    "hero-labels": Method(
        "HERO without representation: the label is the reward",
        _but(reward={"kind": "labels"}, embedding={"epochs": 0}),
    ),
    "hero-positives": Method(
        "HERO, rewarded for similarity to all positives", _but(reward={"kind": "positives"})
    ),
    "hero-fresh": Method("HERO without guided noise", _but(noise={"fresh_ratio": 1.0})),
    "hero-beta-0": Method("HERO, no noise around best", _but(noise={"best_image_ratio": 0.0})),
    "hero-beta-1": Method("HERO, all noise around best", _but(noise={"best_image_ratio": 1.0})),
    "hero-eps-0.05": Method("HERO, nearer noise", _but(noise={"perturbation": 0.05})),
    "hero-eps-0.3": Method("HERO, farther noise", _but(noise={"perturbation": 0.3})),
    "hero+": Method(
        "the embedded preset, and further updates on pictures the frozen network's features judge",
        PLUS,
    ),
    "hero-recent": Method(
        "HERO, its representation trained on all labels, recent ones oftenest",
        _but(embedding={"history": "all", "recency_half_life": 64.0}),
    ),
    "hero-probability": Method(
        "HERO, rewarded with the probability of good instead of similarity",
        _but(reward={"kind": "probability"}),
    ),
    "ddpo": Method("policy gradient on the labels", {"update": "ddpo", **PLAIN}),
    "d3po": Method("preferences between pairs of pictures", {"update": "d3po", **PLAIN}),
    "sft": Method("supervised fine-tuning on the good pictures", {"update": "sft", **PLAIN}),
}
ALIASES = {"hero-beta-0.5": "hero", "hero-eps-0.1": "hero"}
"""Ablations that are the paper's own values."""

HEADLINE = ("hero", "hero+", "hero-forward", "ddpo", "d3po", "sft")
BEYOND = ("hero+", "hero-recent", "hero-probability")
"""What goes beyond the paper; of the presets only "hero+" has it on, but for its loss, which
"embedded" has too."""
ABLATIONS = tuple(
    name
    for name in METHODS
    if name.startswith("hero-") and name not in ("hero-preset", "hero-forward", *BEYOND)
)

VARIANTS = frozenset({*ABLATIONS, *BEYOND} - {"hero+"})
"""HERO with one thing changed."""

BETWEEN = re.compile(r",(?![^\[]*\])")
"""A comma, but not within brackets."""


@dataclass(frozen=True)
class Contender:
    """A method with what was changed of it. name: as it was written, without its labels."""

    name: str
    changes: Mapping[str, Any]
    labels: int | None = None

    @property
    def method(self) -> str:
        """Its method's name."""
        return self.name.partition(":")[0]


def read_contenders(text: str) -> tuple[Contender, ...]:
    """Contenders from a list with commas; "ablations" stands for all of them.

    HeroError for an unknown method, or something that is no setting.
    """
    names: list[str] = []
    for part in BETWEEN.split(text):
        names += ABLATIONS if part == "ablations" else [part]
    return tuple({each.name: each for each in map(read_contender, names)}.values())


def read_contender(text: str) -> Contender:
    """One contender: NAME, then settings as ":ddpo.clip_range=0.1", then labels as "@2048"."""
    spec, at, labels = text.partition("@")
    if at and not (labels.isdecimal() and int(labels)):
        raise HeroError(f"method {text!r}: after @ comes a number of labels, as in ddpo@2048")
    name, *settings = spec.split(":")
    name = ALIASES.get(name, name)
    if name not in METHODS:
        known = [*METHODS, *ALIASES, "ablations"]
        raise HeroError(f"no method is called {name!r}; {known_instead(name, known)}")
    changes = dict(METHODS[name].changes)
    for setting in settings:
        changes = merge(changes, _change(setting))
    return Contender(":".join([name, *settings]), changes, int(labels) if at else None)


def _change(text: str) -> dict[str, Any]:
    """ "d3po.learning_rate=1e-3" as nested tables; the value is TOML, or plain text."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise HeroError(f"a method's setting is written KEY=VALUE, not {text!r}")
    try:
        found: Any = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        found = value
    for part in reversed(key.split(".")):
        found = {part: found}
    return with_new_names(found)


def said(names: Iterable[str]) -> str:
    """A line for each method: what it is."""
    return "\n".join(f"{name:<17} {METHODS[name].says}" for name in names)
