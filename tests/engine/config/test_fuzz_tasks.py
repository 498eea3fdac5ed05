"""Any task file is a task or refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task, load_task, settings_for
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.sanitize import sanitized

KEYS = [
    "name",
    "prompt",
    "title",
    "success",
    "labels",
    "batch",
    "transfer_prompts",
    "judge",
    "paper",
    "wanted",
    "promt",
    "x",
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    TEXTS | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
NEARLY_RIGHT = st.fixed_dictionaries(
    {"prompt": TEXTS | st.just("a cup")},
    optional={
        "name": TEXTS,
        "title": TEXTS,
        "success": TEXTS,
        "judge": st.just("hands") | TEXTS,
        "batch": st.integers(1, 5000),
        "labels": st.integers(1),
        "transfer_prompts": st.lists(TEXTS, max_size=3),
        "paper": st.dictionaries(st.sampled_from(["batch", "labels"]), st.integers(0, 9)),
    },
)
TABLES = st.dictionaries(st.sampled_from(KEYS) | TEXTS, VALUES, max_size=4)
FILES = (
    st.binary()
    | st.text().map(str.encode)
    | (TABLES | NEARLY_RIGHT).map(tomli_w.dumps).map(str.encode)
)


@given(FILES)
@example(b"")
@example(b"\xef\xbb\xbfprompt = 'a'")
@example(b"a = " + b"[" * 9_000)
@example(b"a" + b".a" * 900 + b" = 1")
@example(b"a" + b".a" * 50_000 + b" = 1")
@example(b"prompt = 'a'\nlabels = 1" + b"0" * 4200)
@example(b"prompt = 'a'\nlabels = 1" + b"0" * 4400)
@example(b"prompt = 'a'\ntitle = 1979-05-27T99:00:00Z")
def test_any_file_is_a_task_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    try:
        task = load_task(str(path))
    except HeroError as error:
        assert_one_line(error)
        assert error.message.startswith(str(path))
        return
    assert_sound(task)
    try:
        assert isinstance(settings_for(task, "embedded"), Settings)
    except HeroError as error:  # a batch or a budget beyond what settings allow
        assert_one_line(error)


def assert_one_line(error: HeroError) -> None:
    assert error.exit_code == ExitCode.USAGE
    assert "\n" not in error.message and len(error.message) < 1000


def assert_sound(task: Task) -> None:
    """Its texts are lines that change no terminal; its name names a folder."""
    texts: list[Any] = [task.name, task.prompt, task.title or "x", task.success]
    for text in (*texts, *task.transfer_prompts, task.judge or "x"):
        assert text.strip() and sanitized(text) == text
    assert Path(task.name).name == task.name and task.name not in (".", "..")
    assert task.batch > 0 and task.labels > 0
