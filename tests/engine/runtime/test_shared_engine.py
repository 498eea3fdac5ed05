"""The engine with a second process, while a person takes their time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import warm_server
from process_groups import PATIENCE, children

from hero_engine.storage.run_folder import RunDir

NOTICED = 15.0
"""Seconds in which a dead process must be noticed. An idle machine takes less than one."""


def engine_without_labels(folder: Path, events: Path) -> None:
    """An engine of two processes, for a person who never labels; its events are lines of a file."""
    import torch

    from hero_engine.runtime.engine_thread import EngineThread

    torch.set_num_threads(1)
    with events.open("w", buffering=1) as file:
        EngineThread(
            RunDir.open(folder), lambda event: print(event.to_json(), file=file), processes=2
        ).run()


def lines(events: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]


def wait_for_phase(process: Any, events: Path, phase: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not any(each.get("phase") == phase for each in lines(events)):
        assert process.exitcode is None and time.monotonic() < give_up
        time.sleep(0.05)


def test_a_process_that_dies_while_a_person_labels_is_noticed_in_seconds(
    make_run: Callable[..., RunDir], tmp_path: Path
) -> None:
    run, events = make_run(), tmp_path / "events"
    events.touch()
    process = warm_server.start(engine_without_labels, run.path, events)
    wait_for_phase(process, events, "labelling")
    time.sleep(1.0)
    assert process.exitcode is None
    [other] = children(process.pid or 0)
    os.kill(other, signal.SIGKILL)
    process.join(NOTICED)
    assert process.exitcode == 0
    failed = lines(events)[-1]
    assert (failed["event"], failed["exit_code"]) == ("failed", 75)
    assert failed["message"] == (
        "process 1 of 2 ended (killed by SIGKILL); no label is lost. "
        f"Resume with: hero resume {run.path}"
    )
