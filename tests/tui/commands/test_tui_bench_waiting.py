"""`hero bench waiting`: sessions worked out by hand, the clock that skips, and what is printed."""

import pickle
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hero_engine.core.errors import HeroError, StopRequested
from hero_engine.core.events import Failed, Finished, ImagesReady, PhaseStarted, Progress
from hero_engine.storage.journal import Journal
from hero_tui.cli import run_command
from hero_tui.commands.bench.bench_waiting import facts, rows
from hero_tui.commands.bench.simulated_user import SessionTimes, SimulatedUser, UserTiming
from hero_tui.commands.bench.timed_session import TimedEngine
from hero_tui.session.labelling_round import LabellingRound

CHANCES = (0.2, 0.7, 0.9, 0.6)
"""Of the pictures of a round; above a half they are good."""

WITHOUT = {0: (5.0, 5.0, 10.0, 10.0), 1: (25.0, 25.0, 26.0, 26.0)}
"""When pictures come: two at a time; round 1 once the model learned from round 0."""

AHEAD = WITHOUT | {1: (14.0, 14.0, 16.0, 16.0)}
ACTIVITIES = [
    (0.0, "opening"),
    (3.0, "sampling"),
    (10.0, "labelling"),
    (17.0, "representation"),
    (19.0, "update"),
    (23.0, "sampling"),
    (26.0, "labelling"),
]


@dataclass
class ScriptedEngine:
    """An engine in which pictures come at times written down, and time passes when it is let."""

    arrivals: dict[int, tuple[float, ...]]
    time: float = 0.0
    submitted: dict[int, float] = field(default_factory=dict)

    def now(self) -> float:
        return self.time

    def picture(self, round: int, image: int) -> Path:
        self.time = max(self.time, self.arrivals[round][image])
        return Path(f"{image}.png")

    def spend(self, until: float) -> None:
        self.time = max(self.time, until)

    def submit(self, round: int) -> None:
        self.submitted[round] = self.time


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        for round in WITHOUT:
            journal.add_round(round)
        yield journal


def verdict(path: Path) -> tuple[bool, float]:
    chance = CHANCES[int(path.stem)]
    return chance > 0.5, chance


def labelled_session(
    journal: Journal, engine: ScriptedEngine, *, grace: float = 3.0
) -> SessionTimes:
    """Two rounds of four pictures, 2 s each."""
    person = SimulatedUser(LabellingRound(journal, Path()), engine, verdict, UserTiming(2.0, grace))
    times = person.label_rounds(2, 4)
    times.activities = ACTIVITIES
    return times


def test_waiting_is_the_time_without_a_picture_to_label(journal: Journal) -> None:
    """Labelled from 5 to 9 and from 10 to 14, taken back until 17; from 25 to 33."""
    engine = ScriptedEngine(WITHOUT)
    times = labelled_session(journal, engine)
    assert engine.submitted == {0: 17.0}
    assert (times.first, times.end, times.session) == (5.0, 33.0, 28.0)
    assert times.waited == 1 + 3 + 8
    assert times.share == 12 / 28 and times.share_with_first == 17 / 33
    assert {activity: spent for activity, spent in times.split().items() if spent} == {
        "sampling": 1 + 2,
        "undo window": 3,
        "representation": 2,
        "update": 4,
    }


def test_a_round_drawn_ahead_causes_no_wait(journal: Journal) -> None:
    times = labelled_session(journal, ScriptedEngine(AHEAD))
    assert (times.end, times.waited) == (25.0, 1 + 3)
    assert sum(times.split().values()) == times.waited


def test_a_second_enter_saves_the_time_to_take_back(journal: Journal) -> None:
    """Submitted at 14, when two pictures of round 1 are there; the others come at 16."""
    times = labelled_session(journal, ScriptedEngine(AHEAD), grace=0.0)
    assert (times.end, times.waited) == (22.0, 1)


def test_it_labels_as_the_app_does(journal: Journal) -> None:
    """The likeliest is the best; pages are committed; the last round is not submitted."""
    labelled_session(journal, ScriptedEngine(WITHOUT))
    for round in WITHOUT:
        labels = journal.labels(round, 4)
        assert labels.good == (False, True, True, True) and labels.best == 2
        assert [row.kind for row in journal.history(round)][-4:] == ["commit"] * 4
    assert journal.submitted(0) and not journal.submitted(1)


def engine_waits(engine: TimedEngine, round: int, journal: Journal) -> threading.Thread:
    """A thread that waits for a round's labels as the engine's does."""

    def label() -> None:
        try:
            engine.label(round, {}, journal)
        except StopRequested:
            engine.hear(Finished("run", round, 0, "stopped"))

    thread = threading.Thread(target=label)
    thread.start()
    return thread


def test_time_is_skipped_only_while_the_engine_waits(journal: Journal) -> None:
    engine = TimedEngine()
    engine.spend(engine.now() + 0.02)
    assert 0.02 <= engine.now() < 500
    thread = engine_waits(engine, 0, journal)
    engine.spend(1000.0)
    assert 1000.0 <= engine.now() < 1500
    engine.submit(0)
    thread.join()
    engine.spend(1000.02 + engine.now() - 1000.0)
    assert engine.now() < 1500


def test_in_real_time_nothing_is_skipped(journal: Journal) -> None:
    engine = TimedEngine(real_time=True)
    thread = engine_waits(engine, 0, journal)
    engine.spend(0.05)
    assert 0.05 <= engine.now() < 500
    engine.leave()
    thread.join()


def test_a_round_submitted_early_is_not_waited_for(journal: Journal) -> None:
    engine = TimedEngine()
    engine.submit(0)
    engine_waits(engine, 0, journal).join()


def test_pictures_come_with_events_and_none_after_the_end(journal: Journal) -> None:
    engine = TimedEngine()
    engine.hear(ImagesReady(0, (0, 1), ("a.png", "b.png")))
    assert [engine.picture(0, image) for image in (0, 1)] == [Path("a.png"), Path("b.png")]
    engine.hear(Failed("the disk is full", 3))
    assert engine.picture(0, 1) == Path("b.png")
    with pytest.raises(HeroError, match="the disk is full") as refusal:
        engine.picture(0, 2)
    assert refusal.value.exit_code == 3
    assert pickle.loads(pickle.dumps(refusal.value)).exit_code == 3  # from process to process
    engine = TimedEngine()
    thread = engine_waits(engine, 0, journal)
    engine.leave()
    thread.join()
    with pytest.raises(HeroError, match="ended before the session"):
        engine.picture(0, 0)


def test_events_say_what_the_engine_does() -> None:
    engine = TimedEngine()
    for event in (
        PhaseStarted(0, "sampling"),
        PhaseStarted(0, "labelling"),
        PhaseStarted(0, "training"),
        Progress(0, "training", "embed", 1, 9),
        Progress(0, "training", "embed", 9, 9),
        Progress(0, "training", "update", 1, 9),
        PhaseStarted(1, "sampling"),
        Progress(1, "sampling", "sample", 1, 9),
    ):
        engine.hear(event)
    times, activities = zip(*engine.activities, strict=True)
    assert activities == (
        "opening",
        "sampling",
        "labelling",
        "representation",
        "update",
        "sampling",
    )
    assert list(times) == sorted(times)


def found(share: float) -> dict[str, Any]:
    """Figures of two sessions of 100 s after 5 s, of which 20 s and that share are waited."""
    waited = {"off": 20.0, "on": 100 * share}
    return {
        name: facts(
            SessionTimes([(0, 5), (10, 10 + spent)], [], [(0, "opening"), (4, "sampling")], 105)
        )
        for name, spent in waited.items()
    }


@pytest.mark.parametrize(("share", "verdict"), [(0.05, "yes"), (0.051, "NO")])
def test_the_table_says_whether_the_target_is_met(share: float, verdict: str) -> None:
    table = {what: cells for what, *cells in rows(found(share))}
    assert table["waiting, share of the session"] == ["20.0%", f"{share:.1%}", f"≤ 5%: {verdict}"]
    assert table["... sampling"] == ["20.0 s", f"{100 * share:.1f} s", ""]
    assert table["... update"] == ["0.0 s", "0.0 s", ""]
    assert table["before the first picture"] == ["5.0 s", "5.0 s", ""]
    assert table["waiting, first picture included"][0] == f"{25 / 105:.1%}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seconds-a-picture", "0"], "--seconds-a-picture 0: from 0.05 to 600 seconds"),
        (["--seconds-a-picture", "nan"], "--seconds-a-picture nan: from 0.05"),
        (["--grace", "-1"], "--grace -1: from 0 to 600 seconds"),
        (["--update", "hero"], "setting update is 'hero'"),
        (["--rounds", "0"], "--rounds"),
    ],
)
def test_invalid_values_are_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["bench", "waiting", *options]) == 2
    assert said in capsys.readouterr().err
