"""The lines around the pictures: what the run is about, where it stands, what just happened."""

from __future__ import annotations

from textual.content import Content

from hero_tui.desk import Desk
from hero_tui.run_state import RunState
from hero_tui.widgets.line import clock, progress_bar, sparkline

PHASES = {
    "opening": "opening the model",
    "sampling": "drawing pictures",
    "labelling": "your turn",
    "training": "learning",
    "done": "round done",
    "finished": "finished",
    "failed": "failed",
}
STEPS = {"sample": "drawing", "embed": "comparing", "update": "learning"}
BAR = 16
ROUNDS_SHOWN = 8
"""Rounds the sparkline has room for on 80 columns; the newest stay."""


def headline(state: RunState) -> Content:
    """Program, task and prompt."""
    run = state.opened
    if run is None:
        return Content.assemble(("hero", "bold $accent"))
    return Content.assemble(
        ("hero", "bold $accent"), "  ", (run.task, "bold"), "  ", (f"“{run.prompt}”", "$quiet")
    )


def criterion(state: RunState) -> Content:
    """What counts as good."""
    text = state.opened.success if state.opened else ""
    return Content.assemble(("good: ", "$quiet"), text) if text else Content("")


def phase(state: RunState) -> Content:
    """Round and phase."""
    doing = "stopping" if state.stopping else PHASES.get(state.phase, state.phase)
    return Content.assemble((f"round {state.round + 1}", "bold"), "  ", (doing, "$accent"))


def tally(desk: Desk) -> Content:
    """What the marks of this round come to: in one style, since every mark sends it."""
    if not desk.count:
        return Content("")
    marks = desk.session.marks
    labelled = desk.count - marks.labels.count(None)
    return Content(f"{len(marks.goods)} good, {labelled}/{desk.count} labelled")


def advice(state: RunState, desk: Desk) -> Content:
    """What to do now, when nothing else is to be said."""
    if state.finished is not None:
        return Content(f"The run has used its {state.labels} labels. Enter or Ctrl+Q leaves.")
    if desk.submitted:
        return Content.assemble((state.note or "Handed in. Look around meanwhile.", "$quiet"))
    if desk.pictures and not state.shares:
        return Content.assemble(("Mark the good ones; Enter makes the rest bad.", "$quiet"))
    return Content("")


def history(state: RunState) -> Content:
    """The share of good over the rounds."""
    known = [share for share in state.shares if share is not None]
    if not known:
        return Content("")
    return Content.assemble(
        ("good ", "$quiet"),
        (sparkline(state.shares[-ROUNDS_SHOWN:]), "$success"),
        (f" {known[-1]:.0%}", "bold"),
    )


def position(state: RunState, page: int, pages: int) -> Content:
    """Labels used of the budget, and the page."""
    budget = f"{state.labels}/{state.budget} labels   " if state.budget else ""
    return Content.assemble((budget, "$quiet"), f"page {page + 1}/{pages}")


def activity(state: RunState) -> Content:
    """What the engine is doing, how far, and how long it will take."""
    progress = state.progress
    if progress is None or not state.busy:
        return Content("")
    left = "" if progress.seconds_left is None else f"  {clock(progress.seconds_left)} left"
    return Content.assemble(
        (STEPS.get(progress.step, progress.step), "$quiet"),
        " ",
        progress_bar(progress.done, progress.total, BAR),
        (f" {progress.done}/{progress.total}{left}", "$quiet"),
    )
