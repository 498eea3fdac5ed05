"""What a run will need, told before its first picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny_runs import Script

from hero_engine.core.events import Event, ImagesReady, Preflight
from hero_engine.models.footprint import footprint_of
from hero_engine.models.memory_estimate import kept_for_backward
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.preflight import memory_needed
from hero_engine.training.trainer import Trainer
from hero_engine.updates.network_calls import TRAINED
from hero_tui.session.preflight_words import (
    asks_first,
    duration,
    preflight_rows,
    session_seconds,
    weights,
)


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
    rows = folder.settings.sft.steps * folder.settings.sft.images_per_update
    rows_of_step = 2  # it is sampled with guidance, and trained without
    assert needs.round_seconds == pytest.approx(
        6 * needs.seconds_per_image + TRAINED * rows * step / rows_of_step
    )


def test_the_memory_is_that_of_the_models_weights_and_activations(
    make_run: Callable[..., RunDir],
) -> None:
    """The copy without weights keeps what the model itself keeps."""
    trainer = Trainer.open(make_run().settings, "cpu")
    model = trainer.model
    x, t = torch.zeros(1, *model.latent_shape), model.process.timesteps_at(torch.tensor([0.5]))
    kept = kept_for_backward(model.network, model.network_call(x, t, model.any_prompt))
    found = footprint_of(model)
    assert found.kept == kept and kept.checkpointed > 0 and found.decoding > 0
    lora = sum(weight.numel() for weight in model.lora_parameters())
    frozen = sum(weight.nbytes for weight in model.network.parameters()) - 4 * lora
    beside = 4 * found.vae + 16 * lora + max(kept.checkpointed, found.decoding)
    assert memory_needed(trainer) == frozen + beside


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
    assert told["parameters"] == "860 million" and "GPU 24 GB" in told["memory"]
    assert told["the session"] == "20 rounds, about 2 h 2 min with labelling"
    assert [weights(count) for count in (4.1e6, 2.567e9)] == ["4.1 million", "2.57 billion"]
    assert [duration(seconds) for seconds in (1, 300, 7800)] == ["1 min", "5 min", "2 h 10 min"]
