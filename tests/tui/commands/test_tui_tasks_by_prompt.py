"""`hero run TASK`: a name, a file, or a prompt typed on the spot."""

from pathlib import Path

import pytest

from hero_engine.config.tasks import Task, list_tasks, load_task
from hero_engine.core.errors import HeroError
from hero_tui.commands.name_task import draws, task_named


def test_a_shipped_task_by_its_name() -> None:
    assert task_named("hands") == load_task("hands")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cup.toml"
    path.write_text('prompt = "a cup"')
    assert task_named(str(path)) == Task("cup", "a cup")


def test_a_prompt_with_what_counts_as_good() -> None:
    assert task_named("a red bicycle", "two wheels") == Task(
        "a-red-bicycle", "a red bicycle", success="two wheels"
    )
    assert task_named("bicycle", "two wheels").prompt == "bicycle"


def test_a_prompt_of_several_words_needs_nothing_else() -> None:
    assert task_named("a red bicycle") == Task("a-red-bicycle", "a red bicycle")


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A Red, Red / bicycle!", "a-red-red-bicycle"),
        ("?!  ...", "prompt"),
        ("\u7ea2 \u8272", "\u7ea2-\u8272"),
        ("\u7ea2 " * 80, None),
        ("word " * 50, None),
    ],
)
def test_the_prompt_names_a_folder_that_any_file_system_takes(
    prompt: str, name: str | None
) -> None:
    got = task_named(prompt.strip(), "it").name
    assert name in (got, None)
    assert got and "/" not in got and len(got.encode()) <= 100 and got.strip("-.") == got


@pytest.mark.parametrize(
    ("text", "good", "said"),
    [
        (
            "handz",
            None,
            "did you mean 'hands'? For a prompt of your own: hero run",
        ),
        ("xyzzy", None, "known are: black-cat, "),
        ("hands", "five", "--good goes with a prompt of your own"),
        ("mine.toml", "five", "--good goes with a prompt of your own"),
        ("a red\nbicycle", "x", "write one line of text"),
        ("a red bicycle", "\x1b[2J", "write one line of text"),
        (" ", "x", "write one line of text"),
    ],
)
def test_what_is_refused(text: str, good: str | None, said: str) -> None:
    with pytest.raises(HeroError) as refused:
        task_named(text, good)
    assert said in refused.value.message and "\n" not in refused.value.message


def test_the_embedded_model_draws_the_shipped_tasks_and_nothing_else() -> None:
    assert all(draws(task.prompt) for task in list_tasks())
    assert draws("two hands") and draws("A CAT")
    assert not draws("a red bicycle") and not draws("") and not draws("one of the in a")
