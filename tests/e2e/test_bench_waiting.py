"""`hero bench waiting`: a person at the real engine, without and with `ahead`."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

from hero_engine.config.tasks import load_task, settings_for
from hero_tui.commands.bench.simulated_user import UserTiming
from hero_tui.commands.bench.timed_session import JudgeVerdicts

waiting = import_module("hero_tui.commands.bench.bench_waiting")  # a command has that name too
SMALL = {
    "seed": 1,
    "batch": 6,
    "rounds": 2,
    "microbatch": 3,
    "sampler": {"steps": 2},
    "embedding": {"epochs": 2, "features": 16, "head": [16, 8]},
    "forward": {"steps": 2, "good_images_per_update": 2, "bad_images_per_update": 2},
    "update": "forward",
}


def test_a_person_sits_without_and_with_ahead(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which has torch loaded already; what goes to another one can.

    Torch is the engine's thread's alone: a second one at it would slow what is measured.
    """
    read, threads = JudgeVerdicts.read, set[str]()

    def watched(verdicts: JudgeVerdicts, paths: Sequence[Path]) -> None:
        threads.add(threading.current_thread().name)
        read(verdicts, paths)

    monkeypatch.setattr(JudgeVerdicts, "read", watched)
    monkeypatch.setattr(waiting, "fresh_process", lambda: ThreadPoolExecutor(1))
    settings = settings_for(load_task("hands"), str(tiny_model), "embedded", SMALL)
    assert pickle.loads(pickle.dumps(settings)) == settings
    found = waiting.measure(settings, UserTiming(2.0, 3.0))
    for mode in (found["off"], found["on"]):
        assert mode["session"] >= 2 * 6 * 2.0 + mode["waited"]
        assert sum(mode["split"].values()) == pytest.approx(mode["waited"])
        assert mode["first"] > 0 and mode["split"]["undo window"] >= 3.0
    assert found["off"]["split"]["sampling"] > 0
    assert threads == {"hero-engine"}
