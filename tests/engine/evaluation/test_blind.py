"""A blind comparison: pairs from the same noises, mixed, judged once, counted right."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import LINES, Script, go

from hero_engine.config.settings import SamplerSettings
from hero_engine.core.errors import HeroError
from hero_engine.core.events import Event, Finished, ImagesReady, PhaseStarted, Stop, SubmitLabels
from hero_engine.core.labels import Mark
from hero_engine.evaluation.blind_comparison import Comparison
from hero_engine.evaluation.blind_session import blind_job
from hero_engine.evaluation.evaluate import EVALUATION_SEED, evaluation_pictures
from hero_engine.evaluation.intervals import paired_difference
from hero_engine.labelling.annotators import read_pictures
from hero_engine.policy.noise_prior import FRESH
from hero_engine.policy.sampler import SampleRequest
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.branch_run import branch
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import Trainer, trained
from hero_tui.commands.human_evaluation import preference, verdict_of

PAIRS = 5


@pytest.fixture
def run(make_run: Callable[..., RunDir]) -> RunDir:
    """A run with one round done."""
    folder = make_run(update="forward", rounds=1)
    go(folder, Script(*LINES))
    return folder


class Person:
    """Judges with `good(pair, tuned)` as soon as everything is there; None leaves unlabelled."""

    def __init__(
        self, comparison: Comparison, good: Callable[[int, bool], bool | None], stop_at: int = 0
    ) -> None:
        self.comparison, self.good, self.stop_at = comparison, good, stop_at
        self.events: list[Event] = []
        comparison.begin()
        self.worker = EngineThread(
            comparison.folder, self.take, job=blind_job(comparison), device="cpu"
        )

    def take(self, event: Event) -> None:
        self.events.append(event)
        ready = [each for each in self.events if isinstance(each, ImagesReady)]
        if self.stop_at and len(ready) == self.stop_at:
            self.worker.send(Stop())
        elif event == PhaseStarted(0, "labelling"):
            threading.Thread(target=self.judge).start()

    def judge(self) -> None:
        with Journal(self.comparison.folder.journal_path) as journal:
            for image, (pair, tuned) in enumerate(self.comparison.owners):
                verdict = self.good(pair, tuned)
                if verdict is not None:
                    journal.mark(0, [Mark(image, "good" if verdict else "bad")], source="person")
            journal.submit(0)
        self.worker.send(SubmitLabels(0))

    def work(self) -> Event:
        self.worker.run()
        return self.events[-1]


def drawn(trainer: Trainer, run: RunDir, *, base: bool) -> Any:
    """The pictures of a model as it is loaded, or of its base."""
    noises = FRESH.draw(PAIRS, trainer.model.latent_shape, run.settings.noise, EVALUATION_SEED, 0)
    request = SampleRequest(EVALUATION_SEED, 0, range(PAIRS), noises)
    return np.concatenate(
        list(evaluation_pictures(trainer, run.settings.prompt, request, base=base))
    )


def pictures_of(comparison: Comparison) -> Any:
    images = range(2 * PAIRS)
    return read_pictures({i: comparison.folder.picture_path(0, i) for i in images})


def test_every_pair_is_there_once_by_each_model_and_they_are_mixed(run: RunDir) -> None:
    comparison = Comparison.open(run, PAIRS)
    assert sorted(comparison.owners) == [(i, t) for i in range(PAIRS) for t in (False, True)]
    assert not comparison.folder.path.exists()
    comparison.begin()
    assert comparison.owners == Comparison.open(run, PAIRS).owners
    assert comparison.owners != tuple(sorted(comparison.owners))
    assert not comparison.judged


def test_the_pictures_are_both_models_from_the_same_noises(run: RunDir) -> None:
    comparison = Comparison.open(run, PAIRS)
    last = Person(comparison, lambda pair, tuned: tuned).work()
    assert isinstance(last, Finished)
    assert (last.labels, last.reason) == (2 * PAIRS, "rounds")
    trainer, state = trained(run, "cpu")
    trainer.model.load_lora_state(state.lora)
    made = {tuned: drawn(trainer, run, base=not tuned) for tuned in (False, True)}
    shown = pictures_of(comparison)
    for image, (pair, tuned) in enumerate(comparison.owners):
        gap = abs(shown[image].astype(int) - made[tuned][pair].astype(int))
        assert gap.max() <= 1
    assert (made[True] != made[False]).any()


def test_verdicts_are_counted_by_model_and_by_pair(run: RunDir) -> None:
    comparison = Comparison.open(run, PAIRS)

    def good(pair: int, tuned: bool) -> bool | None:
        if pair == 4 and not tuned:
            return None
        return pair != 0 if tuned else pair == 1

    Person(comparison, good).work()
    assert comparison.judged
    result = json.loads(json.dumps(comparison.result()))
    assert (result["success_rate"], result["judged"]) == (0.8, 5)
    assert (result["base_success_rate"], result["base_judged"]) == (0.25, 4)
    assert (result["pairs"], result["only_tuned"], result["only_base"]) == (4, 2, 0)
    assert result["difference"] == 0.5
    assert result["difference_interval"] == list(paired_difference(2, 0, 4))


def test_two_runs_are_compared_from_the_same_noises_and_one_is_preferred(
    run: RunDir, tmp_path: Path
) -> None:
    """The second run is a branch of the first, learned from another person's labels."""
    with pytest.raises(HeroError, match="is given twice"):
        Comparison.open(run, PAIRS, other=run)
    other = branch(run, 0, tmp_path / "other")
    with pytest.raises(HeroError, match="not finished a round"):
        Comparison.open(run, PAIRS, other=other)
    go(other, Script("bgb*bb"))
    comparison = Comparison.open(run, PAIRS, other=other)
    assert comparison.folder.path != Comparison.open(run, PAIRS).folder.path
    Person(comparison, lambda pair, of_first: not of_first).work()
    assert Comparison.open(run, PAIRS, other=other).judged
    shown = pictures_of(comparison)
    for of_first, each in ((True, run), (False, other)):
        trainer, state = trained(each, "cpu")
        trainer.model.load_lora_state(state.lora)
        made = drawn(trainer, each, base=False)
        for image, (pair, owner) in enumerate(comparison.owners):
            if owner == of_first:
                assert abs(shown[image].astype(int) - made[pair].astype(int)).max() <= 1
    result = comparison.result()
    assert (result["success_rate"], result["other_success_rate"]) == (0, 1)
    assert (result["only_tuned"], result["only_other"], result["difference"]) == (0, PAIRS, -1)
    found = verdict_of(result)
    assert found is not None
    assert preference(found, ("mine", "theirs")).startswith("Preferred: theirs.")


def test_runs_that_draw_otherwise_are_not_compared(
    make_run: Callable[..., RunDir], run: RunDir
) -> None:
    longer = make_run("longer", sampler=SamplerSettings(steps=3, guidance=2.0))
    with pytest.raises(HeroError, match="their settings sampler differ"):
        Comparison.open(run, PAIRS, other=longer)


def test_a_stop_leaves_the_verdicts_and_only_missing_pictures_are_made(run: RunDir) -> None:
    comparison = Comparison.open(run, PAIRS)
    last = Person(comparison, lambda pair, tuned: True, stop_at=1).work()
    assert isinstance(last, Finished)
    assert last.reason == "stopped"
    path = comparison.folder.picture_path(0, 0)
    made = path.stat().st_mtime_ns
    again = Comparison.open(run, PAIRS)
    person = Person(again, lambda pair, tuned: True)
    person.work()
    assert path.stat().st_mtime_ns == made
    assert again.result()["difference"] == 0


def test_no_labels_give_no_result(run: RunDir) -> None:
    comparison = Comparison.open(run, 2)
    Person(comparison, lambda pair, tuned: None).work()
    result = comparison.result()
    assert result["success_rate"] is result["difference"] is result["interval"] is None


def test_a_run_is_left_alone_and_another_prompt_is_another_comparison(run: RunDir) -> None:
    before = {path for path in run.path.rglob("*") if "eval" not in path.parts}
    first, second = Comparison.open(run, 3), Comparison.open(run, 3, "a red hand")
    assert first.folder.path != second.folder.path
    assert second.folder.settings.prompt == "a red hand"
    assert {path for path in run.path.rglob("*") if "eval" not in path.parts} == before


def test_an_impossible_comparison_is_refused(make_run: Callable[..., RunDir], run: RunDir) -> None:
    with pytest.raises(HeroError, match="not finished a round") as early:
        Comparison.open(make_run("new"), 4)
    assert early.value.exit_code == 4
    with pytest.raises(HeroError, match="--images 5000"):
        Comparison.open(run, 5000)
    broken = Comparison.open(run, 4)
    broken.begin()
    (broken.folder.path / "blind.json").write_text("{}")
    with pytest.raises(HeroError, match=r"blind\.json is damaged") as damaged:
        Comparison.open(run, 4)
    assert damaged.value.exit_code == 4


def test_the_paired_interval_is_symmetric_and_stays_within_its_limits() -> None:
    low, high = paired_difference(0, 0, 10)
    assert low == pytest.approx(-high)
    assert paired_difference(3, 8, 20) == pytest.approx(
        tuple(-each for each in reversed(paired_difference(8, 3, 20)))
    )
    assert paired_difference(20, 0, 20)[1] <= 1


@pytest.mark.parametrize(("first", "second", "pairs"), [(0.2, 0.1, 32), (0.4, 0.05, 24)])
def test_the_paired_interval_holds_the_truth_19_times_in_20(
    first: float, second: float, pairs: int
) -> None:
    """Exactly, over all outcomes of a multinomial."""
    covered = 0.0
    for a in range(pairs + 1):
        for b in range(pairs + 1 - a):
            low, high = paired_difference(a, b, pairs)
            if low <= first - second <= high:
                ways = comb(pairs, a) * comb(pairs - a, b)
                rest = (1 - first - second) ** (pairs - a - b)
                covered += ways * first**a * second**b * rest
    assert 0.94 < covered < 0.98
