"""Which events are emitted, when, and which are stored."""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from event_json import from_json
from tiny_runs import new_run, tiny_settings

from hero_engine.core.errors import StopRequested
from hero_engine.core.events import (
    Event,
    Failed,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    RoundFinished,
)
from hero_engine.storage.run_folder import RunDir
from hero_engine.training import progress_reports as reporting
from hero_engine.training.progress_reports import REPORT_INTERVAL, Meter, Reporter


class Clock:
    """Stands in for the time module in `reporting`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """As far as the test has turned it."""
        return self.now

    def time(self) -> float:
        """The same."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reporting, "time", clock)
    return clock


@pytest.fixture
def told() -> list[Any]:
    return []


@pytest.fixture
def meter(told: list[Any]) -> Meter:
    return Meter(told.append, lambda: None, 2, "training", "update")


@pytest.fixture
def folder(tmp_path: Path) -> RunDir:
    return new_run(tmp_path / "run", tiny_settings(tmp_path, labels=30))


def test_progress_is_throttled_and_its_last_event_always_emitted(
    clock: Clock, meter: Meter, told: list[Any]
) -> None:
    """1000 steps of a hundredth of a second: emitted as often as the throttle allows."""
    for done in range(1, 1001):
        meter(done, 1000)
        clock.now += 0.01
    steps = [event.done for event in told]
    assert (steps[0], steps[-1]) == (1, 1000)
    apart = round(REPORT_INTERVAL / 0.01)
    assert all(apart <= after - before <= apart + 1 for before, after in pairwise(steps[:-1]))
    assert told[-1] == Progress(2, "training", "update", 1000, 1000, 0.0)
    told.clear()
    clock.now += REPORT_INTERVAL
    meter(500, 1000)
    clock.now += REPORT_INTERVAL / 100
    meter(501, 1000)
    meter(1000, 1000)
    assert [event.done for event in told] == [500, 1000]


def test_seconds_left_at_a_steady_rate(clock: Clock, meter: Meter, told: list[Any]) -> None:
    """2 seconds a step; the first call is the beginning, so nothing is known then."""
    for done in range(1, 11):
        meter(done, 10)
        clock.now += 2
    assert [event.seconds_left for event in told] == [None, *range(16, -1, -2)]


def test_a_resumed_step_counts_from_where_it_began(
    clock: Clock, meter: Meter, told: list[Any]
) -> None:
    """48 of 64 pictures lay there already; each denoising step of the last 16 takes 3 seconds."""
    for step in range(1, 5):
        meter.at(48 + 16 * step / 4, 64)
        clock.now += 3
    assert [(event.done, event.total) for event in told] == [(52, 64), (56, 64), (60, 64), (64, 64)]
    assert [event.seconds_left for event in told] == [None, 6, 3, 0]


def test_parts_of_a_picture_are_rounded_down(clock: Clock, meter: Meter, told: list[Any]) -> None:
    for step in range(1, 4):
        meter.at(2 * step / 3, 6)
        clock.now += 1
    assert [event.done for event in told] == [0, 1, 2]


def test_a_stop_comes_before_any_report(clock: Clock, told: list[Any]) -> None:
    def stop() -> None:
        raise StopRequested

    with pytest.raises(StopRequested):
        Meter(told.append, stop, 0, "sampling", "sample")(1, 1)
    assert told == []


def finished(**changes: Any) -> RoundFinished:
    values: dict[str, Any] = {
        "round": 1,
        "labels": 4,
        "good": 3,
        "unlabelled": 2,
        "labels_total": 10,
        "reward_mean": 0.5,
        "reward_std": 0.25,
        "updated": True,
        "note": "odd",
    }
    return RoundFinished(**(values | changes))


@pytest.mark.parametrize(
    ("labels", "good", "unlabelled", "share"),
    [
        (64, 16, 0, 0.25),
        (64, 64, 0, 1.0),
        (20, 5, 44, 0.25),  # labels of both kinds
        (60, 60, 4, 1.0),
        (10, 10, 54, None),  # five good ones a page, the rest left out
        (10, 0, 54, None),
        (0, 0, 64, None),
    ],
)
def test_a_share_of_good_is_reported_if_labels_determine_it(
    labels: int, good: int, unlabelled: int, share: float | None
) -> None:
    assert finished(labels=labels, good=good, unlabelled=unlabelled).good_share == share


def test_status_follows_every_event(folder: RunDir, clock: Clock) -> None:
    reporter = Reporter(folder, lambda event: None)
    wanted: dict[str, Any] = {"pid": os.getpid()}
    happened: list[tuple[Event, dict[str, Any]]] = [
        (
            folder.opened(),
            {
                "run": str(folder.path),
                "task": "tiny",
                "prompt": "a",
                "model": folder.settings.model,
                "update": "ddpo",
                "preset": "paper",
                "batch": 6,
                "budget": 30,
                "state": "running",
                "round": 0,
                "labels": 0,
            },
        ),
        (PhaseStarted(1, "sampling"), {"round": 1, "phase": "sampling", "pictures": 0}),
        (ImagesReady(1, (2, 3), ("2.png", "3.png")), {"pictures": 4}),
        (PhaseStarted(1, "labelling"), {"phase": "labelling", "pictures": 0}),
        (
            finished(),
            {"phase": "done", "labels": 10, "good_share": 0.75, "reward_mean": 0.5, "note": "odd"},
        ),
        (finished(labels=0, good=0, reward_mean=None), {"good_share": None, "reward_mean": None}),
        (Finished("run", 2, 10, "stopped"), {"state": "stopped"}),
        (Finished("run", 2, 10, "budget"), {"state": "finished"}),
        (Finished("run", 2, 10, "rounds"), {"state": "finished"}),
        (Failed("broken", 3), {"state": "failed", "error": "broken"}),
    ]
    for event, changes in happened:
        clock.now += 1
        reporter.emit(event)
        wanted |= changes | {"updated": clock.now}
        assert folder.status() == wanted


def test_of_a_round_drawn_ahead_the_status_says_only_how_much_is_there(folder: RunDir) -> None:
    reporter = Reporter(folder, lambda event: None)
    at_hand: list[tuple[Any, ...]] = []
    for event in (
        folder.opened(),
        PhaseStarted(0, "labelling"),
        PhaseStarted(1, "sampling"),
        ImagesReady(1, (0, 1, 2), ("a", "b", "c")),
        PhaseStarted(1, "labelling"),
        PhaseStarted(0, "training"),
        finished(),
        PhaseStarted(1, "labelling"),
    ):
        reporter.emit(event)
        status = folder.status()
        at_hand.append((status["round"], status.get("phase"), status.get("pictures_ahead")))
    assert at_hand == [
        *((0, None, None), (0, "labelling", None), (0, "labelling", 0), (0, "labelling", 3)),
        *((0, "labelling", 3), (0, "training", 3), (0, "done", None), (1, "labelling", None)),
    ]


def test_events_are_on_the_disk_before_they_are_delivered(folder: RunDir) -> None:
    """Progress is not kept."""
    told: list[Event] = []

    def deliver(event: Event) -> None:
        told.append(event)
        kept = [each for each in told if not isinstance(each, Progress)]
        assert [from_json(line) for line in lines()] == kept

    def lines() -> list[str]:
        return (folder.path / "events.jsonl").read_text("utf-8").splitlines()

    reporter = Reporter(folder, deliver)
    for event in (
        folder.opened(),
        PhaseStarted(0, "sampling"),
        Progress(0, "sampling", "sample", 1, 6, 2.5),
        ImagesReady(0, (0, 1), ("a", "b\n\u00e9")),
        finished(metrics={"loss": 0.5}, seconds={"sample": 1.0}),
        Finished("run", 1, 6, "stopped", "why"),
        Failed("broken", 1),
    ):
        reporter.emit(event)
    assert len(told) == 7 and len(lines()) == 6
    assert all(isinstance(json.loads(line), dict) for line in lines())
