"""What a run will need, told before its first picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny_runs import Script

from hero_engine.config.settings import Settings
from hero_engine.config.update_settings import (
    D3poSettings,
    DdpoSettings,
    ForwardSettings,
    SftSettings,
)
from hero_engine.core.events import Event, ImagesReady, Preflight
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.preflight import BACKWARD, memory_needed, trained_rows
from hero_engine.training.trainer import Trainer
from hero_tui.session.preflight_words import asks_first, duration, preflight_rows, session_seconds


def test_it_comes_once_before_the_first_picture(make_run: Callable[..., RunDir]) -> None:
    folder, events = make_run(update="sft", rounds=3), list[Event]()
    for _ in range(2):
        EngineThread(folder, events.append, annotator=Script("*gbg.b"), more_rounds=1).run()
    kinds = [type(event) for event in events]
    assert kinds.count(Preflight) == 1
    assert kinds.index(Preflight) < kinds.index(ImagesReady)
    needs = next(event for event in events if isinstance(event, Preflight))
    assert (needs.images, needs.rounds, needs.memory_there) == (6, 3, None)
    step = needs.seconds_per_image / folder.settings.sampler.steps
    rows = trained_rows(folder.settings)
    assert needs.round_seconds == pytest.approx(
        6 * needs.seconds_per_image + BACKWARD * step * rows
    )


def test_the_memory_is_that_of_weights_and_optimizer(make_run: Callable[..., RunDir]) -> None:
    model = Trainer.open(make_run().settings, "cpu").model
    lora = sum(weight.numel() for weight in model.lora_parameters())
    frozen = [*model.network.parameters(), *model.vae.parameters()]
    whole = sum(weight.nbytes for weight in frozen)
    assert memory_needed(model) == whole - 4 * lora + 16 * lora


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        (Settings(batch=8, ddpo=DdpoSettings(steps_per_image=3, inner_epochs=2)), 48),
        (
            Settings(
                update="forward",
                forward=ForwardSettings(steps=5, good_images_per_update=2, bad_images_per_update=4),
            ),
            30,
        ),
        (Settings(update="d3po", d3po=D3poSettings(pairs=4, steps_per_image=5)), 40),
        (Settings(update="sft", sft=SftSettings(steps=3, images_per_update=7)), 21),
    ],
)
def test_rows_that_each_update_trains(settings: Settings, rows: int) -> None:
    assert trained_rows(settings) == rows


def needs(**changes: float) -> Preflight:
    plain = {
        "parameters": 860_000_000,
        "memory_needed": 2_000_000_000,
        "memory_there": 24_000_000_000,
        "seconds_per_image": 3.0,
        "images": 64,
        "rounds": 8,
        "round_seconds": 270.0,
    }
    return Preflight(**(plain | changes))  # type: ignore[arg-type]


def test_a_long_session_and_a_full_memory_are_asked_about() -> None:
    assert session_seconds(needs()) == 8 * (270 + 96)
    assert not asks_first(needs()) and asks_first(needs(rounds=10))
    assert asks_first(needs(memory_needed=25_000_000_000))
    assert not asks_first(needs(memory_there=None))
    told = dict(preflight_rows(needs(rounds=20)))
    assert told["parameters"] == "0.86 billion" and "GPU 24 GB" in told["memory"]
    assert told["the session"] == "20 rounds, about 2 h 2 min with labelling"
    assert [duration(seconds) for seconds in (1, 300, 7800)] == ["1 min", "5 min", "2 h 10 min"]
