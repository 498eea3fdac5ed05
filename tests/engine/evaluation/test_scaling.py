"""The model on paper, by hand; and what a trial of a round measures, without other processes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_settings

from hero_engine.config.settings import DdpoSettings, ForwardSettings
from hero_engine.distributed.collectives import ALONE
from hero_engine.distributed.link import Wire
from hero_engine.evaluation.scaling import Round
from hero_engine.evaluation.timed_round import Trial, fastest, steps_and_rows

WIRE = Wire(bandwidth=1000.0, latency=0.5)
ROUND = Round(
    batch=10, minibatch=2, steps=3, rows=5, sample=20.0, update=10.0, half=7.0, embed=4.0,
    weights=600, order=100, picture=50, lesson=1000,
)  # fmt: skip


def test_a_ring_adds_up() -> None:
    assert WIRE.sum(1, 600) == 0
    assert WIRE.sum(2, 600) == pytest.approx(2 * 0.5 + 0.6)
    assert WIRE.sum(4, 600) == pytest.approx(6 * 0.5 + 6 / 4 * 0.6)


def test_a_tree_hands_out_and_one_gathers() -> None:
    assert [WIRE.hand_out(count, 100) for count in (1, 2, 3, 4, 5)] == pytest.approx(
        [0.0, 0.6, 1.2, 1.2, 1.8]
    )
    assert [WIRE.gather(count, 100) for count in (1, 2, 4)] == pytest.approx([0, 0.55, 0.575])


def test_one_process_takes_what_it_was_measured_to_take() -> None:
    assert ROUND.sampling(1, WIRE) == ROUND.sample
    assert ROUND.updating(1, WIRE) == ROUND.update
    assert ROUND.all(1, WIRE) == 34


def test_sampling_by_hand() -> None:
    # Turns of 4, 4 and 2 pictures at 2 s: two, two and one of them; an order takes 0.6 s, four
    # pictures 0.5 + 0.1 s back, two 0.5 + 0.05 s.
    assert ROUND.sampling(2, WIRE) == pytest.approx(5 * 2 + 3 * 0.6 + 2 * 0.6 + 0.55)
    # One turn of all: three pictures is the most that one of four has. Two rounds of handing out.
    assert ROUND.sampling(4, WIRE) == pytest.approx(
        2 * (2 + 1) + 2 * 2 * 0.6 + (0.5 + 0.75 * 0.4) + (0.5 + 0.75 * 0.1)
    )


def test_an_update_by_hand() -> None:
    # Half of five rows is three: 7 = whole + 3/5 (10 - whole), so every process does 2.5 s whole.
    assert ROUND.whole == pytest.approx(2.5)
    assert ROUND.updating(2, WIRE) == pytest.approx(7 + 1.5 + 3 * 1.6)
    # Two rows for the first of four.
    assert ROUND.share(4) == pytest.approx(5.5)
    assert ROUND.updating(4, WIRE) == pytest.approx(2.5 + 2 / 5 * 7.5 + 2 * 1.5 + 3 * 3.9)
    assert ROUND.all(2, WIRE) == pytest.approx(ROUND.sampling(2, WIRE) + 13.3 + 4)


def test_what_is_whole_lies_between_nothing_and_all() -> None:
    assert replace(ROUND, half=5.9).whole == 0
    assert replace(ROUND, half=10.5).whole == 10
    assert replace(ROUND, rows=1).whole == 0


def test_steps_and_rows_of_either_update(square_folder: Path) -> None:
    settings = tiny_settings(square_folder, update="forward", forward=ForwardSettings(steps=7))
    assert steps_and_rows(settings) == (7, 32)
    ddpo = DdpoSettings(images_per_update=4, inner_epochs=2)
    assert steps_and_rows(replace(settings, update="ddpo", ddpo=ddpo)) == (4, 4)
    few = replace(ddpo, images_per_update=64)
    assert steps_and_rows(replace(settings, update="ddpo", ddpo=few)) == (2, 6)


def test_the_fastest_turn_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([3.0, 9.0, 2.0, 8.0, 5.0, 7.0])
    monkeypatch.setattr("hero_engine.evaluation.timed_round.timed", lambda work: next(seconds))
    assert fastest([lambda: None, lambda: None], 3) == [2, 7]


def test_a_share_of_an_update_has_its_part_of_the_rows(square_folder: Path, update: str) -> None:
    """The network is trained on the rows that rank 0 of so many has."""
    trial = Trial(tiny_settings(square_folder, update=update), ALONE, 1)
    rows: list[int] = []

    def count(network: object, inputs: tuple[torch.Tensor, ...]) -> None:
        rows.append(len(inputs[0]) if torch.is_grad_enabled() else 0)

    trial.alone.model.network.register_forward_pre_hook(count)
    found = []
    for processes in (1, 2, 3):
        rows.clear()
        assert trial.share(processes, 1) > 0
        found.append(sum(rows))
    # ddpo: two steps of 3 pictures, 2 times denoised, with guidance; forward: two steps of 4 rows.
    assert found == {"ddpo": [24, 16, 8], "forward": [8, 4, 4]}[update]


def test_a_round_is_described(square_folder: Path) -> None:
    trial = Trial(tiny_settings(square_folder, update="ddpo"), ALONE, 1)
    round = trial.round(2.0, 3.0, 1)
    numbers = sum(weight.numel() for weight in trial.alone.model.lora_parameters())
    assert (round.sample, round.update, round.weights) == (2.0, 3.0, 4 * numbers)
    assert min(round.half, round.embed) > 0
    # A picture comes as 8-bit colours, its latent, noise, and two more for each step kept.
    latent = trial.batch.latents_B_C_H_W[0].nbytes
    height, width = trial.alone.model.picture_size
    assert round.picture == 3 * height * width + latent * (2 + 2 * 2)
    assert round.weights < round.order < round.lesson
