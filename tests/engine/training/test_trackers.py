"""Trackers: TensorBoard's own reader reads what was written; wandb is stood in for; failures."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import LINES, Script

from hero_engine.core.errors import HeroError
from hero_engine.core.events import Event, Notice, RoundFinished
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trackers import numbers, open_tracker

STAND_IN = """
import json, pathlib
class Config:
    def update(self, values, allow_val_change): tell("config", values)
class Run:
    def log(self, values, step): tell("log", values, step)
    def finish(self): tell("finish")
def tell(*what):
    with pathlib.Path(__file__).with_name("told.jsonl").open("a") as file:
        file.write(json.dumps(what) + "\\n")
def init(**what):
    tell("init", what)
    return Run()
def login(prompt): return prompt
config = Config()
"""


def work(folder: RunDir) -> list[Event]:
    """Two rounds by the engine's own worker, in this thread."""
    told: list[Event] = []
    EngineThread(folder, told.append, annotator=Script(*LINES), device="cpu").run()
    return told


def rounds(told: list[Event]) -> list[RoundFinished]:
    return [event for event in told if isinstance(event, RoundFinished)]


def test_tensorboard_reads_every_number(make_run: Callable[..., RunDir]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = make_run(tracker="tensorboard", update="forward", rounds=2)
    reports = rounds(work(folder))
    read = EventAccumulator(str(folder.path / "tensorboard"))
    read.Reload()
    assert len(reports) == 2
    for report in reports:
        for name, value in numbers(report):
            points = {point.step: point.value for point in read.Scalars(name)}
            assert points[report.round] == pytest.approx(value)
    lines = [json.loads(line) for line in (folder.path / "events.jsonl").read_text().splitlines()]
    plain = [line["metrics"] for line in lines if line["event"] == "round"]
    assert plain == [report.metrics for report in reports]


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of that name, which writes down what it is told."""
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb/__init__.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    yield tmp_path / "wandb/told.jsonl"
    sys.modules.pop("wandb", None)


def test_wandb_gets_every_round(make_run: Callable[..., RunDir], wandb: Path) -> None:
    folder = make_run(tracker="wandb", update="forward", rounds=1)
    [report] = rounds(work(folder))
    told: list[Any] = [json.loads(line) for line in wandb.read_text().splitlines()]
    assert [what[0] for what in told] == ["init", "config", "log", "finish"]
    assert told[0][1]["id"] == folder.path.name and told[0][1]["resume"] == "allow"
    assert told[1][1]["forward.steps"] == 2
    assert told[2][1:] == [pytest.approx(dict(numbers(report))), 0]


def test_a_key_is_never_asked_for(
    make_run: Callable[..., RunDir], wandb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    with pytest.raises(HeroError, match="first run: wandb login") as error:
        open_tracker(make_run(tracker="wandb"))
    assert error.value.exit_code == 3 and not wandb.exists()


def test_a_tracker_that_is_not_installed(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hero_engine.training.trackers.find_spec", lambda name: None)
    with pytest.raises(HeroError, match=r"pip install 'hero-tui\[tracking\]'") as error:
        open_tracker(make_run(tracker="tensorboard"))
    assert error.value.exit_code == 3


def test_a_tracker_that_fails_ends_no_run(make_run: Callable[..., RunDir], wandb: Path) -> None:
    source = wandb.with_name("__init__.py")
    source.write_text(STAND_IN.replace('tell("log", values, step)', "raise OSError('no net')"))
    told = work(make_run(tracker="wandb", update="forward", rounds=2))
    assert len(rounds(told)) == 2
    notices = [event.message for event in told if isinstance(event, Notice)]
    assert notices == ["the tracker failed and is off from here on: no net"]


def test_off_by_default(make_run: Callable[..., RunDir]) -> None:
    assert open_tracker(make_run()) is None
