"""Where memory is short the minibatch is halved, that is said, and the result is the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from interrupted import Process
from refusals import refused
from tiny_runs import LINES, UPDATES, Script, go, latents

from hero_engine.core.errors import ExitCode, HeroError, StopRequested
from hero_engine.core.events import Event, Notice, PhaseStarted
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.oom_backoff import Limits
from hero_engine.training.state import Learner

SHORT = {
    "CUDA out of memory. Tried to allocate 2.00 GiB": torch.cuda.OutOfMemoryError,
    "MPS backend out of memory (MPS allocated: 9.00 GB)": RuntimeError,
    "[enforce fail] . DefaultCPUAllocator: can't allocate memory": RuntimeError,
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED": RuntimeError,
    "": MemoryError,
}
"""How torch and Python say it."""


def small_learner(folder: RunDir, rows: int) -> Learner:
    """One whose device holds so many rows in a forward pass."""
    learner = Learner.open(folder.settings, "cpu")
    predict = learner.model.predict

    def short(inputs: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(inputs) > rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return predict(inputs, *rest)

    learner.model.predict = short  # type: ignore[method-assign]
    return learner


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's eight rows need no gradients; here they would hide what is tested."""
    monkeypatch.setattr("hero_engine.updates.base.PROBES", 2)


@pytest.mark.usefixtures("no_probe")
def test_a_run_on_a_small_device_learns_the_same(
    make_run: Callable[..., RunDir], update: str
) -> None:
    ample, small = make_run("ample", update=update), make_run("small", update=update)
    go(ample, Script(*LINES))
    events: list[Event] = []
    go(small, Script(*LINES), tell=events.append, learner=small_learner(small, 2))
    told = [event.message for event in events if isinstance(event, Notice)]
    whole, half = (3, 1) if update == "ddpo" else (4, 2)
    assert told == [
        "out of memory in the step 'sample': going on with 1 at a time, not 3",
        f"out of memory in the step 'update': going on with {half} at a time, not {whole}",
    ]
    with Journal.reading(small.journal_path) as journal:
        assert journal.limits() == {"sample": 1, "update": half}
    for round in (0, 1):
        for name, each in latents(ample, round).items():
            assert torch.allclose(latents(small, round)[name], each, atol=1e-4)
    checkpoints = [run.load_checkpoint() for run in (ample, small)]
    one, two = (found[0]["lora"] for found in checkpoints if found is not None)
    assert all(torch.allclose(two[name], each, atol=1e-4) for name, each in one.items())
    start = Learner.open(ample.settings, "cpu").model.lora_state()
    assert not all(torch.allclose(start[name], each, atol=1e-4) for name, each in one.items())


@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize("phase", ["labelling", "training"])
def test_a_resumed_run_goes_on_with_the_smaller_pieces(
    make_run: Callable[..., RunDir], phase: str
) -> None:
    """Bit for bit: what was computed in pieces is computed in the same ones."""
    straight, stopped = make_run("straight"), make_run("stopped")
    go(straight, Script(*LINES), learner=small_learner(straight, 2))

    def stop(event: Event) -> None:
        if event == PhaseStarted(1, phase):
            raise StopRequested

    with pytest.raises(StopRequested):
        go(stopped, Script(*LINES), tell=stop, learner=small_learner(stopped, 2))
    go(stopped, Script(*LINES), learner=small_learner(stopped, 2))
    found = [run.load_checkpoint() for run in (straight, stopped)]
    one, two = (parts[0]["lora"] for parts in found if parts is not None)
    assert all(torch.equal(two[name], each) for name, each in one.items())


@pytest.mark.parametrize("words", SHORT)
def test_every_way_of_saying_it_is_understood(make_run: Callable[..., RunDir], words: str) -> None:
    events: list[Event] = []
    with Journal(make_run().journal_path) as journal:
        limits = Limits(journal, events.append)

        def attempt(rows: int) -> int:
            if rows > 3:
                raise SHORT[words](words)
            return rows

        assert limits.halving("sample", 12, attempt) == 3
        assert limits.of("sample", 12) == limits.halving("sample", 12, attempt) == 3
        assert limits.of("sample", 2) == 2 and limits.of("update", 12) == 12
        assert Limits(journal, events.append).of("sample", 12) == 3
    assert len(events) == 2


def test_other_errors_are_no_shortage(make_run: Callable[..., RunDir]) -> None:
    with Journal(make_run().journal_path) as journal:
        for error in (RuntimeError("sizes differ"), ValueError("out of memory"), HeroError("x")):

            def attempt(rows: int, error: Exception = error) -> int:
                raise error

            with pytest.raises(type(error)):
                Limits(journal, pytest.fail).halving("sample", 12, attempt)


def test_a_device_without_room_for_one_picture_is_refused(
    make_run: Callable[..., RunDir],
) -> None:
    folder = make_run(update="forward")
    with refused(ExitCode.ENVIRONMENT, "does not hold one picture in the step 'sample'"):
        go(folder, Script(*LINES), learner=small_learner(folder, 0))
    go(folder, Script(*LINES))


@pytest.mark.parametrize("said", ["auto", "off"])
def test_activations_are_computed_again_where_one_picture_is_too_much(
    make_run: Callable[..., RunDir], said: str
) -> None:
    folder = make_run(update="forward", gradient_checkpointing=said)
    learner, events = Learner.open(folder.settings, "cpu"), list[Event]()
    predict, network = learner.model.predict, learner.model.network

    def short(inputs: torch.Tensor, *rest: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and not network.is_gradient_checkpointing:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return predict(inputs, *rest)

    learner.model.predict = short  # type: ignore[method-assign]
    if said == "off":
        with refused(ExitCode.ENVIRONMENT, "does not hold one picture in the step 'update'"):
            go(folder, Script(*LINES), learner=learner)
        return
    go(folder, Script(*LINES), tell=events.append, learner=learner)
    told = [event.message for event in events if isinstance(event, Notice)]
    assert told[-1] == (
        "out of memory in the step 'update': activations are computed again from here on, "
        "with 4 at a time"
    )
    assert len(told) == 3


def test_a_failed_attempt_leaves_the_weights_as_they_were(
    processes: Callable[[str], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory may be short at any step of an update: it is begun again, not gone on with."""
    for update in UPDATES:
        process = processes(update)
        process.model.load_lora_state(process.start)
        run = process.folder("straight")
        learner = Learner(run.settings, process.model)
        calls: list[int] = []

        def step(*_: Any, learner: Learner = learner, calls: list[int] = calls) -> Any:
            calls.append(1)
            for weight in learner.model.lora_parameters():
                weight.data.add_(1)
            raise RuntimeError("out of memory")

        monkeypatch.setattr(learner.update, "step", step)
        with pytest.raises(RuntimeError, match="out of memory"):
            learner.improve(None, lambda done, total: None)  # type: ignore[arg-type]
        assert calls
        state = learner.model.lora_state()
        assert all(torch.equal(state[name], each) for name, each in process.start.items())
