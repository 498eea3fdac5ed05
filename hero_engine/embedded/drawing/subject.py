"""A task's drawings as data: attributes, captions and a paint function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hero_engine.embedded.drawing.canvas import Canvas

FAMILY_SHARE = 0.55
"""Share of pictures captioned with the task's prompt or a paraphrase."""

Attributes = Mapping[str, str]
Captions = Sequence[str] | Mapping[str, Sequence[str]]
"""Captions, or attribute value -> captions; no two attributes of a task share a value."""
Odds = Mapping[str, Sequence[float] | None]
"""Attribute -> odds of its values, None for even odds. Attributes are drawn in this order, then
those that are not named, evenly."""


@dataclass(frozen=True)
class Subject:
    """What a task's pictures show, their captions, and how they are painted.

    family: the task's prompt, then its paraphrases. honest: templates that name attributes, `looks`
    and `words` in braces.
    """

    values: Mapping[str, tuple[str, ...]]
    """Attribute -> its possible values, in the order of a judge's outputs."""
    wanted: Attributes
    """The attributes of a success; others are a matter of taste."""
    family: Captions
    family_odds: Odds
    honest: Captions
    paint: Callable[[np.random.Generator, Attributes], Canvas]
    """(generator, attributes and looks) -> picture."""
    honest_odds: Odds = field(default_factory=dict)
    words: Mapping[str, Captions] = field(default_factory=dict)
    """Name in a template -> words for it."""
    looks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further properties that a caption names, such as colours that no judge reads."""

    def succeeds(self, attributes: Attributes) -> bool:
        """True if the attributes have every wanted value."""
        return self.wanted.items() <= attributes.items()

    def cast(
        self, rng: np.random.Generator, fixed: Attributes
    ) -> tuple[str, dict[str, str], dict[str, str]]:
        """Caption, attributes and looks of a picture; an honest caption if attributes are fixed."""
        look = {name: pick(rng, options) for name, options in self.looks.items()}
        if not fixed and rng.random() < FAMILY_SHARE:
            return (*self.cast_family(rng), look)
        attributes = {**self._attributes(rng, self.honest_odds), **fixed}
        return self._describe(rng, {**attributes, **look}), attributes, look

    def cast_family(self, rng: np.random.Generator) -> tuple[str, dict[str, str]]:
        """Caption and attributes: the prompt half of the time, otherwise a paraphrase."""
        attributes = self._attributes(rng, self.family_odds)
        prompt, *paraphrases = fitting(self.family, attributes)
        return prompt if rng.random() < 0.5 else pick(rng, paraphrases), attributes

    def _attributes(self, rng: np.random.Generator, odds: Odds) -> dict[str, str]:
        """A value for each attribute, in the order of `values`."""
        ordered: Odds = {**odds, **{name: None for name in self.values if name not in odds}}
        drawn = {name: pick(rng, self.values[name], shares) for name, shares in ordered.items()}
        return {name: drawn[name] for name in self.values}

    def _describe(self, rng: np.random.Generator, shown: Attributes) -> str:
        """A caption that names the attributes and looks that are shown."""
        words = {name: pick(rng, fitting(of, shown)) for name, of in self.words.items()}
        caption = pick(rng, fitting(self.honest, shown)).format_map({**shown, **words})
        return re.sub(r"\ba (?=[aeiou])", "an ", caption)


def fitting(captions: Captions, shown: Attributes) -> Sequence[str]:
    """The captions that fit what is shown."""
    if isinstance(captions, Mapping):
        return next(captions[value] for value in shown.values() if value in captions)
    return captions


def pick(
    rng: np.random.Generator, options: Sequence[str], odds: Sequence[float] | None = None
) -> str:
    """Draw one of the options, evenly if odds is None."""
    chances = None if odds is None else np.array(odds) / sum(odds)
    return str(options[int(rng.choice(len(options), p=chances))])
