"""Charts of the run so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from textual.app import ComposeResult
from textual.containers import Grid
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from hero_engine.core.events import RoundFinished
from hero_engine.core.numbering import counted, round_name
from hero_engine.core.sanitize import sanitized
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.chart_readings import reading
from hero_tui.session.prompt_rounds import rounds_of_prompt
from hero_tui.session.run_state import RunState
from hero_tui.widgets.line_chart import Chart, Series, bars
from hero_tui.widgets.status_line import STEPS
from hero_tui.widgets.text_line import TextLine, clock

ALL = -1
"""In place of a prompt's number."""

BAR = 8
PART_OF_LARGEST = 0.5
"""The least span of the other charts, as a part of their largest value: a loss that falls from 0.49
to 0.48 is level."""

LEAST_SPAN = {"reward": 0.25, "diversity": 0.5}
"""A smaller change than this does not fill a chart."""


class ProgressScreen(BaseScreen[None], inherit_bindings=False):
    """Charts of the finished rounds; they follow the run while the screen is open.

    In a run with several prompts: of all of them, or of one alone.
    """

    place = keymap.PROGRESS

    def __init__(self, keys: Keymap, state: RunState) -> None:
        several = len(state.plan) > 1
        super().__init__(keys if several else keys.without(keymap.PROMPT_ACTIONS), state)
        self._shown = ALL

    def compose(self) -> ComposeResult:
        """A title, charts side by side, the keys."""
        yield from self.status_row()
        title = TextLine(id="progress-title")
        title.show(*self._heading())
        yield title
        yield self._charts()
        yield from self.key_row()

    def show_state(self, state: RunState) -> None:
        """Another round may be done: draw again."""
        rounds_before = len(self._state.rounds)
        super().show_state(state)
        if len(state.rounds) != rounds_before:
            self.refresh(recompose=True)

    def action_leave(self) -> None:
        """Back to where it was asked for."""
        self.dismiss()

    def action_on(self) -> None:
        """Charts of the next prompt; after the last one, of all."""
        self._turn(1)

    def action_back(self) -> None:
        """Charts of the prompt before; before the first one, of all."""
        self._turn(-1)

    def _turn(self, step: int) -> None:
        prompts = len(self._state.plan)
        if prompts > 1:
            self._shown = (self._shown + 1 + step) % (prompts + 1) - 1
            self.refresh(recompose=True)

    def _heading(self) -> tuple[Content, Content]:
        """The run so far; in a run with several prompts, whose charts these are before it."""
        prompts, so_far = self._state.plan.names, _title(self._state)
        if len(prompts) < 2:
            return so_far, Content("")
        if self._shown == ALL:
            return Content.styled(f"all {len(prompts)} prompts", "bold"), so_far
        number = f"prompt {self._shown + 1} of {len(prompts)}: "
        return Content.assemble((number, "bold"), sanitized(prompts[self._shown])), so_far

    def _charts(self) -> Widget:
        rounds = self._state.rounds
        if not rounds:
            none = Content.assemble(("Charts begin with the first finished round.", "$quiet"))
            return Static(none, id="no-charts")
        if self._shown != ALL:
            of_prompt = rounds_of_prompt(rounds, self._shown)
            if not of_prompt:
                none = Content.styled("No finished round has pictures of this prompt.", "$quiet")
                return Static(none, id="no-charts")
            return Grid(*charts(of_prompt), id="charts")
        return Grid(*charts(rounds), Static(seconds(rounds[-1])), id="charts")


def _title(state: RunState) -> Content:
    budget = f" of {state.budget}" if state.budget else ""
    rounds = counted(len(state.rounds), "round")
    return Content.assemble((f"{rounds} done, {state.labels}{budget} labels", "bold $accent"))


def charts(rounds: Sequence[RoundFinished]) -> Iterator[Chart]:
    """The charts that these rounds have figures for, by the update that made them."""

    def series(read: Callable[[RoundFinished], float | None], colour: str = "accent") -> Series:
        return Series(tuple((float(each.labels_total), read(each)) for each in rounds), colour)

    def metric(key: str, colour: str = "accent", minus: float = 0.0) -> Series:
        return series(
            lambda each: each.metrics[key] - minus if key in each.metrics else None, colour
        )

    def chart(title: str, lines: list[Series], low: float | None = None) -> Chart:
        values = [y for _, y in lines[-1].points if y is not None]
        least = LEAST_SPAN.get(title) or PART_OF_LARGEST * max(map(abs, values), default=0.0)
        return Chart(title, lines, low, least_span=least, reading=reading(title, values))

    agreement = [metric("predicted_reward_auc", "quiet"), metric("reward_auc", "success")]
    known = [
        chart("good", [series(lambda each: each.good_share, "success")], 0.0),
        chart("reward", [series(lambda each: each.reward_mean, "warning")]),
        chart("ranked right", agreement, 0.0),
        chart("diversity", [metric("diversity")]),
    ]
    policy = [
        chart("clipped", [metric("clip_fraction")], 0.0),
        chart("ratio - 1", [metric("ratio_mean", minus=1.0)]),
        chart("KL estimate", [metric("approx_kl")]),
    ]
    if not any(map(has_points, policy)):
        policy = [
            chart("loss", [metric("loss")]),
            chart("model's change", [metric("prediction_change")]),
        ]
    return filter(has_points, [*known, *policy])


def has_points(chart: Chart) -> bool:
    """Whether there is anything to draw."""
    return any(each.last is not None for each in chart.series)


def seconds(last: RoundFinished) -> Content:
    """Where the last round's time went."""
    values = [
        (STEPS.get(step, step), value, clock(value) if value >= 60 else f"{value:.1f} s")
        for step, value in last.seconds.items()
    ]
    title = Content.assemble((f"time of {round_name(last.round)}", "bold"))
    return Content("\n").join([title, bars(values, BAR)])
