"""What starts the processes of a run, and which images each of them samples."""

import os
import subprocess

import pytest
import torch

from hero_engine.core.errors import HeroError, StopRequested
from hero_engine.distributed import launcher
from hero_engine.distributed.sharding import parallel_groups, slices


def test_a_turn_has_a_microbatch_for_each_process() -> None:
    microbatches = [range(0, 4), range(4, 8), range(8, 9)]
    assert [*parallel_groups(microbatches, 2)] == [[range(0, 4), range(4, 8)], [range(8, 9)]]
    assert [*parallel_groups(microbatches, 5)] == [microbatches] and [*parallel_groups([], 2)] == []


def test_slices_are_those_of_the_images_in_the_group() -> None:
    found = [*slices([range(4, 8), range(12, 13)])]
    assert found == [(range(4, 8), slice(0, 4)), (range(12, 13), slice(4, 5))]


def test_a_process_stops_when_the_one_that_started_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(launcher.STARTED_BY, str(os.getppid()))
    launcher.stop_with_parent()()
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setenv(launcher.STARTED_BY, str(ended.pid))
    with pytest.raises(StopRequested):
        launcher.stop_with_parent()()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    launcher.check_processes(2)
    with pytest.raises(HeroError, match=r"--processes 3: .* this machine has 2 GPUs") as refused:
        launcher.check_processes(3)
    assert refused.value.exit_code == 2


def test_a_launcher_has_started_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launcher.Launched.from_environment() == launcher.Launched(1, 4)
    with pytest.raises(HeroError, match="accelerate launch has started"):
        launcher.check_processes(2)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launcher.Launched.from_environment() is None
