"""The finished rounds of a run as one of its prompts has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hero_engine.core.events import RoundFinished


def rounds_of_prompt(rounds: Sequence[RoundFinished], group: int) -> tuple[RoundFinished, ...]:
    """The rounds that drew the prompt with this number, with its own figures alone.

    `labels_total` counts the labels of its pictures.
    """
    found, total = list[RoundFinished](), 0
    for each in rounds:
        for own in each.prompts:
            if own["group"] == group:
                total += own["labels"]
                found.append(
                    replace(
                        each,
                        labels=own["labels"],
                        good=own["good"],
                        unlabelled=0,
                        labels_total=total,
                        reward_mean=own.get("reward_mean"),
                        metrics={"diversity": own["diversity"]} if "diversity" in own else {},
                        prompts=(),
                    )
                )
    return tuple(found)
