"""Charts of the run so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from textual.app import ComposeResult
from textual.containers import Grid
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from hero_engine.core.events import RoundFinished
from hero_engine.core.numbering import round_name
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.session.run_state import RunState
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.line_chart import Chart, Series, bars
from hero_tui.widgets.text_line import TextLine, clock

BAR = 8
STEPS = {"sample": "drawing", "embed": "comparing", "update": "learning", "self_train": "trying"}


class ProgressScreen(Screen[None], inherit_bindings=False):
    """What the finished rounds come to; it follows the run while it is open."""

    place = keymap.PROGRESS

    def __init__(self, keys: Keymap, state: RunState) -> None:
        super().__init__()
        self._bindings = keys.bindings(keymap.PROGRESS)
        self._keys, self._state = keys, state

    def compose(self) -> ComposeResult:
        """A title, charts side by side, the keys."""
        title = TextLine(id="progress-title")
        title.show(_title(self._state))
        yield title
        yield self._charts()
        yield KeyFooter(self._keys.footer(keymap.PROGRESS), id="keys")

    def show_state(self, state: RunState) -> None:
        """Another round may be done: draw again."""
        rounds_before, self._state = len(self._state.rounds), state
        if len(state.rounds) != rounds_before:
            self.refresh(recompose=True)

    def action_leave(self) -> None:
        """Back to where it was asked for."""
        self.dismiss()

    def _charts(self) -> Widget:
        rounds = self._state.rounds
        if not rounds:
            none = Content.assemble(("Charts begin with the first round done.", "$quiet"))
            return Static(none, id="no-charts")
        return Grid(*charts(rounds), Static(seconds(rounds[-1])), id="charts")


def _title(state: RunState) -> Content:
    budget = f" of {state.budget}" if state.budget else ""
    rounds = f"{len(state.rounds)} round{'s' * (len(state.rounds) != 1)} done"
    return Content.assemble((f"{rounds}, {state.labels}{budget} labels", "bold $accent"))


def charts(rounds: Sequence[RoundFinished]) -> Iterator[Chart]:
    """Those that these rounds have figures for: of the policy gradient, or of another update."""

    def series(read: Callable[[RoundFinished], float | None], colour: str = "accent") -> Series:
        return Series(tuple((float(each.labels_total), read(each)) for each in rounds), colour)

    def metric(key: str, colour: str = "accent", minus: float = 0.0) -> Series:
        return series(
            lambda each: each.metrics[key] - minus if key in each.metrics else None, colour
        )

    agreement = [metric("predicted_reward_auc", "quiet"), metric("reward_auc", "success")]
    known = [
        Chart("good", [series(lambda each: each.good_share, "success")], 0.0),
        Chart("reward", [series(lambda each: each.reward_mean, "warning")]),
        Chart("ranked right", agreement, 0.0),
        Chart("diversity", [metric("diversity")]),
    ]
    policy = [
        Chart("clipped", [metric("clip_fraction")], 0.0),
        Chart("ratio - 1", [metric("ratio_mean", minus=1.0)]),
        Chart("KL estimate", [metric("approx_kl")]),
    ]
    if not any(map(has_points, policy)):
        policy = [
            Chart("loss", [metric("loss")]),
            Chart("model's change", [metric("prediction_change")]),
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
