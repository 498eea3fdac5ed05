"""Rounds sampled ahead: their order, weights and number, also after interruptions."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import AHEAD, AHEAD_QUESTIONS, Process, assert_same, flip
from stand_ins import WIDE_LORA
from students import ddpo, feedback_on
from tiny_runs import LINES, UPDATES, Script, go, latents

from hero_engine.config.settings import SamplerSettings
from hero_engine.config.update_settings import DdpoSettings
from hero_engine.core.batch import Batch
from hero_engine.core.errors import StopRequested
from hero_engine.core.events import Event, Notice, PhaseStarted, RoundFinished
from hero_engine.core.rng import generator
from hero_engine.labelling.annotators import ExternalAnnotator
from hero_engine.models.open_model import open_model
from hero_engine.policy.sampler import (
    KeptSteps,
    SampleRequest,
    pick_training_steps,
    sample,
    sample_batches,
)
from hero_engine.storage.atomic_files import read_tensors
from hero_engine.storage.branch_run import branch
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import Trainer
from hero_engine.updates.denoising_policy import DenoisingPolicy

KINDS = tuple(f"{update} ahead" for update in UPDATES)


def phases(events: list[Event]) -> list[tuple[int, str]]:
    return [
        (each.round, each.phase if isinstance(each, PhaseStarted) else "done")
        for each in events
        if isinstance(each, PhaseStarted | RoundFinished)
    ]


def test_the_order(make_run: Callable[..., RunDir], update: str) -> None:
    """The next round is drawn while this one is labelled, and before it is learned from."""
    folder, events = make_run(update=update, **AHEAD), list[Event]()
    _, finished = go(folder, Script(*LINES), emit=events.append)
    assert (finished.rounds, finished.labels) == (3, 17)
    assert phases(events) == [
        *((0, "sampling"), (0, "labelling")),
        *((1, "sampling"), (1, "labelling"), (0, "training"), (0, "done")),
        (1, "labelling"),
        *((2, "sampling"), (2, "labelling"), (1, "training"), (1, "done")),
        *((2, "labelling"), (2, "training"), (2, "done")),
    ]
    staleness = [each.metrics["staleness"] for each in events if isinstance(each, RoundFinished)]
    guided = [each.metrics["guided"] for each in events if isinstance(each, RoundFinished)]
    assert staleness == [0, 1, 1] and guided == [0, 0, 1]


def test_a_round_comes_from_what_was_known_one_round_earlier(
    make_run: Callable[..., RunDir], update: str
) -> None:
    """Made again, by hand, with the weights and noises of the checkpoint before."""
    folder = make_run(update=update, **AHEAD)
    go(folder, Script(*LINES))
    settings = folder.settings
    for round in range(3):
        trainer = Trainer.open(settings, "cpu")
        state = trainer.initial_state()
        if round > 1:
            state = trainer.restored(folder.checkpoints.load(round - 1)[0], round - 1, 0)
        noises = state.priors.of(0).draw(6, (4, 8, 8), settings.noise, settings.seed, round)
        found = latents(folder, round)
        assert torch.equal(found["noises_B_C_H_W"], noises)
        trainer.model.load_lora_state(state.lora)
        request = SampleRequest(settings.seed, round, range(6), noises)
        again = sample_batches(trainer.model, settings.prompt, settings.sampler, request, 3)
        assert torch.equal(found["latents_B_C_H_W"], Batch.cat(again).latents_B_C_H_W)


def test_the_ratio_is_measured_against_the_weights_that_drew(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first step of round 1: p(step | W_1) / p(step | W_0), worked out apart."""
    folder = make_run(update="ddpo", **AHEAD)
    parts: dict[int, dict[str, torch.Tensor]] = {}
    real = RunDir.condense

    def keep(self: RunDir, round: int, tensors: Any) -> None:
        files = sorted((self.path / "rounds" / f"r{round:03}").glob("part-*"))
        whole = Batch.cat(Batch.from_tensors(read_tensors(file)) for file in files)
        parts[round] = whole.tensors()
        real(self, round, tensors)

    monkeypatch.setattr(RunDir, "condense", keep)
    events = list[Event]()
    go(folder, Script(*LINES), emit=events.append)
    report = next(e for e in events if isinstance(e, RoundFinished) and e.round == 1)

    trajectory = Batch.from_tensors(parts[1]).trajectory
    assert trajectory is not None
    trainer = Trainer.open(folder.settings, "cpu")
    policy = DenoisingPolicy(trainer.model, folder.settings.sampler, folder.settings.prompt)
    with torch.no_grad():
        when_drawn = policy.log_probs(trajectory)
        trainer.restored(folder.checkpoints.load(1)[0], 1, 0)
        at_update = policy.log_probs(trajectory)
    assert torch.allclose(trajectory.log_probs_B_S, when_drawn, atol=1e-5)
    ratio = (at_update.double() - when_drawn.double()).exp()
    order = torch.randperm(6, generator=generator(folder.settings.seed, "update", 1, 0))[:3]
    error = float((ratio[order] - 1).abs().max())
    assert error > 1e-4
    assert report.metrics["first_ratio_error"] == pytest.approx(error, rel=0.02)


def test_no_round_is_drawn_that_might_not_be_needed(make_run: Callable[..., RunDir]) -> None:
    """Where only this round's labels say whether another comes, that one comes after them."""
    sure, unsure = (
        make_run("sure", **AHEAD | {"labels": 12}),
        make_run("un", **AHEAD | {"labels": 6}),
    )
    for folder, wanted in ((sure, [0, 1, 1]), (unsure, [0, 0])):
        events = list[Event]()
        go(folder, Script(*LINES), emit=events.append)
        reports = [each for each in events if isinstance(each, RoundFinished)]
        assert [each.metrics["staleness"] for each in reports] == wanted
        assert len(list((folder.path / "images").iterdir())) == len(wanted)
    two = make_run("two", sample_ahead=True, rounds=2)
    go(two, Script(*LINES))
    assert len(list((two.path / "images").iterdir())) == 2


def test_more_rounds_end_where_they_should_and_change_nothing(
    processes: Callable[[str], Process],
) -> None:
    """What is drawn ahead beyond them waits for the next time."""
    process, name = processes("forward ahead"), "by-and-by"
    for rounds in (1, 2, 3):
        process.model.load_lora_state(process.start)
        trainer = Trainer(process.folder(name).settings, process.model)
        _, finished = go(process.folder(name), Script(*LINES), trainer=trainer, more_rounds=1)
        assert (finished.rounds, finished.reason) == (rounds, "rounds")
    assert_same(process, name)


def test_without_labels_yet_the_first_of_the_two_rounds_waits(
    make_run: Callable[..., RunDir],
) -> None:
    folder = make_run(**AHEAD)
    with pytest.raises(StopRequested):
        go(folder, ExternalAnnotator(folder))
    assert folder.waiting() == 0 and folder.opened().round == 0
    with Journal(folder.journal_path) as journal:
        assert journal.current() == journal.at_hand() == (0, "labelling")
        assert len(journal.images(1)) == 6
        journal.submit(0)
        assert journal.current() == (0, "labelling") and journal.at_hand() == (1, "labelling")
    assert folder.waiting() is None


def test_these_are_all_the_instants(processes: Callable[[str], Process], update: str) -> None:
    assert processes(f"{update} ahead").questions == AHEAD_QUESTIONS


@pytest.mark.parametrize("stop_at", range(1, AHEAD_QUESTIONS + 1, 9))
def test_a_stop_at_any_instant_changes_nothing(
    processes: Callable[[str], Process], stop_at: int
) -> None:
    process, name = processes(KINDS[stop_at // 2 % 2]), f"stop-{stop_at}"
    with pytest.raises(StopRequested):
        process.run(name, stop_at)
    process.run(name)
    assert_same(process, name)


WRITES: list[tuple[Any, str, int]] = [
    (RunDir, "save_part", 3),  # the first microbatch of round 1, ahead
    (Journal, "set_phase", 5),  # of round 0: training; round 1 is all there
    (RunDir, "save_checkpoint", 1),
    (Journal, "finish_round", 1),
    (RunDir, "save_part", 5),  # of round 2, by the weights of the first update
    (Journal, "submit", 2),
    (RunDir, "save_checkpoint", 2),
]


@pytest.mark.parametrize(("owner", "write", "nth"), WRITES)
def test_a_crash_after_any_write_changes_nothing(
    processes: Callable[[str], Process], owner: Any, write: str, nth: int
) -> None:
    process = processes("ddpo ahead")
    assert_same(process, process.crash_after(owner, write, nth))


def copied(process: Process, name: str) -> RunDir:
    """A copy of the undisturbed run."""
    straight = process.folder("straight").path
    shutil.copytree(straight, straight.with_name(name))
    return process.folder(name)


@pytest.mark.parametrize("lost", [("r003",), ("r002", "r003"), ("r001", "r002", "r003")])
def test_lost_checkpoints_are_made_again(
    processes: Callable[[str], Process], lost: tuple[str, ...]
) -> None:
    """Denoising steps are drawn again for it, by the weights that drew them."""
    process, name = processes("ddpo ahead"), f"lost-{len(lost)}"
    run = copied(process, name)
    for each in lost:
        shutil.rmtree(run.path / "checkpoints" / each)
    process.run(name)
    assert_same(process, name)


def test_damaged_parts_of_a_round_drawn_ahead_are_made_again(
    processes: Callable[[str], Process], update: str
) -> None:
    """By the weights of then, although the model has learned since."""
    process, name = processes(f"{update} ahead"), "parts"

    def stop(event: Event) -> None:
        if isinstance(event, RoundFinished) and event.round == 1:
            raise StopRequested

    with pytest.raises(StopRequested):
        process.run(name, emit=stop)
    run = process.folder(name)
    flip(run.path / "rounds/r002/part-00003.safetensors")
    run.picture_path(2, 4).unlink()
    events: list[Event] = []
    process.run(name, emit=events.append)
    assert "part-00003" in next(each.message for each in events if isinstance(each, Notice))
    assert_same(process, name)


@pytest.mark.parametrize("round", [1, 2])
def test_a_branch_with_the_same_labels_is_the_same_run(
    processes: Callable[[str], Process], round: int
) -> None:
    process = processes("ddpo ahead")
    old = process.folder("straight")
    new = branch(old, round, old.path.with_name(f"from-{round}"))
    process.run(new.path.name)
    assert_same(process, new.path.name)


def test_a_lower_precision_measures_again_with_the_weights_that_drew(
    square_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ratio before the first step is that of two models, not of two roundings."""
    monkeypatch.setattr("hero_engine.models.open_model._pick_dtype", lambda device: torch.bfloat16)
    square = open_model(str(square_folder), WIDE_LORA, "cpu", seed=3)
    sampler = SamplerSettings(steps=3)
    update = ddpo(DdpoSettings(steps_per_image=2, images_per_update=4), sampler, square)
    steps = pick_training_steps(square, sampler, KeptSteps(2), range(4), seed=1, round=0)
    noises = torch.randn(4, *square.latent_shape, generator=generator(1, "noise", 0, 0))
    batch = sample(square, "a", sampler, SampleRequest(1, 0, range(4), noises, steps))
    assert batch.trajectory is not None
    policy = DenoisingPolicy(square, sampler, "a")
    with torch.no_grad():
        drawn_with, when_drawn = square.lora_state(), policy.log_probs(batch.trajectory)
        for weight in square.lora_parameters():
            weight.add_(0.05)
        now, later = policy.log_probs(batch.trajectory), square.lora_state()
    gap = float(((now - when_drawn).exp() - 1).abs().max())
    for weights, wanted in ((drawn_with, gap), (None, 0.0)):
        square.load_lora_state(later)
        rewards_B = torch.tensor([1.0, 0, 1, 0])
        given = replace(feedback_on(batch, rewards_B=rewards_B), behaviour_lora=weights)
        error = update.learn(given)["first_ratio_error"]
        assert error == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    assert gap > 1e-3
