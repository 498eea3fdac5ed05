"""The task of `hero run`: a shipped one, a file, or a prompt on the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hero_engine.config.prompts import WILDCARD, all_expanded, read_prompts
from hero_engine.config.tasks import (
    NAME_BYTES,
    Task,
    known_tasks,
    list_tasks,
    load_task,
    nearest_task,
)
from hero_engine.core.errors import HeroError, short
from hero_engine.core.sanitize import sanitized

LONGEST_NAME = 40
"""Characters of a prompt that become the task's name, and so a part of the run's folder."""


def task_named(text: str, good: str | None = None) -> Task:
    """The task with this name, in this TOML file, or with this prompt.

    good: what counts as good, for a prompt. HeroError for one word that is no task and comes
    without `good`, since it may be a name that was mistyped.
    """
    is_file = text.endswith(".toml") or ("/" in text and " " not in text)
    if good is None and (is_file or text in known_tasks() or " " not in text.strip()):
        return _named(text)
    if text in known_tasks() or is_file:
        raise HeroError(f"--good goes with a prompt of your own: {text} says what counts as good")
    return of_prompt(text, good)


def _named(text: str) -> Task:
    if "/" in text or text.endswith(".toml") or text in known_tasks():
        return load_task(text)
    near = nearest_task(text)
    meant = f"did you mean {near!r}?" if near else f"known are: {', '.join(known_tasks())}."
    raise HeroError(
        f"no task is called {short(text)}; {meant} For a prompt of your own: "
        f'hero run "{sanitized(text)}" --good "what counts as good"'
    )


@dataclass(frozen=True)
class MorePrompts:
    """The prompt options of `hero run`, beside its task.

    texts, file: further prompts, or templates; file has one a line. aside: how many of all prompts
    are kept for measuring transfer.
    """

    texts: tuple[str, ...] = ()
    file: Path | None = None
    aside: int = 0

    def __bool__(self) -> bool:
        return bool(self.texts or self.file or self.aside)

    def templates(self) -> tuple[str, ...]:
        """All of them. HeroError if the file cannot be read."""
        return (*self.texts, *(read_prompts(self.file) if self.file else ()))


def task_of(text: str | None, good: str | None, more: MorePrompts) -> Task | None:
    """The task with this name or prompt, and with more prompts. None if nothing is given.

    good: what counts as good, for prompts that are not a task's.
    """
    templates = more.templates()
    if text is not None and (good is not None or not WILDCARD.search(text)):
        task = task_named(text, good)
        return task.with_prompts((*_templates_of(task), *templates), more.aside) if more else task
    own = templates if text is None else (text, *templates)
    if not own:
        return None
    prompts = all_expanded(own)
    return of_prompt(prompts[0], good).with_prompts(prompts, more.aside)


def _templates_of(task: Task) -> tuple[str, ...]:
    return task.prompts or (task.prompt,)


def of_prompt(prompt: str, good: str | None) -> Task:
    """A task of a prompt alone. HeroError if a text is empty or would change the terminal."""
    for name, text in (("the prompt", prompt), ("--good", good or "-")):
        if not text.strip() or sanitized(text) != text:
            raise HeroError(f"{name} is {short(text)}; write one line of text")
    prompt, *others = all_expanded([prompt])
    words = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-")[:LONGEST_NAME].strip("-") or "prompt"
    while len(words.encode()) > NAME_BYTES:
        words = words[:-1]
    task = Task(words, prompt, success=good) if good else Task(words, prompt)
    return task.with_prompts([prompt, *others])


COMMON_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "by",
        "for",
        "from",
        "in",
        "inside",
        "its",
        "of",
        "on",
        "one",
        "the",
        "their",
        "through",
        "to",
        "with",
    ]
)


def draws(prompt: str) -> bool:
    """Whether the embedded model can draw the prompt: whether it shares a word with a shipped task.

    The model was trained on drawings of these tasks alone.
    """
    known = {
        word
        for task in list_tasks()
        for text in (task.prompt, task.enhanced_prompt, *task.transfer_prompts)
        for word in _words(text)
    }
    return bool(_words(prompt) & known)


def _words(text: str) -> set[str]:
    """The words that say what is shown; a plural counts as its singular."""
    found = set(re.findall(r"[a-z]{3,}", text.lower())) - COMMON_WORDS
    return {word.removesuffix("s") for word in found}


def cannot_draw(prompt: str) -> str:
    """The line for a prompt that the embedded model does not know."""
    return (
        f"the embedded model cannot draw {short(prompt)}: it knows the subjects of hero tasks. Use"
        " a model of your own: --model FOLDER or a hub id"
    )
