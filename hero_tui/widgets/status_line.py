"""The lines around the pictures: what the run is about, where it stands, what just happened."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from hero_engine.core.numbering import round_name
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.run_state import RunState
from hero_tui.widgets.text_line import clock, progress_bar, sparkline

PHASES = {
    "opening": "opening the model",
    "sampling": "drawing",
    "labelling": "your turn",
    "training": "learning",
    "done": "round done",
    "finished": "finished",
    "failed": "failed",
}
AHEAD = "drawing the next"
STEPS = {"sample": "drawing", "embed": "comparing", "update": "learning", "self_train": "trying"}
BAR = 12
ROUNDS_SHOWN = 8
"""Rounds of the sparkline on 80 columns; a wider line has more, the newest."""
ENOUGH = 0.9
"""Share of good among a round's pictures from which on there is variety to lose, little to win."""

SPACE = "  "


@dataclass(frozen=True)
class Piece:
    """A piece of the status line; those with the highest number are left out first."""

    content: Content
    dispensable: int


def status_line(state: RunState, per_minute: float | None, width: int) -> Content:
    """Task, round, budget, share of good, reward, phase and time left, labels a minute.

    As much of it as fits into `width` cells, in this order.
    """
    pieces = _pieces(state, per_minute, ROUNDS_SHOWN + max(0, width - 80) // 4)
    while len(pieces) > 1 and _width(pieces) > width:
        pieces.remove(max(pieces, key=lambda piece: piece.dispensable))
    return Content(SPACE).join([piece.content for piece in pieces])


def _width(pieces: list[Piece]) -> int:
    return sum(piece.content.cell_length for piece in pieces) + len(SPACE) * (len(pieces) - 1)


def _pieces(state: RunState, per_minute: float | None, rounds: int) -> list[Piece]:
    reward = state.rounds[-1].reward_mean if state.rounds else None
    pieces = [
        Piece(Content.assemble((state.opened.task if state.opened else "hero", "bold $accent")), 3),
        Piece(Content.assemble((round_name(state.round), "bold")), 1),
        Piece(Content(f"{state.labels}/{state.budget}" if state.budget else ""), 4),
        Piece(history(state, rounds), 2),
        Piece(Content("" if reward is None else f"reward {reward:.2f}"), 6),
        Piece(phase(state), 0),
        Piece(Content("" if per_minute is None else f"{per_minute:.0f}/min"), 5),
    ]
    return [piece for piece in pieces if piece.content]


def phase(state: RunState) -> Content:
    """What the engine is at, and for how long still."""
    doing = "stopping" if state.stopping else PHASES.get(state.phase, state.phase)
    if state.elsewhere and state.phase == "sampling" and not state.stopping:
        doing = AHEAD
    progress = state.progress if state.busy else None
    seconds = None if progress is None else progress.seconds_left
    left = "" if seconds is None else f" {clock(seconds)} left"
    return Content.assemble((doing, "$accent"), left)


def history(state: RunState, rounds: int) -> Content:
    """The share of good over the newest rounds."""
    known = [share for share in state.shares if share is not None]
    if not known:
        return Content("")
    return Content.assemble(
        ("good ", "$quiet"),
        (sparkline(state.shares[-rounds:]), "$success"),
        (f" {known[-1]:.0%}", "bold"),
    )


def criterion(state: RunState) -> Content:
    """What counts as good, and the prompt."""
    run = state.opened
    if run is None:
        return Content("")
    good = (
        Content.assemble(("good: ", "$quiet"), run.success, SPACE) if run.success else Content("")
    )
    return Content.assemble(good, (f"“{run.prompt}”", "$quiet"))


def place(state: RunState, page: int, pages: int) -> Content:
    """How far the engine is with what it does, and the page."""
    progress = state.progress
    bar = Content("")
    if progress is not None and state.busy:
        bar = Content.assemble(
            (STEPS.get(progress.step, progress.step), "$quiet"),
            " ",
            progress_bar(progress.done, progress.total, BAR),
            (f" {progress.done}/{progress.total}{SPACE}", "$quiet"),
        )
    return Content.assemble(bar, f"page {page + 1}/{pages}")


def tally(labelling_round: LabellingRound) -> Content:
    """What the marks of this round come to: in one style, since every mark sends it."""
    if not labelling_round.count:
        return Content("")
    marks = labelling_round.session.marks
    labelled = labelling_round.count - marks.labels.count(None)
    return Content(f"{len(marks.goods)} good, {labelled}/{labelling_round.count} labelled")


def advice(state: RunState, labelling_round: LabellingRound) -> Content:
    """What to do now, when nothing else is to be said."""
    if state.finished is not None:
        return Content(f"The run has used its {state.labels} labels. Enter or Ctrl+Q leaves.")
    if labelling_round.submitted:
        return Content.assemble((state.note or "Handed in. LabelStyle around meanwhile.", "$quiet"))
    if labelling_round.pictures and not state.rounds:
        return Content.assemble(("Mark the good ones; Enter makes the rest bad.", "$quiet"))
    if labelling_round.pictures:
        last = state.rounds[-1]
        shown = last.labels + last.unlabelled
        if last.good >= ENOUGH * shown:
            said = f"{last.good} of {shown} were good; more rounds can cost variety."
            return Content.assemble((said, "$quiet"))
        return Content.assemble((last.note, "$quiet"))
    return Content("")
