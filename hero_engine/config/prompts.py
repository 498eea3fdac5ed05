"""The prompts of a run: templates with wildcards, files with one prompt a line, and the plan that
says which image has which prompt, size and input picture. Imports no torch.

Images of a group have one prompt, size and input picture. They share a noise prior, a best image,
the mean and deviation of their advantages, and the contrast of good and bad ones. Groups are
numbered from 0: those of the first prompt in the settings come first. One prompt is one group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Literal

from hero_engine.core.errors import HeroError, short
from hero_engine.core.sanitize import sanitized

MOST = 1000
"""Prompts of a run."""
LARGEST_SIDE = 8192
WILDCARD = re.compile(r"\{([^{}]*\|[^{}]*)\}")
Order = Literal["grouped", "mixed"]
Size = tuple[int, int]
"""Width and height of a picture, in pixels."""


@dataclass(frozen=True)
class Group:
    """What the images of a group are drawn from.

    size: None for the sampler's own. image: path of the picture to change; "" for the sampler's.
    """

    prompt: str
    size: Size | None = None
    image: str = ""

    @property
    def name(self) -> str:
        """The prompt, and size and picture where a run has several."""
        return self.named(self.prompt)

    def named(self, prompt: str) -> str:
        """The same with this name of the prompt."""
        size = "" if self.size is None else "x".join(map(str, self.size))
        picture = Path(self.image).stem if self.image else ""
        return " ".join(filter(None, (prompt, size, picture)))


@dataclass(frozen=True)
class PromptPlan:
    """Which group each image of a round has; a function of the settings and the round alone.

    starts: the round from which each prompt is drawn; prompts may be added to a run. order:
    "grouped" puts the images of a group beside each other, "mixed" deals the groups out in turn.
    sizes, images: every prompt is drawn in each of these sizes, from each of these pictures; empty:
    in the sampler's.
    """

    prompts: tuple[str, ...]
    starts: tuple[int, ...] = ()
    order: Order = "grouped"
    sizes: tuple[Size, ...] = ()
    images: tuple[str, ...] = ()

    @cached_property
    def kinds(self) -> tuple[Group, ...]:
        """Every group, by its number."""
        sizes, images = self.sizes or (None,), self.images or ("",)
        return tuple(Group(*each) for each in product(self.prompts, sizes, images))

    def of_prompts(self, prompts: Sequence[str]) -> tuple[Group, ...]:
        """The groups of these prompts, the run's or others, in each size and from each picture."""
        return replace(self, prompts=tuple(prompts), starts=()).kinds

    def active(self, round: int) -> tuple[int, ...]:
        """The groups that a round draws from, in order."""
        starts, each = self.starts or (0,) * len(self.prompts), len(self) // len(self.prompts)
        return tuple(g for g in range(len(self)) if starts[g // each] <= round)

    def groups(self, round: int, images: int) -> tuple[int, ...]:
        """The group of each of a round's images.

        Each group has the same number of images, up to one. Which ones have one more, or have any
        where there are more groups than images, changes from round to round.
        """
        return _dealt(self.active(round), round, images, self.order)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The whole name of each group."""
        return tuple(kind.name for kind in self.kinds)

    @cached_property
    def short_names(self) -> tuple[str, ...]:
        """What distinguishes each group from the others."""
        alone = len(self.prompts) == 1 < len(self)
        prompts = dict(zip(self.prompts, short_names(self.prompts), strict=True))
        return tuple(kind.named("" if alone else prompts[kind.prompt]) for kind in self.kinds)

    def __len__(self) -> int:
        return len(self.prompts) * max(1, len(self.sizes)) * max(1, len(self.images))


def read_size(text: str) -> Size:
    """Width and height of "768x512". HeroError for another text."""
    sides = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    size = (int(sides[1]), int(sides[2])) if sides else (0, 0)
    if not 0 < max(size) <= LARGEST_SIDE:
        raise HeroError(
            f"size {short(text)}: write WIDTHxHEIGHT in pixels, such as 768x512, each at most "
            f"{LARGEST_SIDE}"
        )
    return size


ONE_PROMPT = PromptPlan(("",))
"""The plan of a run with one prompt."""


@lru_cache(maxsize=64)
def _dealt(active: tuple[int, ...], round: int, images: int, order: Order) -> tuple[int, ...]:
    first = round * images % len(active)
    turn = (*active[first:], *active[:first])
    dealt = [turn[image % len(turn)] for image in range(images)]
    return tuple(sorted(dealt) if order == "grouped" else dealt)


def expanded(template: str) -> tuple[str, ...]:
    """The prompts of a template: every combination of its alternatives, in order.

    "{red|blue} bicycle, {at dawn|in snow}" is four prompts. Braces without a bar are plain text.
    HeroError for a bar in braces that do not close, and for more than MOST prompts.
    """
    pieces = WILDCARD.split(template)
    texts, wildcards = pieces[::2], [each.split("|") for each in pieces[1::2]]
    if any(re.search(r"\{[^{}]*\|", text) for text in texts):
        raise HeroError(f"prompt {short(template)}: write alternatives as {{red|blue}}")
    if not wildcards:
        return (template,)
    count = 1
    for each in wildcards:
        count *= len(each)
    if count > MOST:
        raise HeroError(f"prompt {short(template)} stands for {count} prompts; at most {MOST}")
    return tuple(
        " ".join("".join(_alternating(texts, chosen)).split()) for chosen in product(*wildcards)
    )


def _alternating(texts: Sequence[str], chosen: Sequence[str]) -> Iterable[str]:
    for text, wildcard in zip(texts, chosen, strict=False):
        yield text
        yield wildcard
    yield texts[-1]


def all_expanded(templates: Iterable[str]) -> tuple[str, ...]:
    """The prompts of several templates, in order; one that occurs twice counts once.

    HeroError for an empty one, for one that is not a line of plain text, and for too many.
    """
    prompts = dict.fromkeys(prompt for each in templates for prompt in expanded(each))
    for prompt in prompts:
        if not prompt.strip() or sanitized(prompt) != prompt:
            raise HeroError(f"a prompt is {short(prompt)}; write one line of text")
    if len(prompts) > MOST:
        raise HeroError(f"{len(prompts)} prompts; a run takes at most {MOST}")
    return tuple(prompts)


def read_prompts(path: Path) -> tuple[str, ...]:
    """The templates of a file, one a line; empty lines and those that begin with # are skipped.

    HeroError if it cannot be read or has none.
    """
    try:
        lines = path.expanduser().read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise HeroError(f"cannot read the prompts file {path}: {reason}") from error
    found = tuple(
        line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")
    )
    if not found:
        raise HeroError(f"{path} has no prompts: write one a line")
    return found


def kept_aside(prompts: Sequence[str], count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts to train on, and `count` others that measure transfer.

    Which ones is decided by a digest of their text, so it does not depend on their order.
    HeroError if no prompt is left.
    """
    if count >= len(prompts):
        raise HeroError(f"--keep-aside {count}: there are {len(prompts)} prompts to draw from")
    from hashlib import sha256  # it loads OpenSSL

    by_digest = sorted(prompts, key=lambda prompt: sha256(prompt.encode()).digest())
    aside = set(by_digest[:count])
    return (
        tuple(each for each in prompts if each not in aside),
        tuple(each for each in prompts if each in aside),
    )


def short_names(prompts: Sequence[str]) -> tuple[str, ...]:
    """The words that distinguish each prompt: those that not all prompts have.

    Where nothing is left, or two would be the same, the whole prompt.
    """
    if len(prompts) < 2:
        return tuple(prompts)
    words = [re.findall(r"[^\s,]+", prompt) for prompt in prompts]
    common = set.intersection(*({*each} for each in words))
    names = [" ".join(word for word in each if word not in common) for each in words]
    return tuple(names) if all(names) and len({*names}) == len(names) else tuple(prompts)
