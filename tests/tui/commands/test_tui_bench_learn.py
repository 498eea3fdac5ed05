"""`hero bench learn`: options to a plan, refusals, progress."""

from pathlib import Path
from typing import Any

import pytest

from hero_engine.core.errors import HeroError
from hero_engine.study.methods import HEADLINE, METHODS
from hero_engine.study.plan import Plan
from hero_tui.cli import run_command
from hero_tui.commands.bench.bench_learn import Choice, Estimate, read_seeds, score_line

NOTHING = Choice(False, None, None, None, "judge", None, None, None, [], None)


def names(plan: Plan) -> list[str]:
    return [each.name for each in plan.methods]


def test_the_full_study_is_six_tasks_six_methods_five_seeds() -> None:
    plan = NOTHING.plan()
    assert len(plan.tasks) == 6 and names(plan) == list(HEADLINE) and plan.seeds == (3, 4, 5, 6, 7)
    assert (plan.labels, plan.every, plan.images, plan.labeller) == (512, 64, 128, "judge")
    assert len(list(plan.trials())) == 180
    assert NOTHING.command() == "hero bench learn"


def test_quick_is_one_task_and_one_seed() -> None:
    plan = Choice(True, None, None, None, "judge", None, None, None, [], None).plan()
    assert (plan.tasks, names(plan)) == (("hands",), ["hero", "hero+", "sft", "ddpo"])
    assert (plan.seeds, plan.labels, plan.every) == ((3,), 256, 128)


def test_options_say_otherwise_and_the_command_repeats_them() -> None:
    chosen = Choice(
        True, "mountain", "sft@64", "1-2,5", "judge:lazy=5", 128, 32, 9, ["microbatch=4"], Path("x")
    )
    plan = chosen.plan()
    assert (plan.tasks, names(plan), plan.seeds) == (("mountain",), ["sft"], (1, 2, 5))
    assert (plan.labels, plan.every, plan.images, plan.out) == (128, 32, 9, Path("x"))
    assert [trial.settings().microbatch for trial in plan.trials()] == [4, 4, 4]
    assert chosen.command() == (
        "hero bench learn --quick --tasks mountain --methods sft@64 --seeds 1-2,5 "
        "--labeller judge:lazy=5 --labels 128 --every 32 --images 9 --set microbatch=4"
    )


@pytest.mark.parametrize("text", ["", "x", "1-", "-1", "1,,2", "0-x"])
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(HeroError, match="write 0,1,2 or 0-4"):
        read_seeds(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--methods", "hreo"], "did you mean 'hero'?"),
        (["--tasks", "feet"], "no task is called 'feet'"),
        (["--labeller", "mine.jsonl"], "a study is labelled by a judge"),
        (["--set", "microbatch=0"], "microbatch is 0"),
    ],
)
def test_refusals_leave_no_folder(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["bench", "learn", "--out", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_methods_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "learn", "--methods", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(METHODS)


def test_a_point_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("hero_tui.commands.bench.bench_learn.time.monotonic", lambda: now[0])
    estimate = Estimate()
    estimate.at(0, 400)
    assert estimate.text() == "starting"
    now[0] = 3600
    estimate.at(100, 400)
    assert estimate.text() == "25%, about 3 h 0 min left"
    now[0] = 4000
    estimate.at(390, 400)
    assert estimate.text() == "98%, about 2 min left"
    trial = next(iter(NOTHING.plan().trials()))
    point: dict[str, Any] = {"labels": 64, "fresh": {"rate": 0.5}, "guided": None}
    line = "black-cat hero seed 3: 64 labels, fresh 0.500"
    assert score_line(trial, point) == line
    assert score_line(trial, point | {"guided": {"rate": 0.75}}) == f"{line}, guided 0.750"
