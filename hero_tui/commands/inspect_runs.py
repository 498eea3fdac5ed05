"""`hero status`, `hero show`. Imports no torch."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.events import RoundFinished
from hero_engine.core.labels import Labels
from hero_engine.core.numbering import number, round_name, rounds_name
from hero_engine.labelling.annotators import template_path
from hero_engine.storage.journal import Journal
from hero_engine.storage.png import read_png
from hero_engine.storage.run_folder import RunDir
from hero_tui.commands.find_run import open_run
from hero_tui.output_streams import data, data_json, say
from hero_tui.session.marks_so_far import labels_so_far, marks_not_learned

if TYPE_CHECKING:
    from PIL.Image import Image

    from hero_tui.graphics.detect_terminal import Terminal

TILE_COLUMNS = 18
"""Cells of a picture's width in `hero show`, its gap included."""

SHEET_TILE = 128
GAP = 4


def status(name: str | None, as_json: bool) -> None:
    """Print the state of a run, and its rounds so far."""
    facts = run_facts(open_run(name))
    if as_json:
        data_json(facts)
        return
    say(f"{facts['run']}")
    more = f" and {len(facts['prompts']) - 1} more prompts" if facts["prompts"] else ""
    say(f"“{facts['prompt']}”{more} with {facts['model']}")
    counts = labels_so_far(facts["marked"], facts["labels"], facts["budget"])
    say(f"{facts['state']}{_where(facts)}; {counts}")
    if facts["rounds"]:
        say("\nround  labels  good  reward  note")
    for each in facts["rounds"]:
        round, good = number(each["round"]), _percent(each["good_share"])
        reward = _decimal(each["reward_mean"])
        row = f"{round:>5}  {each['labels']:>6}  {good:>4}  {reward:>6}  {each['note']}"
        say(row.rstrip())
    for line in _prompt_table(facts):
        say(line)


def _prompt_table(facts: dict[str, Any]) -> Iterator[str]:
    """Each prompt's labels, and its share of good pictures in its first and last round."""
    known = [each for each in facts["rounds"] if each.get("prompts")]
    if not known:
        return
    yield "\nlabels  first   now  prompt"
    names = {row["group"]: row["prompt"] for each in known for row in each["prompts"]}
    for group, prompt in sorted(names.items()):
        own = [row for each in known for row in each["prompts"] if row["group"] == group]
        given = [row for row in own if row["labels"]]
        shares = [_percent(row["good"] / row["labels"]) for row in given] or ["-"]
        labels = sum(row["labels"] for row in own)
        yield f"{labels:>6}  {shares[0]:>5}  {shares[-1]:>4}  {prompt}"


def _where(facts: dict[str, Any]) -> str:
    if facts["state"] in ("new", "finished") or facts["phase"] == "done":
        return ""
    ahead = f", {facts['pictures_ahead']} drawn ahead" if facts.get("pictures_ahead") else ""
    return f" in {round_name(facts['round'])} ({facts['phase']}{ahead})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _decimal(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"


def run_facts(run: RunDir) -> dict[str, Any]:
    """status.json, brought up to date by the journal and the lock.

    marked: labels that are saved but not learned, by round.
    rounds: labels, share of good ones, mean reward and note of each finished round, and figures of
    each prompt where there are several.
    labels_file: the template of the round that waits for `hero label`, if one does.
    state: "new", "running", "waiting" (for labels), "stopped", "interrupted" (its process died),
    "finished", "failed".
    """
    seen = run.opened()
    facts: dict[str, Any] = {
        **{
            name: getattr(seen, name)
            for name in ("run", "task", "prompt", "prompts", "model", "budget")
        },
        "state": "new",
        "round": seen.round,
        "phase": "sampling",
        "labels": seen.labels_used,
        **run.status(),
    }
    facts["run"] = str(run.path)
    facts["labelled_in_round"] = labels_of(run, facts["round"]).labelled
    facts["marked"] = _marked(run)
    facts["labels_file"] = _labels_file(run)
    facts["rounds"] = rounds_of(run)
    if run.in_use():
        facts["state"] = "running"
    elif facts["state"] == "running":
        facts["state"] = "interrupted"
    return facts


def _marked(run: RunDir) -> dict[int, int]:
    if not run.journal_path.exists():
        return {}
    with reading(run) as journal:
        return marks_not_learned(journal, run.settings.batch)


def _labels_file(run: RunDir) -> str | None:
    """The template of the round that waits for labels."""
    round = run.waiting()
    path = None if round is None else template_path(run, round)
    return str(path) if path is not None and path.exists() else None


def rounds_of(run: RunDir) -> list[dict[str, Any]]:
    """The finished rounds. HeroError, exit code 4, if the journal cannot be read."""
    if not run.journal_path.exists():
        return []
    with reading(run) as journal:
        found = journal.metrics()
    keep = ("round", "labels", "good", "reward_mean", "note")
    return [
        {name: each[name] for name in keep}
        | {"good_share": RoundFinished(**each).good_share}
        | ({"prompts": each["prompts"]} if each.get("prompts") else {})
        for each in found
    ]


def labels_of(run: RunDir, round: int) -> Labels:
    """A round's labels so far. HeroError, exit code 4, if the journal cannot be read."""
    if not run.journal_path.exists():
        return Labels((None,) * run.settings.batch)
    with reading(run) as journal:
        return run.labels(journal, round)


def reading(run: RunDir) -> Journal:
    """Open the run's journal to read. HeroError, exit code 4, if it cannot be read."""
    return Journal.reading(run.journal_path)


def show(name: str | None, round: int | None) -> None:
    """Print a round's images with their labels, row by row."""
    run = open_run(name)
    if run.journal_path.exists():
        with reading(run) as journal:
            at = journal.current()
            chosen = round if round is not None else at[0] if at else 0
            pictures = journal.images(chosen)
            drawn = [each for each in journal.rounds() if journal.images(each)]
    else:
        chosen, pictures, drawn = round or 0, {}, []
    if not pictures:
        only = f", only of {rounds_name(drawn)}" if drawn else ""
        raise HeroError(
            f"{run.path} has no images of {round_name(chosen)}{only}", exit_code=ExitCode.RUN
        )
    labels = labels_of(run, chosen)
    columns = shutil.get_terminal_size().columns
    per_row = max(1, columns // TILE_COLUMNS)
    say(f"{round_name(chosen)}: {len(labels.goods)} good of {labels.labelled} labelled")
    indices = list(pictures)
    for start in range(0, len(indices), per_row):
        row = indices[start : start + per_row]
        print_picture(
            _sheet([run.path / pictures[index] for index in row]), len(row) * TILE_COLUMNS
        )
        say("".join(f"{caption(labels, index):<{TILE_COLUMNS}}" for index in row).rstrip())


def caption(labels: Labels, index: int) -> str:
    """An image's number, as in the app, and its label."""
    words = {True: "good", False: "bad", None: "-"}
    return f"{number(index)} {'best' if index in labels.bests else words[labels.good[index]]}"


def _sheet(paths: list[Path]) -> Image:
    """Pictures side by side, each with its own proportions."""
    from PIL import Image, ImageOps

    sheet = Image.new("RGB", (len(paths) * SHEET_TILE, SHEET_TILE))
    for place, path in enumerate(paths):
        box = (SHEET_TILE - GAP, SHEET_TILE - GAP)
        small = ImageOps.contain(read_png(path), box, Image.Resampling.BICUBIC)
        sheet.paste(small, (place * SHEET_TILE, 0))
    return sheet


def print_picture(picture: Image, columns: int) -> None:
    """Print a picture `columns` cells wide: in graphics on a terminal, in characters elsewhere."""
    from hero_tui.graphics.detect_terminal import is_old_kitty
    from hero_tui.graphics.picture_text import picture_text

    terminal = _coloured_terminal()
    old_kitty = terminal is not None and is_old_kitty(terminal.name) and not terminal.tmux
    text = _by_term_image(picture, columns) if old_kitty else None
    data(text or picture_text(picture, columns, terminal))


def _by_term_image(picture: Image, columns: int) -> str | None:
    """The picture for a kitty without Unicode placeholders, which hero's own painter needs.

    None without term-image (Python 3.14 has no wheel of the Pillow it needs). Imported only here:
    it replaces multiprocessing.Process, and would ask the terminal questions of its own.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import term_image
            from term_image.image import KittyImage
    except ImportError:
        return None
    term_image.disable_queries()
    term_image.set_cell_ratio(0.5)
    KittyImage.forced_support = True
    return str(KittyImage(picture, width=columns))


@cache
def _coloured_terminal() -> Terminal | None:
    """The terminal on stdout, asked once; None for a file, or where colours are not wanted."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("NO_COLOR"):
        return None
    from hero_tui.terminal.ask_terminal import COMMAND_DEADLINE, ask

    return ask(1, 0, os.environ, deadline=COMMAND_DEADLINE).answers.terminal
