"""Prompts of a run: templates, files, what is kept aside, and which image has which prompt."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hero_engine.config.prompts import (
    MOST,
    ONE_PROMPT,
    PromptPlan,
    all_expanded,
    expanded,
    kept_aside,
    read_prompts,
    short_names,
)
from hero_engine.config.settings import Settings, from_toml, to_toml
from hero_engine.config.tasks import read_task, settings_for
from hero_engine.core.errors import HeroError


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        ("1 hand", ("1 hand",)),
        ("a {plain} brace, a | bar", ("a {plain} brace, a | bar",)),
        ("{red|blue} car", ("red car", "blue car")),
        ("a {|shiny }car", ("a car", "a shiny car")),
        (
            "{red|blue} car, {at dawn|in snow}",
            (
                "red car, at dawn",
                "red car, in snow",
                "blue car, at dawn",
                "blue car, in snow",
            ),
        ),
    ],
)
def test_a_template_stands_for_every_combination(template: str, prompts: tuple[str, ...]) -> None:
    assert expanded(template) == prompts


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        (["{red|blue car"], "write alternatives as {red|blue}"),
        (["{a|{b|c}}"], "write alternatives as {red|blue}"),
        (["{" + "|".join(map(str, range(MOST + 1))) + "}"], f"at most {MOST}"),
        (["a", ""], "write one line of text"),
        (["a\x1b[2J"], "write one line of text"),
        ([f"prompt {number}" for number in range(MOST + 1)], f"at most {MOST}"),
    ],
)
def test_wrong_templates_are_refused(templates: list[str], said: str) -> None:
    with pytest.raises(HeroError, match=said.replace("{", r"\{").replace("|", r"\|")):
        all_expanded(templates)


@given(
    prompts=st.integers(1, 7),
    images=st.integers(1, 40),
    round=st.integers(0, 9),
    mixed=st.booleans(),
    added=st.integers(0, 3),
)
def test_images_are_divided_equally_and_added_prompts_leave_earlier_rounds_alone(
    prompts: int, images: int, round: int, mixed: bool, added: int
) -> None:
    names = tuple(map(str, range(prompts)))
    plan = PromptPlan(names, order="mixed" if mixed else "grouped")
    groups = plan.groups(round, images)
    shares = Counter(groups)
    assert len(groups) == images and set(groups) <= set(range(prompts))
    assert max(shares.values()) - min(shares[group] for group in range(prompts)) <= 1
    assert mixed or list(groups) == sorted(groups)
    starts = (*(0 for _ in names), *(round + 1 for _ in range(added)))
    later = PromptPlan((*names, *(f"new {each}" for each in range(added))), starts, plan.order)
    assert later.groups(round, images) == groups
    assert later.active(round + 1) == tuple(range(prompts + added))


def test_each_prompt_gets_its_turn_where_there_are_more_prompts_than_images() -> None:
    plan = PromptPlan(tuple("abcde"))
    seen = Counter(group for round in range(5) for group in plan.groups(round, 2))
    assert seen == {group: 2 for group in range(5)}
    assert ONE_PROMPT.groups(3, 4) == (0, 0, 0, 0)


def test_what_is_kept_aside_does_not_depend_on_the_order() -> None:
    prompts = [f"a {colour} car" for colour in ("red", "blue", "green", "black")]
    taught, aside = kept_aside(prompts, 2)
    assert len(taught) == len(aside) == 2 and {*taught, *aside} == {*prompts}
    assert {*kept_aside(prompts[::-1], 2)[1]} == {*aside}
    with pytest.raises(HeroError, match="there are 4 prompts"):
        kept_aside(prompts, 4)


def test_a_short_name_is_what_differs() -> None:
    assert short_names(["red car, at dawn", "blue car, at dusk"]) == ("red dawn", "blue dusk")
    assert short_names(["a car", "a car at dusk"]) == ("a car", "a car at dusk")
    assert short_names(["a car"]) == ("a car",)


def test_a_task_file_has_prompts_templates_and_a_file_of_them(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("# a remark\n\na {green|black} car\nred car\n")
    task = tmp_path / "cars.toml"
    task.write_text('prompts = ["{red|blue} car"]\nprompts_file = "more.txt"\nkeep_aside = 1\n')
    found = read_task(task)
    assert len(found.prompts) == 3 and found.prompt == found.prompts[0]
    assert {*found.prompts, *found.transfer_prompts} == {
        "red car",
        "blue car",
        "a green car",
        "a black car",
    }
    settings = settings_for(found, "embedded")
    assert settings.plan.prompts == found.prompts == from_toml(to_toml(settings)).prompts
    task.write_text('prompt = "red car"\n')
    assert settings_for(read_task(task), "embedded").prompts == ()


@pytest.mark.parametrize("text", [None, "", "# nothing\n"])
def test_a_prompts_file_without_prompts_is_refused(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "prompts.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(HeroError, match="prompts file" if text is None else "has no prompts"):
        read_prompts(file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts": ("a", "a")}, "a prompt twice"),
        ({"prompts": ("b", "c")}, "the first of prompts"),
        ({"prompts": ("a", "b"), "prompt_starts": (0,)}, "a round for each"),
        ({"prompts": ("a", "b"), "prompt_starts": (1, 0)}, "a round for each"),
        ({"prompts": ("a", "b"), "prompt_starts": (0, -1)}, "at least 0"),
    ],
)
def test_settings_of_prompts_that_do_not_fit_are_refused(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(HeroError, match=said):
        Settings(prompt="a", **changes)  # type: ignore[arg-type]
