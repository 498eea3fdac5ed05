"""A study on a tiny model: when it scores, interruptions, settings that may not change."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from refusals import refused
from tiny_runs import tiny_settings

from hero_engine.config.old_names import NEW_NAMES
from hero_engine.config.settings import Settings, with_changes
from hero_engine.config.tasks import list_tasks
from hero_engine.config.toml_file import read_toml
from hero_engine.config.validation import flat, merge
from hero_engine.core.errors import ExitCode
from hero_engine.embedded.judge import Judge
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.study.methods import ABLATIONS, METHODS, parse_methods
from hero_engine.study.plan import HYPERPARAMETERS, TUNING_TASK, Plan, Trial, study_task
from hero_engine.study.report import write_report
from hero_engine.study.run_study import read_study, run_study
from hero_engine.study.trial import InUse, Listener, read_figures, run_trial


class Glance:
    """A judge that looks at one pixel."""

    def success(
        self, task: str, images: npt.NDArray[np.uint8], wanted: Any
    ) -> npt.NDArray[np.bool_]:
        even: npt.NDArray[np.bool_] = images[:, 3, 5, 0] % 2 == 0
        return even

    def success_probability(
        self, task: str, images: npt.NDArray[np.uint8], wanted: Any
    ) -> npt.NDArray[np.float32]:
        return images[:, 3, 5, 1].astype(np.float32)

    def features(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return images[:, :2, :2].reshape(len(images), -1).astype(np.float32)


@pytest.fixture
def make(
    square_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Plan]:
    """Plans of tiny runs: six pictures a round."""
    monkeypatch.setattr(Judge, "open", lambda which: Glance())
    tiny = asdict(tiny_settings(square_folder))
    changes = {
        name: tiny[name]
        for name in (
            "model",
            "batch",
            "microbatch",
            "sampler",
            "lora",
            "embedding",
            "forward",
            "sft",
        )
    }
    plan = Plan(
        ("hands",),
        parse_methods("hero-forward:noise.fresh_ratio=0.5"),
        (0,),
        tmp_path / "study",
        labels=12,
        every=6,
        images=4,
        changes=changes,
    )
    return lambda **change: replace(plan, **change)


def only(plan: Plan) -> Trial:
    [trial] = plan.trials()
    return trial


def test_a_score_after_every_n_labels(make: Callable[..., Plan]) -> None:
    plan, scored, sampled = make(), list[int](), list[int]()
    listener = Listener(sampled.append, lambda trial, point: scored.append(point["labels"]))
    figures = run_trial(plan, only(plan), listener)
    assert scored == [6, 12] == [point["labels"] for point in figures["points"]]
    first, last = figures["points"]
    assert all(point["guided"] and point["kl"] > 0 for point in (first, last))
    assert first["base_guided"] is None and last["base_guided"] is not None
    assert figures["transfer"].keys() == {"a hand", "photo of a hand"}
    assert sum(sampled) == 12 + 4 * (2 + 2 + 1 + 2)  # labels; fresh, guided, base guided, transfer
    assert [row["labels_total"] for row in figures["rounds"]] == [6, 12]
    with Journal(plan.run_path(only(plan)) / "journal.db") as journal:
        for round, letters in enumerate(figures["labels"]):
            labels = journal.labels(round, 6)
            assert [each in "g*" for each in letters] == list(labels.good)
            assert letters.count("*") == (labels.best is not None)
    assert figures["settings"]["noise.fresh_ratio"] == 0.5
    assert (
        run_trial(plan, only(plan), Listener(score=pytest.fail)) == figures
    )  # nothing is done twice


def test_an_interrupted_trial_has_the_same_figures(make: Callable[..., Plan]) -> None:
    """Once between a round and its score, once after a score."""

    class Interrupt(Exception):  # noqa: N818 - as a key press
        pass

    def after_round(count: int) -> None:
        if count == 6:  # scores report microbatches of 3
            raise Interrupt

    def after_score(trial: Trial, point: dict[str, Any]) -> None:
        raise Interrupt

    plan = make(methods=parse_methods("sft"))
    straight = run_trial(replace(plan, out=plan.out / "straight"), only(plan), Listener())
    path = plan.figures_path(only(plan))
    with pytest.raises(Interrupt):
        run_trial(plan, only(plan), Listener(pictures=after_round))
    assert not path.exists()
    with pytest.raises(Interrupt):
        run_trial(plan, only(plan), Listener(score=after_score))
    assert [point["labels"] for point in read_figures(path)["points"]] == [6]
    again = run_trial(plan, only(plan), Listener())
    assert again["points"] == straight["points"] and again["labels"] == straight["labels"]
    assert all(point["guided"] is None for point in again["points"])  # nothing guides the noise


def test_a_larger_budget_continues(make: Callable[..., Plan]) -> None:
    small, large = make(labels=6), make(labels=12)
    first = run_trial(small, only(small), Listener())
    scored: list[int] = []
    both = run_trial(
        large, only(large), Listener(score=lambda trial, point: scored.append(point["labels"]))
    )
    assert scored == [12] and both["points"][0] == first["points"][0]
    assert both["transfer"].keys() == first["transfer"].keys()


def test_other_settings_are_refused(make: Callable[..., Plan]) -> None:
    plan = make(labels=6)
    run_trial(plan, only(plan), Listener())
    for other, said in [
        (replace(plan, images=5), "made with images = 4, not 5"),
        (replace(plan, every=3), "made with every = 6, not 3"),
        (
            replace(plan, changes={**plan.changes, "microbatch": 2}),
            "made with microbatch = 3, not 2",
        ),
    ]:
        with refused(ExitCode.RUN, said, "use another folder for --out"):
            run_trial(other, only(other), Listener())


def test_a_trial_with_old_setting_names_is_the_same(make: Callable[..., Plan]) -> None:
    plan = make(labels=6)
    figures = run_trial(plan, only(plan), Listener())
    old = {new: name for name, new in NEW_NAMES.items()}
    figures["settings"] = {old.get(name, name): x for name, x in figures["settings"].items()}
    assert "unlabelled.rounds" in figures["settings"]
    plan.figures_path(only(plan)).write_text(json.dumps(figures))
    assert run_trial(plan, only(plan), Listener(score=pytest.fail)) == figures
    other = replace(plan, changes={**plan.changes, "microbatch": 2})
    with refused(ExitCode.RUN, "made with microbatch = 3, not 2"):
        run_trial(other, only(other), Listener())


def test_settings_of_an_update_that_is_not_used_may_change(make: Callable[..., Plan]) -> None:
    plan = make(labels=6, methods=parse_methods("sft"))
    figures = run_trial(plan, only(plan), Listener())
    other = merge(plan.changes, {"forward": {"steps": 9}})
    assert (
        run_trial(replace(plan, changes=other), only(plan), Listener(score=pytest.fail)) == figures
    )
    other = merge(plan.changes, {"sft": {"steps": 9}})
    with refused(ExitCode.RUN, "made with sft.steps = 2, not 9"):
        run_trial(replace(plan, changes=other), only(replace(plan, changes=other)), Listener())


def test_a_trial_of_another_process_is_left_alone(make: Callable[..., Plan]) -> None:
    plan = make()
    folder = RunDir.create(plan.run_path(only(plan)), only(plan).settings(), only(plan).task)
    with folder.lock(), pytest.raises(InUse):
        run_trial(plan, only(plan), Listener())


def test_a_study_from_end_to_end(make: Callable[..., Plan]) -> None:
    plan = make(methods=parse_methods("hero-forward,sft"), labels=6, seeds=(0, 1))
    progress: list[tuple[int, int]] = []
    outcome = run_study(plan, lambda *at: progress.append(at), lambda trial, point: None)
    assert progress[0][0] == 0 and progress[-1][0] == progress[-1][1]
    assert (outcome.missing, len(outcome.points)) == (0, 4 + 2)
    assert [row.seeds for row in write_report(outcome, "x").summaries] == [2, 2]
    again: list[tuple[int, int]] = []
    outcome = run_study(plan, lambda *at: again.append(at), pytest.fail)
    assert again == [(0, 0)]
    assert read_study(plan) == outcome
    more = read_study(replace(plan, seeds=(0, 1, 2), tasks=("hands", "mountain")))
    assert (more.points, more.missing) == (outcome.points, 8)
    with refused(ExitCode.RUN, "has no figures for these tasks, methods and seeds yet"):
        read_study(replace(plan, seeds=(7,)))


def test_the_plan(tmp_path: Path) -> None:
    both = parse_methods("hero,ddpo@2048")
    plan = Plan(("hands", "mountain"), both, (0, 1), tmp_path, "judge:flip=0.1")
    trials = list(plan.trials())
    assert [trial.name for trial in trials[:4]] == [
        "hands-hero-flip=0.1-0".replace("=", "_"),
        "hands-ddpo-flip_0.1-0",
        "mountain-hero-flip_0.1-0",
        "mountain-ddpo-flip_0.1-0",
    ]
    assert [trial.labels for trial in trials[:2]] == [512, 2048] and len(trials) == 8
    assert len({plan.run_path(trial) for trial in trials}) == 8
    for bad, said in [
        ({"labeller": "labels.jsonl"}, "a study is labelled by a judge"),
        ({"labeller": "judge:picky=green"}, "choices for 'hands' are: nothing"),
        ({"tasks": ("feet",)}, "no task is called 'feet'"),
        ({"methods": parse_methods("sft:sft.stepss=3")}, "unknown setting 'sft.stepss'"),
    ]:
        with refused(ExitCode.USAGE, said):
            replace(plan, **bad)


def test_the_tuning_task_is_not_a_reported_one() -> None:
    tuning = study_task("tuning")
    assert TUNING_TASK.stem not in {task.name for task in list_tasks()}
    assert tuning.prompt not in {task.prompt for task in list_tasks()}
    assert tuning.wanted == {"colour": "white"}


def settings_in(task: str, method: str, tmp_path: Path) -> Settings:
    [trial] = Plan((task,), parse_methods(method), (0,), tmp_path).trials()
    return trial.settings()


def test_methods_use_their_tuned_values(tmp_path: Path) -> None:
    """But not on the tuning task; an ablation uses HERO's values; typed settings win."""
    tuned = read_toml(HYPERPARAMETERS)
    assert tuned and tuned.keys() <= METHODS.keys()
    for method, table in tuned.items():
        want = with_changes(settings_in("tuning", method, tmp_path), table)
        assert replace(settings_in("hands", method, tmp_path), task="", prompt="") == replace(
            want, task="", prompt=""
        )
    [(part, values)] = tuned["hero"].items()
    for ablation in ABLATIONS:
        assert (
            flat(values).items()
            <= asdict(getattr(settings_in("hands", ablation, tmp_path), part)).items()
        )
    [name] = values
    typed = settings_in("hands", f"hero:{part}.{name}=0.5", tmp_path)
    assert getattr(getattr(typed, part), name) == 0.5


def test_no_two_methods_share_their_files(tmp_path: Path) -> None:
    plan = Plan(("hands",), parse_methods(",".join([*METHODS, "hero+"])), (0,), tmp_path)
    paths = [plan.figures_path(trial).name for trial in plan.trials()]
    assert len(set(paths)) == len(METHODS)
    assert paths[0] == "hands-hero-0.json" and "hands-hero-plus-0.json" in paths
