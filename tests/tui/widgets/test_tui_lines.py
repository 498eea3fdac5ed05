"""The lines of text: what the status line leaves out first, charts, rate, title and bell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import opened
from hypothesis import given
from hypothesis import strategies as st

from hero_engine.core.events import PhaseStarted, Progress, RoundFinished
from hero_tui.screens.progress_screen import charts
from hero_tui.session.chart_readings import MEANING, reading
from hero_tui.session.labelling_rate import LabellingRate
from hero_tui.session.past_rounds import rows_shown, window
from hero_tui.session.run_state import RunState
from hero_tui.terminal.attention import GIVE_TITLE_BACK, KEEP_TITLE, Attention
from hero_tui.widgets.line_chart import Canvas, Chart, Series, bars, extent, number, wrapped
from hero_tui.widgets.status_line import status_line


def finished(round: int, **metrics: float) -> RoundFinished:
    return RoundFinished(
        round=round,
        labels=64,
        good=10 * (round + 1),
        unlabelled=0,
        labels_total=64 * (round + 1),
        reward_mean=0.5,
        reward_std=0.1,
        updated=True,
        note="",
        seconds={"sample": 2.0, "embed": 1.0, "update": 4.0},
        metrics=metrics,
    )


def running() -> RunState:
    state = RunState(opened=opened(Path("run"), batch=64))
    for event in (finished(0), finished(1), PhaseStarted(2, "training")):
        state = state.after(event)
    state = state.after(Progress(2, "training", "update", 3, 10, 75.0))
    return replace(state, per_minute=34.4)


def test_the_status_line_shows_everything_that_fits() -> None:
    line = status_line(running(), 140).plain
    assert line == (
        "hands  round 3  128/512 labels  good ▂▃ 31%  reward 0.50  "
        "learning, step 2 of 3, about 1:17 to the next pictures  34 labels/min"
    )


@given(st.integers(1, 200))
def test_the_status_line_fits_and_keeps_the_phase_longest(width: int) -> None:
    line = status_line(running(), width)
    assert "learning" in line.plain
    assert line.cell_length <= width or line.plain == "learning 1:17"


def test_pace_counts_only_the_minutes_of_labelling() -> None:
    now = [0.0]
    rate = LabellingRate(lambda: now[0])
    rate.worked()
    assert rate.per_minute is None
    for _ in range(6):
        now[0] += 5
        rate.worked(4)
    assert rate.per_minute == pytest.approx(48)
    now[0] += 3600
    rate.worked(0)
    assert rate.per_minute == pytest.approx(24 / 50 * 60)
    rate.rest()
    now[0] += 3600
    rate.worked(0)
    assert rate.per_minute == pytest.approx(24 / 50 * 60)


def test_title_and_bell_are_written_and_taken_back() -> None:
    written: list[str] = []
    attention = Attention(written.append, bell=True)
    assert attention.farewell() == ""
    state = replace(running(), opened=opened(Path("run"), batch=64))
    attention.show(state)
    attention.show(state)
    attention.show(state.after(PhaseStarted(3, "labelling")))
    attention.ring()
    assert written == [
        f"{KEEP_TITLE}\x1b]2;hero: hands, round 3 is learned from\x1b\\",
        "\x1b]2;hero: hands, round 4 is ready\x1b\\",
        "\x07",
    ]
    assert attention.farewell() == GIVE_TITLE_BACK
    quiet = Attention(written.append, bell=False)
    quiet.ring()
    assert len(written) == 3


def test_a_task_cannot_write_to_the_terminal_through_the_title() -> None:
    written: list[str] = []
    hostile = replace(opened(Path("run"), batch=64), task="a\x1b]52;c;QQ==\x07b")
    Attention(written.append, bell=True).show(RunState(opened=hostile))
    assert written == [f"{KEEP_TITLE}\x1b]2;hero: a?]52;c;QQ==?b\x1b\\"]


def test_a_chart_has_its_extremes_at_its_edges() -> None:
    canvas = Canvas(3, 2)
    canvas.line((0, 7), (5, 0), "accent")
    assert canvas.row(0).plain == "⠀⢀⠎"
    assert canvas.row(1).plain == "⡰⠁⠀"
    canvas.dot(99, 0, "accent")
    canvas.cross(0, 0, "accent")
    assert canvas.row(0).plain == "⠋⢀⠎"
    assert extent([Series(((0, 1.0), (1, None), (2, 3.0)))]) == (1.0, 3.0)
    assert extent([Series(((0, 2.0),))]) == (1.5, 2.5)


@given(st.floats(-1e9, 1e9))
def test_a_number_of_a_chart_is_short_and_near(value: float) -> None:
    text = number(value)
    assert len(text.lstrip("-")) <= 6
    assert float(text) == pytest.approx(value, rel=0.51, abs=0.0006)


def test_the_charts_are_those_that_the_update_has_figures_for() -> None:
    policy = [finished(0, clip_fraction=0.5, ratio_mean=1.1, approx_kl=1e-6, loss=0.1)]
    other = [finished(0, loss=0.1, prediction_change=0.2, diversity=1.0, reward_auc=0.8)]
    assert [chart.heading for chart in charts(policy)] == [
        "good",
        "reward",
        "clipped",
        "ratio - 1",
        "KL estimate",
    ]
    assert [chart.heading for chart in charts(other)] == [
        "good",
        "reward",
        "ranked right",
        "diversity",
        "loss",
        "model's change",
    ]


def test_bars_are_as_long_as_their_values() -> None:
    lines = bars([("a", 2.0, "2 s"), ("bc", 1.0, "1 s"), ("d", 0.0, "0 s")], 8).plain.splitlines()
    assert lines == ["a  ████████ 2 s", "bc ████ 1 s", "d   0 s"]


@given(st.integers(0, 50), st.integers(1, 20), st.integers(-3, 60))
def test_the_gallery_keeps_the_first_round_and_shows_no_gap(
    count: int, room: int, back: int
) -> None:
    shown = window(count, room, back)
    assert len(shown) == min(count, room)
    assert len(set(shown)) == len(shown)
    assert all(0 <= index < count for index in shown)
    assert shown == sorted(shown)
    if count and room > 1:
        assert shown[0] == 0
    if back <= 0 and count:
        assert shown[-1] == count - 1


def test_the_gallery_shows_at_least_one_noise_and_no_more_than_there_are() -> None:
    assert [rows_shown(room, 4, 7) for room in (5, 14, 21, 100)] == [2, 2, 3, 5]
    assert rows_shown(100, 1, 7) == 2


def test_every_reading_of_a_chart_fits_two_rows_of_a_narrow_chart() -> None:
    """At 80 columns three charts lie side by side, 24 columns each."""
    for title in MEANING:
        for values in ([0.5], [0.2, 0.9], [0.9, 0.2], [0.5, 0.5]):
            said = reading(title, values)
            assert said and len(wrapped(said, 24)) <= 2, said


def test_a_small_change_does_not_fill_a_chart_and_two_rounds_are_bars() -> None:
    reward = Series(((0, 0.95), (1, 0.94), (2, 0.92)))
    low, high = Chart("reward", [reward], least_span=0.25).range
    assert low <= 0.92 and high >= 0.95 and high - low == pytest.approx(0.25)
    assert extent([Series(((0, 0.01), (1, 0.02)))], 0.25)[0] == 0.0
    few = Chart("good", [Series(((0, 0.5), (1, 0.25)))], 0.0)
    rows = [row.plain.split() for row in few._bars(28)]
    assert [(row[:2], row[-1]) for row in rows] == [
        (["round", "1"], "0.50"),
        (["round", "2"], "0.25"),
    ]
    assert len(rows[0][2]) == 2 * len(rows[1][2])
    loss = Chart("loss", [Series(((0, 0.49), (1, 0.48)))], least_span=0.25)
    one, two = (row.plain.count("█") for row in loss._bars(28))
    assert two > 10 and abs(one - two) <= 1
