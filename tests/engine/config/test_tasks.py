"""The shipped tasks, a user's own, and every mistake in a task file as one line."""

from dataclasses import replace
from pathlib import Path

import pytest
from refusals import refused

from hero_engine.config.tasks import (
    Task,
    list_tasks,
    load_task,
    read_task,
    settings_for,
    task_of_prompt,
)
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.embedded.drawing import TASKS

SHIPPED = {task.name: task for task in list_tasks()}


def test_the_papers_tasks_ship() -> None:
    assert {name: task.prompt for name, task in SHIPPED.items() if name != "safety"} == {
        "hands": "1 hand",
        "blue-rose": "photo of one blue rose in a vase",
        "black-cat": "a black cat sitting inside a cardboard box",
        "narcissus": "narcissus by a quiet spring and its reflection in the water",
        "mountain": "beautiful mountains viewed from a train window",
    }
    assert list(SHIPPED) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_task_is_complete(name: str) -> None:
    task = load_task(name)
    assert task == SHIPPED[name]
    assert task.title and task.success and task.transfer_prompts
    assert task.judge in TASKS
    assert (task.batch, task.labels) == (64, 512)


def test_hands_has_the_papers_larger_budget_under_the_papers_preset_only() -> None:
    hands = load_task("hands")
    big = settings_for(hands, "some/model")
    assert (big.preset, big.batch, big.labels) == ("paper", 128, 1152)
    small = settings_for(hands, "embedded")
    assert (small.preset, small.batch, small.labels) == ("embedded", 64, 512)


def test_the_preset_follows_the_model_unless_it_is_named() -> None:
    task = Task("cup", "a cup")
    assert settings_for(task, "embedded").preset == "embedded"
    assert settings_for(task, "./mine").preset == "paper"
    mixed = settings_for(task, "embedded", "paper")
    assert (mixed.preset, mixed.model, mixed.update) == ("paper", "embedded", "ddpo")


def test_changes_go_over_the_tasks_numbers_and_those_over_the_presets() -> None:
    task = Task("cup", "a cup", batch=12, labels=36, paper={"batch": 10})
    settings = settings_for(task, "./mine", changes={"labels": 20, "ddpo": {"microbatch": 4}})
    assert (settings.task, settings.prompt) == ("cup", "a cup")
    assert (settings.batch, settings.labels, settings.ddpo.microbatch) == (10, 20, 4)


def test_a_preset_may_differ_by_update_and_changes_go_over_that() -> None:
    hands = load_task("hands")
    forward, ddpo = (
        settings_for(hands, "embedded", None, {"update": update}) for update in ("forward", "ddpo")
    )
    assert settings_for(hands, "embedded") == forward
    assert (forward.lora.block, ddpo.lora.block) == ("", "mid_block")
    changed = settings_for(hands, "embedded", None, {"update": "ddpo", "lora": {"within": "up"}})
    assert changed == replace(ddpo, lora=replace(ddpo.lora, block="up"))


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(HeroError, match="no preset is called 'best'; known are: embedded, hero"):
        settings_for(load_task("hands"), "embedded", "best")


def test_a_prompt_alone_makes_a_task(tmp_path: Path) -> None:
    path = tmp_path / "cup.toml"
    path.write_text('prompt = "a cup, caf\u00e9 \U0001f375"', "utf-8")
    assert load_task(str(path)) == Task("cup", "a cup, caf\u00e9 \U0001f375")


def test_an_own_task_may_say_everything(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "cup"\ntitle = "Cup"\nprompt = "a cup"\nsuccess = "full"\njudge = "hands"\n'
        'labels = 30\nbatch = 6\ntransfer_prompts = ["a mug"]\npaper = { batch = 8 }\n'
        'wanted = { kind = "fused" }\nenhanced_prompt = "a full cup"'
    )
    want = Task("cup", "a cup", "Cup", "full", 30, 6, ("a mug",), "hands", {"batch": 8})
    want = replace(want, wanted={"kind": "fused"}, enhanced_prompt="a full cup")
    want = replace(want, judged_prompts=("a cup", "a mug", "a full cup"))
    assert load_task(str(path)) == want


def test_a_file_here_does_not_hide_a_shipped_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hands.toml").write_text('prompt = "a glove"')
    assert load_task("hands").prompt == "1 hand"
    assert load_task("hands.toml").prompt == "a glove"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'a task needs a line such as: prompt = "'),
        ('title = "Cup"', 'a task needs a line such as: prompt = "'),
        ("prompt = a cup", "is not valid TOML: "),
        ('prompt = "a"\nwanted = { kind = 5 }', "is not a table of attributes, each with"),
        ('prompt = ""', "prompt = '' is not one line of text"),
        ('prompt = " "', "prompt = ' ' is not one line of text"),
        ("prompt = 5", "prompt = 5 is not one line of text"),
        (r'prompt = "a\u001b]0;cup"', r"prompt = 'a\x1b]0;cup' is not one line of text"),
        (r'prompt = "a\ncup"', r"prompt = 'a\ncup' is not one line of text"),
        ('prompt = "a"\nsuccess = true', "success = True is not one line of text"),
        ('prompt = "a"\nname = "../a"', "name = '../a' is not one line of text without '/'"),
        ('prompt = "a"\njudge = []', "judge = [] is not one line of text"),
        ('prompt = "a"\nbatch = 0', "batch = 0 is not a whole number of at least 1"),
        ('prompt = "a"\nbatch = true', "batch = True is not a whole number of at least 1"),
        ('prompt = "a"\nlabels = 1.5', "labels = 1.5 is not a whole number of at least 1"),
        ('prompt = "a"\ntransfer_prompts = "b"', "transfer_prompts = 'b' is not a list of texts"),
        ('prompt = "a"\ntransfer_prompts = [1]', "transfer_prompts = [1] is not a list of texts"),
        ('prompt = "a"\npaper = 5', "paper = 5 is not a table of labels and batch"),
        ('prompt = "a"\npaper = {seed = 1}', "is not a table of labels and batch"),
        ('prompt = "a"\npaper = {batch = 0}', "is not a table of labels and batch"),
        (
            'promt = "a"',
            "unknown key 'promt'; known are batch, enhanced_prompt, image, judge, keep_aside, ",
        ),
    ],
)
def test_a_mistake_in_a_task_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cup.toml"
    path.write_text(text)
    with refused(ExitCode.USAGE, said, start=path):
        load_task(str(path))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cup.toml"
    path.write_bytes(b"prompt = '\xff\xfe'")
    with pytest.raises(HeroError, match=r"cup.toml is not valid TOML: "):
        load_task(str(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.toml", "there is no task file gone.toml"),
        ("a/gone", "there is no task file a/gone"),
        ("../tasks/hands", "there is no task file ../tasks/hands"),
        ("feet", "no task is called 'feet'; there are black-cat, blue-rose, hands, mountain"),
        ("", "no task is called ''"),
    ],
)
def test_a_missing_task_is_reported(name: str, said: str) -> None:
    with refused(ExitCode.USAGE, start=said):
        load_task(name)


def test_a_judge_labels_the_prompts_that_its_task_names_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('prompts = ["one {left|right} hand"]\njudge = "hands"')
    hands, mine = load_task("hands"), read_task(file)
    added = hands.with_prompts([hands.prompt, "a bicycle"])
    for task, prompt, judge in (
        (hands, "1 hand", "hands"),
        (hands, "photo of a hand", "hands"),
        (hands, load_task("black-cat").prompt, "black-cat"),
        (mine, "one right hand", "hands"),
        (Task("cup", "a cup"), "1 hand", "hands"),
    ):
        assert task_of_prompt(task, prompt).judge == judge
    for task, prompt in (
        (added, "a bicycle"),
        (mine, "a bicycle"),
        (Task("cup", "a cup"), "a cup"),
    ):
        with pytest.raises(HeroError, match=f"no judge knows the prompt '{prompt}'"):
            task_of_prompt(task, prompt)
