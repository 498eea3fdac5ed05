"""The first microbatch of an update: how large, by the free memory; the result is the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import LINES, Script, first_lesson, go, tiny_settings

from hero_engine.config.update_settings import DdpoSettings
from hero_engine.core.errors import StopRequested
from hero_engine.core.events import Event, Notice, PhaseStarted
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training import microbatch as sizing
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.training.trainer import Trainer
from hero_engine.updates.ddpo import DdpoUpdate

ONE = DdpoSettings(steps_per_image=2, images_per_update=3, microbatch=1, clip_range=0.1)
"""One picture at once, of the three of an optimizer step."""

TOLD = "the update's microbatch is 3 images, not 1: 1 need 2.0 GB, and 9.0 GB are free"


@dataclass
class Fake:
    """A device's memory: what is free, and what any pass needs; or fails for want of."""

    bytes_free: float
    bytes_needed: float = 2e9
    short: bool = False
    passes: list[int] = field(default_factory=list)

    def free(self) -> int:
        return int(self.bytes_free)

    def peak(self, work: Callable[[], None]) -> int:
        self.passes.append(1)
        if self.short:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        work()
        return int(self.bytes_needed)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fake]:
    """Makes the models' device one with so much memory."""

    def make(free: float, **more: Any) -> Fake:
        fake = Fake(free, **more)
        monkeypatch.setattr(sizing, "memory_of", lambda device: fake)
        return fake

    return make


def limits_of(folder: RunDir) -> dict[str, int]:
    with Journal.reading(folder.journal_path) as journal:
        return journal.limits()


def lora_of(folder: RunDir) -> dict[str, torch.Tensor]:
    found = folder.load_checkpoint()
    assert found is not None
    return found[0]["lora"]


def trained_calls(trainer: Trainer) -> list[int]:
    """Filled with the rows of each call of the network that is trained."""
    rows: list[int] = []
    trainer.model.network.register_forward_pre_hook(
        lambda network, inputs: rows.append(len(inputs[0])) if torch.is_grad_enabled() else None
    )
    return rows


@pytest.mark.parametrize(
    ("free", "most", "found"),
    [
        (0, 16, 2),
        (19.9, 16, 2),  # 4 would need 16 of the 15.92 that may be used
        (20, 16, 4),
        (40, 16, 8),
        (1000, 16, 16),
        (1000, 12, 12),  # 2, 4, 8, and all
        (50, 12, 8),  # 12 would need 48 of 40
        (1000, 2, 2),
    ],
)
def test_what_fits_by_hand(free: float, most: int, found: int) -> None:
    """Two pictures need 8 GB; four fifths of what is free may be used."""
    assert sizing.fitting(2, int(8e9), int(free * 1e9), most) == found


def test_a_run_with_free_memory_learns_the_same_in_fewer_calls(
    make_run: Callable[..., RunDir], device: Callable[..., Fake]
) -> None:
    small, ample = make_run("small", ddpo=ONE), make_run("ample", ddpo=ONE)
    go(small, Script(*LINES))
    assert limits_of(small) == {}  # a CPU is not asked
    fake, events = device(9e9), list[Event]()
    trainer = Trainer.open(ample.settings, "cpu")
    rows = trained_calls(trainer)
    go(ample, Script(*LINES), emit=events.append, trainer=trainer)
    assert [event.message for event in events if isinstance(event, Notice)] == [TOLD]
    assert limits_of(ample) == {"update": 6} and fake.passes == [1]  # 3 pictures, 2 steps each
    # With guidance a picture's two steps are four rows: a rehearsal of one, then threes.
    assert rows[0] == 4 and set(rows[1:-1]) == {12}
    one, two = lora_of(small), lora_of(ample)
    assert all(torch.allclose(two[name], each, atol=1e-4) for name, each in one.items())


def test_a_resumed_run_keeps_the_larger_microbatch(
    make_run: Callable[..., RunDir], device: Callable[..., Fake]
) -> None:
    """Bit for bit, also where less is free by then."""
    straight, stopped = make_run("straight", ddpo=ONE), make_run("stopped", ddpo=ONE)
    device(9e9)
    go(straight, Script(*LINES))

    def stop(event: Event) -> None:
        if event == PhaseStarted(1, "training"):
            raise StopRequested

    with pytest.raises(StopRequested):
        go(stopped, Script(*LINES), emit=stop)
    fake = device(0)
    go(stopped, Script(*LINES))
    assert fake.passes == []
    one, two = lora_of(straight), lora_of(stopped)
    assert all(torch.equal(two[name], each) for name, each in one.items())


@pytest.mark.parametrize("memory", [{"free": 4e9}, {"free": 9e9, "short": True}])
def test_without_free_memory_the_microbatch_stays(
    make_run: Callable[..., RunDir], device: Callable[..., Fake], memory: dict[str, Any]
) -> None:
    run, events = make_run(ddpo=ONE, rounds=1), list[Event]()
    device(**memory)
    go(run, Script(*LINES), emit=events.append)
    assert not any(isinstance(event, Notice) for event in events)
    assert limits_of(run) == {"update": 2}  # a picture's two steps


@pytest.mark.parametrize("update", ["forward", "whole", "fixed"])
def test_devices_without_a_memory_limit_keep_the_microbatch(
    make_run: Callable[..., RunDir], device: Callable[..., Fake], update: str
) -> None:
    """What begins with all of a step's rows; and who does not want to grow."""
    changes: dict[str, dict[str, Any]] = {
        "forward": {"update": "forward"},
        "whole": {},
        "fixed": {"ddpo": DdpoSettings(images_per_update=3, microbatch=1, auto_microbatch=False)},
    }
    run = make_run(**changes[update])
    fake, trainer = device(9e9), Trainer.open(run.settings, "cpu")
    task = first_lesson(trainer)[2]
    with Journal(run.journal_path) as journal:
        backoff = OomBackoff(journal, pytest.fail)
        microbatch = sizing.first_microbatch(trainer.update, task, backoff)
    assert microbatch == trainer.update.microbatch
    assert (fake.passes, limits_of(run)) == ([], {})


def test_a_rehearsal_teaches_nothing(square_folder: Path) -> None:
    trainer = Trainer.open(tiny_settings(square_folder, update="ddpo"), "cpu")
    assert isinstance(trainer.update, DdpoUpdate)
    _, state, task = first_lesson(trainer)
    trainer.improve(state, task)
    before = trainer.model.lora_state() | trainer.optimizer.state_dict()
    rows = trained_calls(trainer)
    trainer.update.rehearsal(task.lesson, 2)()
    assert rows == [2 * 2 * 2]
    after = trainer.model.lora_state() | trainer.optimizer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], each) for name, each in before.items())
    assert all(weight.grad is None for weight in trainer.model.lora_parameters())


def test_a_limit_that_was_too_high_is_halved(make_run: Callable[..., RunDir]) -> None:
    events: list[Event] = []
    with Journal(make_run().journal_path) as journal:
        backoff = OomBackoff(journal, events.append)
        backoff.begin("update", 8, "8 fit")

        def attempt(rows: int) -> int:
            if rows > 2:
                raise MemoryError
            return rows

        assert backoff.run("update", 16, attempt) == 2
        assert OomBackoff(journal, events.append).size("update", 16) == 2
    assert events[0] == Notice("8 fit")
    assert len(events) == 3


def test_memory_cached_by_torch_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"memory_reserved": 7, "memory_allocated": 5, "max_memory_allocated": 9}
    for name, each in said.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, each=each: each)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10, 80))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    memory, done = sizing.memory_of(torch.device("cuda")), list[int]()
    assert memory is not None and memory.free() == 12
    assert memory.peak(lambda: done.append(1)) == 4 and done == [1]
    assert sizing.memory_of(torch.device("cpu")) is None
