"""The rows around the pictures: the run, its criterion, its progress, and what to do now."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from hero_engine.core.numbering import round_name
from hero_tui.keyboard.keymap import Keymap
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.noise_tags import LEGENDS
from hero_tui.session.run_state import RunState
from hero_tui.session.wait_estimate import Wait
from hero_tui.widgets.text_line import clock, fitting, progress_bar, sparkline

PHASES = {
    "opening": "opening the model",
    "sampling": "drawing",
    "labelling": "waiting",
    "training": "learning",
    "done": "round done",
    "finished": "finished",
    "failed": "failed",
}
YOUR_TURN, STILL_DRAWING = "your turn", ", still drawing"
MEANWHILE = {"sampling": ", drawing the next", "training": ", learning from the last"}
"""What the engine does with another round while one is labelled."""
STEPS = {
    "sample": "drawing",
    "embed": "fitting",
    "update": "updating",
    "self_train": "self-training",
}
BAR = 10
ROUNDS_SHOWN = 8
"""Rounds of the sparkline on 80 columns; a wider line has more, the newest."""
ENOUGH = 0.9
"""Share of good among a round's pictures from which on there is variety to lose, little to win."""

NO_PICTURES = {
    "opening": "The model is being opened; the first pictures follow.",
    "sampling": "The first pictures are being drawn.",
}
SPACE = "  "


@dataclass(frozen=True)
class Piece:
    """A piece of the status line; those with the highest number are left out first."""

    content: Content
    dispensable: int


def status_line(state: RunState, width: int) -> Content:
    """Task, round, budget, share of good, reward, phase and time left, labels a minute.

    As much of it as fits into `width` cells, in this order.
    """
    pieces = _pieces(state, ROUNDS_SHOWN + max(0, width - 80) // 4)
    while len(pieces) > 1 and _width(pieces) > width:
        pieces.remove(max(pieces, key=lambda piece: piece.dispensable))
    if _width(pieces) > width:
        return phase(state, brief=True)
    return Content(SPACE).join([piece.content for piece in pieces])


def _width(pieces: list[Piece]) -> int:
    return sum(piece.content.cell_length for piece in pieces) + len(SPACE) * (len(pieces) - 1)


def _pieces(state: RunState, rounds: int) -> list[Piece]:
    reward = state.rounds[-1].reward_mean if state.rounds else None
    pieces = [
        Piece(Content.assemble((state.opened.task if state.opened else "hero", "bold $accent")), 3),
        Piece(Content.assemble((round_name(state.round), "bold")), 1),
        Piece(Content(f"{state.labels}/{state.budget} labels" if state.budget else ""), 4),
        Piece(history(state, rounds), 2),
        Piece(Content("" if reward is None else f"reward {reward:.2f}"), 6),
        Piece(phase(state), 0),
        Piece(Content("" if state.per_minute is None else f"{state.per_minute:.0f} labels/min"), 5),
    ]
    return [piece for piece in pieces if piece.content]


def phase(state: RunState, *, brief: bool = False) -> Content:
    """Whether it is the person's turn, or how long they wait and for which step.

    brief: for a very narrow terminal.
    """
    if state.stopping:
        return Content.styled("stopping", "$accent")
    if state.your_turn and state.phase not in ("finished", "failed"):
        meanwhile = "" if brief else _meanwhile(state)
        return Content.assemble((YOUR_TURN, "bold $success"), (meanwhile, "$accent"))
    doing = Content.styled(PHASES.get(state.phase, state.phase), "$accent")
    return Content.assemble(doing, _wait(state.wait, brief))


def _meanwhile(state: RunState) -> str:
    """What the engine does while the person labels."""
    if state.elsewhere:
        return MEANWHILE.get(state.phase, "")
    return STILL_DRAWING if state.phase == "sampling" else ""


def _wait(wait: Wait | None, brief: bool) -> str:
    """The step, and the time until pictures: ", step 2 of 3, about 1:40 to the next pictures"."""
    if wait is None:
        return ""
    if brief:
        return "" if wait.seconds is None else f" {clock(wait.seconds)}"
    step = f", step {wait.step} of {wait.steps}" if wait.steps > 1 else ""
    if wait.seconds is None:
        return step
    time = f"about {clock(wait.seconds)}" if wait.seconds >= 1 else "a moment"
    return f"{step}, {time} to the next pictures"


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


def success(state: RunState) -> Content:
    """What counts as good."""
    run = state.opened
    if run is None or not run.success:
        return Content("")
    return Content.assemble(("good: ", "$quiet"), run.success)


def criterion(state: RunState, prompt: str = "") -> Content:
    """What counts as good, and the prompt: the run's, unless a picture's own is given."""
    run, good = state.opened, success(state)
    if run is None:
        return good
    return Content.assemble(good, SPACE if good else "", (f"“{prompt or run.prompt}”", "$quiet"))


def step_bar(state: RunState) -> Content:
    """Progress of the engine's step; empty while it computes nothing."""
    progress = state.progress
    if progress is None or not state.busy:
        return Content("")
    return Content.assemble(
        (STEPS.get(progress.step, progress.step), "$quiet"),
        " ",
        progress_bar(progress.done, progress.total, BAR),
        (f" {progress.done}/{progress.total}{SPACE}", "$quiet"),
    )


def second_row(
    state: RunState, place: str, width: int, prompt: str = ""
) -> tuple[Content, Content]:
    """Criterion and prompt at the left; the engine's step and the page at the right.

    On a narrow terminal the prompt gives way, then the step. prompt: of the current picture.
    """
    bar, page = step_bar(state), Content(place)
    with_bar = Content.assemble(bar, page)
    rows = [
        (criterion(state, prompt), with_bar),
        (success(state), with_bar),
        (criterion(state, prompt), page),
        (success(state), page),
    ]
    return fitting(width, rows)


def tally(labelling_round: LabellingRound) -> Content:
    """Counts of this round's marks; in one style, since every mark sends it."""
    if not labelling_round.count:
        return Content("")
    goods, labelled = len(labelling_round.session.marks.goods), labelling_round.marked
    return Content(f"{goods} good, {labelled}/{labelling_round.count} labelled")


def advice(state: RunState, labelling_round: LabellingRound, keys: Keymap) -> str:
    """What to do now, when there is no other message."""
    if state.finished is not None:
        return keys.told(
            "The run is finished. {commit} shows what to do next, {leave_hero} leaves."
        )
    if labelling_round.submitted:
        return state.note or "The round is submitted."
    if labelling_round.pictures and not state.rounds:
        return keys.told("Press the letter of every good one, then {commit}.")
    if not labelling_round.pictures:
        return NO_PICTURES.get(state.phase, "")
    legend = LEGENDS[labelling_round.usual_kind] if labelling_round.guided else ""
    return _after_round(state) or legend


def _after_round(state: RunState) -> str:
    """The note of the last round, or a warning once nearly all of its pictures were good."""
    last = state.rounds[-1]
    shown = last.labels + last.unlabelled
    if last.good >= ENOUGH * shown:
        return f"{last.good} of {shown} were good; more rounds can cost variety."
    return last.note
