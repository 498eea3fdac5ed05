"""Suggestions of a judge of one's own, for the pictures of the round that is being labelled.

A suggestion is no label: it is not in the journal, and Enter does not commit it. Taking it makes a
mark whose source is the judge.
"""

from __future__ import annotations

import asyncio
from threading import Event

from hero_engine.core.errors import HeroError, StopRequested
from hero_engine.labelling.judge_program import Asked, ask
from hero_engine.labelling.judge_source import JudgeSource
from hero_tui.session.labelling_round import LabellingRound


class Suggestions:
    """Asks the judge once for every round, when all of its pictures are drawn."""

    def __init__(self, source: JudgeSource, labelling_round: LabellingRound) -> None:
        self._source, self._labelling_round = source, labelling_round
        self._asked_for, self._closed = -1, Event()

    @property
    def due(self) -> bool:
        """Whether the round's pictures are all drawn and the judge was not asked yet."""
        current = self._labelling_round
        all_drawn = bool(current.count) and len(current.pictures) == current.count
        return all_drawn and not current.submitted and self._asked_for != current.round

    async def fetch(self, prompt: str) -> str:
        """Put the judge's suggestions into the round; returns what to tell the person, with keys
        to be told (`Keymap.told`).

        prompt: the run's, where it has only one.
        """
        current = self._labelling_round
        self._asked_for = round = current.round
        images = sorted(current.pictures)
        asked = [Asked(current.pictures[i], current.prompt_alone(i) or prompt) for i in images]
        try:
            verdicts = await asyncio.to_thread(ask, self._source, asked, self._raise_if_closed)
        except StopRequested:
            return ""
        except HeroError as error:
            return f"No suggestions: {error.message}."
        if current.round != round:
            return ""
        groups = current.session.marks.groups
        labels = self._source.labels(verdicts, groups)
        goods = current.suggest(self._source.name, labels)
        return f"The judge suggests {goods} good pictures: {{suggested}} takes those of a page."

    def close(self) -> None:
        """End the judge, if it is at work."""
        self._closed.set()

    def _raise_if_closed(self) -> None:
        if self._closed.is_set():
            raise StopRequested
