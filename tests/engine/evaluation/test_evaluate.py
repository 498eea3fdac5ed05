"""Scores against arithmetic written out once more, with a judge whose verdicts are known."""

import math
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tiny_runs import new_run, played, tiny_settings

from hero_engine.config.tasks import Task
from hero_engine.core.errors import HeroError
from hero_engine.core.rng import generator
from hero_engine.embedded.judge import Judge
from hero_engine.evaluation.evaluate import (
    EVALUATION_SEED,
    Noise,
    evaluate,
    mean_distance,
    near_copies,
    nearest_distances,
)
from hero_engine.evaluation.intervals import wilson
from hero_engine.policy.sampler import SampleRequest, sample
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import trained

IMAGES = 7


class Glance:
    """A judge that looks at one pixel; remembers all it has seen."""

    def __init__(self) -> None:
        self.seen: list[npt.NDArray[np.uint8]] = []

    def success(
        self, task: str, images: npt.NDArray[np.uint8], wanted: Any
    ) -> npt.NDArray[np.bool_]:
        """Whether it is even."""
        assert task == "hands" and wanted == {"kind": "normal"}
        self.seen.append(images)
        even: npt.NDArray[np.bool_] = images[:, 3, 5, 0] % 2 == 0
        return even

    def features(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """A few pixels."""
        return images[:, :2, :2].reshape(len(images), -1).astype(np.float32)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Glance:
    judge = Glance()
    opened: dict[str, Any] = {"evaluator": judge}
    monkeypatch.setattr(Judge, "open", opened.__getitem__)
    return judge


@pytest.fixture(scope="module")
def folder(square_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of two rounds that moved its model."""
    folder = new_run(
        tmp_path_factory.mktemp("evaluated") / "run",
        tiny_settings(square_folder, update="forward", microbatch=4),
    )
    played(folder, "*gbgbb", "bg*gbb")
    return folder


def expected(
    pictures: npt.NDArray[np.uint8], fresh: npt.NDArray[np.uint8], prefix: str = ""
) -> dict[str, Any]:
    """A score by loops, as `evaluate` names it. fresh: the base's pictures with fresh noise."""
    even = [picture for picture in pictures if int(picture[3, 5, 0]) % 2 == 0]
    return {
        f"{prefix}success_rate": len(even) / len(pictures),
        f"{prefix}interval": pytest.approx(roots_of_the_score_test(len(even), len(pictures))),
        f"{prefix}diversity": distance_by_loops(pictures),
        f"{prefix}good_diversity": distance_by_loops(even),
        f"{prefix}near_copies": near_copies_by_loops(pictures, fresh),
    }


def distance_by_loops(pictures: Iterable[npt.NDArray[np.uint8]]) -> Any:
    """Of the corners, which are the stand-in judge's features; None without a pair."""
    corners = [picture[:2, :2].astype(float).ravel() for picture in pictures]
    pairs = [math.dist(one, other) for one, other in combinations(corners, 2)]
    return pytest.approx(sum(pairs) / len(pairs)) if pairs else None


def near_copies_by_loops(pictures: npt.NDArray[np.uint8], fresh: npt.NDArray[np.uint8]) -> float:
    """The 1st percentile of 7 distances lies 6% of the way from the smallest to the next one."""
    smallest, following = sorted(nearest_by_loops(fresh))[:2]
    limit = smallest + 0.06 * (following - smallest)
    return sum(distance < limit for distance in nearest_by_loops(pictures)) / len(pictures)


def nearest_by_loops(pictures: npt.NDArray[np.uint8]) -> list[float]:
    """Root mean square over pixels, to three digits."""
    flat = [picture.ravel().astype(float) for picture in pictures]
    return [
        round(min(math.dist(one, other) for other in flat if other is not one) / len(one) ** 0.5, 3)
        for one in flat
    ]


def drawn(folder: RunDir, noises: torch.Tensor, *, base: bool, prompt: str = "a") -> Any:
    """The pictures of these noises, all in one microbatch."""
    (trainer, state), settings = trained(folder, "cpu"), folder.settings
    model = trainer.model
    model.load_lora_state(state.lora)
    if base:
        model.network.disable_adapters()
    request = SampleRequest(EVALUATION_SEED, 0, range(len(noises)), noises)
    batch = sample(model, prompt, settings.sampler, request)
    return model.decode(batch.latents_B_C_H_W)


def fresh_noises() -> torch.Tensor:
    return torch.stack(
        [
            torch.randn(4, 8, 8, generator=generator(EVALUATION_SEED, "noise", 0, image))
            for image in range(IMAGES)
        ]
    )


def close(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
    """Up to the rounding of other microbatches."""
    return one.shape == other.shape and int(np.abs(np.subtract(one, other, dtype=int)).max()) <= 1


def watched(folder: RunDir, noise: Noise) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """An evaluation's result, and the progress it told."""
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    return evaluate(folder, IMAGES, noise, on_picture=tell, device="cpu"), told


def test_both_models_are_scored_on_the_same_noises(folder: RunDir, judge: Glance) -> None:
    result, told = watched(folder, "fresh")
    tuned, base = judge.seen
    assert close(tuned, drawn(folder, fresh_noises(), base=False))
    assert close(base, drawn(folder, fresh_noises(), base=True))
    assert not close(tuned, base)
    assert result == {
        "noise": "fresh",
        "prompt": "a",
        "n": IMAGES,
        **expected(tuned, base),
        **expected(base, base, "base_"),
    }
    assert told == [(4, 14), (7, 14), (11, 14), (14, 14)]
    assert evaluate(folder, IMAGES, "fresh", device="cpu") == result


def test_guided_scores_the_base_with_fresh_noises_too(folder: RunDir, judge: Glance) -> None:
    """Half (4 of 7) around best's noise, the rest around goods'."""
    result, told = watched(folder, "guided")
    tuned, base, fresh = judge.seen
    prior = trained(folder, "cpu")[1].priors.of(0)
    assert prior.best_C_H_W is not None
    noises = prior.draw(IMAGES, (4, 8, 8), folder.settings.noise, EVALUATION_SEED, 0)
    near = 0.99**0.5 * prior.best_C_H_W + 0.1 * fresh_noises()[:4]
    assert torch.allclose(noises[:4], near, atol=1e-6)
    assert close(tuned, drawn(folder, noises, base=False))
    assert close(base, drawn(folder, noises, base=True))
    assert close(fresh, drawn(folder, fresh_noises(), base=True))
    assert result == {
        "noise": "guided",
        "prompt": "a",
        "n": IMAGES,
        **expected(tuned, fresh),
        **expected(base, fresh, "base_"),
        **expected(fresh, fresh, "base_fresh_"),
    }
    assert told[-1] == (21, 21)


def test_another_prompt(folder: RunDir, judge: Glance) -> None:
    assert evaluate(folder, 2, "fresh", prompts=["zebra"], device="cpu")["prompt"] == "zebra"
    assert close(judge.seen[0], drawn(folder, fresh_noises()[:2], base=False, prompt="zebra"))


def test_bad_evaluations_are_refused(folder: RunDir, judge: Glance, tmp_path: Path) -> None:
    unjudged = RunDir(folder.path, folder.settings, Task("mine", "a"))
    for run, images, code in [
        (folder, 1, 2),
        (unjudged, IMAGES, 2),
        (new_run(tmp_path / "new", folder.settings), IMAGES, 4),
    ]:
        with pytest.raises(HeroError) as error:
            evaluate(run, images, "fresh", device="cpu")
        assert error.value.exit_code == code


def roots_of_the_score_test(successes: int, n: int) -> tuple[float, float]:
    """Wilson's interval by its meaning: where |share - p| = 1.96 standard deviations at p."""

    def too_far(p: float) -> bool:
        return abs(successes / n - p) > 1.959964 * math.sqrt(p * (1 - p) / n)

    def edge(inside: float, outside: float) -> float:
        for _ in range(80):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if too_far(middle) else (middle, outside)
        return inside

    share = successes / n
    return edge(share, 0.0) if share else 0.0, edge(share, 1.0) if share < 1 else 1.0


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 7), (1, 2), (3, 7), (7, 7), (34, 100), (2047, 2048)]
)
def test_wilson_against_the_roots_of_the_score_test(successes: int, n: int) -> None:
    assert wilson(successes, n) == pytest.approx(roots_of_the_score_test(successes, n), abs=1e-9)


def test_wilson_against_a_published_interval() -> None:
    """Newcombe 1998, table I: 81 of 263 is .2553 to .3662; 0 of 20 is 0 to .1611."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_mean_distance_against_a_double_loop() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    pairs = [math.dist(one, other) for one, other in combinations(rows.astype(float), 2)]
    assert mean_distance(rows) == pytest.approx(sum(pairs) / 36)
    assert mean_distance(rows[[0, 0]]) == 0


def test_near_copies_are_nearer_than_the_bases_first_percentile() -> None:
    """Grey pictures: base's lie 10 apart but for one pair at 4; two pairs of the others at 1."""
    base = nearest_distances(greys(0, 4, *range(14, 114, 10)))
    assert base[:3] == [4, 4, 10]
    assert near_copies(base, base) == 0
    assert near_copies(nearest_distances(greys(0, 1, 50, 51, 100, 120)), base) == 4 / 6


def greys(*values: int) -> npt.NDArray[np.uint8]:
    return np.stack([np.full((2, 3, 3), value, np.uint8) for value in values])
