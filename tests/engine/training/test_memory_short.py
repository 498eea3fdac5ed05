"""Where memory is short the microbatch is halved, that is said, and the result is the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from refusals import refused
from tiny_runs import LINES, Script, first_lesson, go, latents

from hero_engine.core.errors import ExitCode, HeroError, StopRequested
from hero_engine.core.events import Event, Notice, PhaseStarted
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.training.trainer import Trainer

SHORT = {
    "CUDA out of memory. Tried to allocate 2.00 GiB": torch.cuda.OutOfMemoryError,
    "MPS backend out of memory (MPS allocated: 9.00 GB)": RuntimeError,
    "[enforce fail] . DefaultCPUAllocator: can't allocate memory": RuntimeError,
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED": RuntimeError,
    "": MemoryError,
}
"""How torch and Python say it."""


def small_trainer(folder: RunDir, rows: int) -> Trainer:
    """A trainer whose device holds this many rows in a forward pass."""
    trainer = Trainer.open(folder.settings, "cpu")
    predict = trainer.model.predict

    def short(inputs: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(inputs) > rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return predict(inputs, *rest)

    trainer.model.predict = short  # type: ignore[method-assign]
    return trainer


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's eight rows need no gradients; here they would hide what is tested."""
    monkeypatch.setattr("hero_engine.updates.probe.PROBES", 2)


@pytest.mark.usefixtures("no_probe")
def test_a_run_on_a_small_device_learns_the_same(
    make_run: Callable[..., RunDir], update: str
) -> None:
    ample, small = make_run("ample", update=update), make_run("small", update=update)
    go(ample, Script(*LINES))
    events: list[Event] = []
    go(small, Script(*LINES), emit=events.append, trainer=small_trainer(small, 2))
    told = [event.message for event in events if isinstance(event, Notice)]
    whole, half = (6, 3) if update == "ddpo" else (4, 2)
    halved = "out of memory in the step 'update': the microbatch is {} from here, not {}"
    assert told == [
        "out of memory in the step 'sample': the microbatch is 1 from here, not 3",
        halved.format(half, whole),
        *([halved.format(1, half)] if update == "ddpo" else []),
    ]
    last = 1 if update == "ddpo" else half
    with Journal.reading(small.journal_path) as journal:
        assert journal.limits() == {"sample": 1, "update": last}
    for round in (0, 1):
        for name, each in latents(ample, round).items():
            assert torch.allclose(latents(small, round)[name], each, atol=1e-4)
    checkpoints = [run.load_checkpoint() for run in (ample, small)]
    one, two = (found[0]["lora"] for found in checkpoints if found is not None)
    assert all(torch.allclose(two[name], each, atol=1e-4) for name, each in one.items())
    start = Trainer.open(ample.settings, "cpu").model.lora_state()
    assert not all(torch.allclose(start[name], each, atol=1e-4) for name, each in one.items())


@pytest.mark.usefixtures("no_probe")
def test_a_resumed_run_keeps_the_smaller_microbatch(make_run: Callable[..., RunDir]) -> None:
    """Bit for bit: what was computed in pieces is computed in the same ones."""
    straight = make_run("straight")
    go(straight, Script(*LINES), trainer=small_trainer(straight, 2))
    for phase in ("labelling", "training"):
        stopped = make_run(f"stopped in {phase}")

        def stop(event: Event, phase: str = phase) -> None:
            if event == PhaseStarted(1, phase):
                raise StopRequested

        with pytest.raises(StopRequested):
            go(stopped, Script(*LINES), emit=stop, trainer=small_trainer(stopped, 2))
        go(stopped, Script(*LINES), trainer=small_trainer(stopped, 2))
        one, two = (learned(run) for run in (straight, stopped))
        assert all(torch.equal(two[name], each) for name, each in one.items())


def learned(run: RunDir) -> dict[str, torch.Tensor]:
    """The LoRA weights of the newest checkpoint."""
    checkpoint = run.load_checkpoint()
    assert checkpoint is not None
    return checkpoint[0]["lora"]


@pytest.mark.parametrize("words", SHORT)
def test_every_out_of_memory_message_is_recognised(
    make_run: Callable[..., RunDir], words: str
) -> None:
    events: list[Event] = []
    with Journal(make_run().journal_path) as journal:
        backoff = OomBackoff(journal, events.append)

        def attempt(rows: int) -> int:
            if rows > 3:
                raise SHORT[words](words)
            return rows

        assert backoff.run("sample", 12, attempt) == 3
        assert backoff.size("sample", 12) == backoff.run("sample", 12, attempt) == 3
        assert backoff.size("sample", 2) == 2 and backoff.size("update", 12) == 12
        assert OomBackoff(journal, events.append).size("sample", 12) == 3
    assert len(events) == 2


def test_other_errors_are_no_shortage(make_run: Callable[..., RunDir]) -> None:
    with Journal(make_run().journal_path) as journal:
        for error in (RuntimeError("sizes differ"), ValueError("out of memory"), HeroError("x")):

            def attempt(rows: int, error: Exception = error) -> int:
                raise error

            with pytest.raises(type(error)):
                OomBackoff(journal, pytest.fail).run("sample", 12, attempt)


def test_a_device_without_memory_for_one_picture_is_refused(
    make_run: Callable[..., RunDir],
) -> None:
    folder = make_run(update="forward")
    with refused(ExitCode.ENVIRONMENT, "does not hold one picture in the step 'sample'"):
        go(folder, Script(*LINES), trainer=small_trainer(folder, 0))
    go(folder, Script(*LINES))


@pytest.mark.parametrize("said", ["auto", "off"])
def test_activations_are_computed_again_where_one_picture_is_too_much(
    make_run: Callable[..., RunDir], said: str
) -> None:
    folder = make_run(update="forward", gradient_checkpointing=said)
    trainer, events = Trainer.open(folder.settings, "cpu"), list[Event]()
    predict, network = trainer.model.predict, trainer.model.network

    def short(inputs: torch.Tensor, *rest: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and not network.is_gradient_checkpointing:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return predict(inputs, *rest)

    trainer.model.predict = short  # type: ignore[method-assign]
    if said == "off":
        with refused(ExitCode.ENVIRONMENT, "does not hold one row in the step 'update'"):
            go(folder, Script(*LINES), trainer=trainer)
        return
    go(folder, Script(*LINES), emit=events.append, trainer=trainer)
    told = [event.message for event in events if isinstance(event, Notice)]
    assert told[-1] == (
        "out of memory in the step 'update': gradient checkpointing is on from here, with a "
        "microbatch of 4"
    )
    assert len(told) == 3


def test_a_failed_attempt_leaves_the_state_as_it_was(
    make_run: Callable[..., RunDir], update: str
) -> None:
    """Memory may be short at any optimizer step: the update starts over from its state."""
    trainer = Trainer.open(make_run(update=update).settings, "cpu")
    _, state, task = first_lesson(trainer)
    whole, _ = trainer.improve(state, task)
    real = trainer.optimizer.adam.step

    def short_at_the_second() -> float:
        if trainer.optimizer.adam.state_dict():
            raise RuntimeError("out of memory")
        return real()

    trainer.optimizer.adam.step = short_at_the_second  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.improve(state, task)
    moved = trainer.model.lora_state()
    assert not all(torch.equal(moved[name], each) for name, each in state.lora.items())
    trainer.optimizer.adam.step = real  # type: ignore[method-assign]
    again, _ = trainer.improve(state, task)
    assert all(torch.equal(again.lora[name], each) for name, each in whole.lora.items())


def test_a_device_that_holds_one_row_of_the_network_learns_the_same(
    make_run: Callable[..., RunDir],
) -> None:
    """With guidance a row is two of the network's; they are computed one after the other."""
    found, events = [], list[Event]()
    for name, most in (("ample", 100), ("small", 1)):
        folder = make_run(name, update="ddpo")
        trainer = Trainer.open(folder.settings, "cpu")

        def short(layer: Any, inputs: Any, most: int = most) -> None:
            if torch.is_grad_enabled() and len(inputs[0]) > most:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        trainer.model.network.conv_in.register_forward_pre_hook(short)
        go(folder, Script(*LINES), emit=events.append, trainer=trainer)
        checkpoint = folder.load_checkpoint()
        assert checkpoint is not None
        found.append(checkpoint[0]["lora"])
    told = [event.message for event in events if isinstance(event, Notice)]
    assert told[-1] == (
        "out of memory in the step 'update': the network computes one row at a time from here, "
        "with a microbatch of 6"
    )
    one, two = found
    assert all(torch.allclose(two[name], each, atol=1e-4) for name, each in one.items())
