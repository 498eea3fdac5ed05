"""A run's folder as it is made, opened again and introduced."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from refusals import refused
from run_folders import SETTINGS, TASK

from hero_engine.config.presets import paper
from hero_engine.config.tasks import Task, load_task
from hero_engine.core.errors import ExitCode
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir


@pytest.mark.parametrize("task", [TASK, load_task("hands")])
def test_a_run_opens_as_it_was_made(tmp_path: Path, task: Task) -> None:
    settings = paper(task=task.name, prompt='a "cup"\u00e9')
    made = RunDir.create(tmp_path / "a" / "run", settings, task)
    again = RunDir.open(made.path)
    assert (again.path, again.settings, again.task) == (made.path, settings, task)


def test_a_run_is_for_its_user_alone(run: RunDir) -> None:
    assert run.path.stat().st_mode & 0o777 == 0o700


def test_a_folder_with_something_in_it_is_not_taken(tmp_path: Path, run: RunDir) -> None:
    with refused(ExitCode.RUN, run.path, "hero resume"):
        RunDir.create(run.path, SETTINGS, TASK)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("dear")
    with refused(ExitCode.RUN, "full exists; choose another --dir"):
        RunDir.create(tmp_path / "full", SETTINGS, TASK)
    with refused(ExitCode.RUN, "letter exists; "):
        RunDir.create(tmp_path / "full" / "letter", SETTINGS, TASK)
    (tmp_path / "empty").mkdir()
    assert RunDir.create(tmp_path / "empty", SETTINGS, TASK).path == tmp_path / "empty"


def test_a_folder_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused(ExitCode.ENVIRONMENT, "cannot write to", tmp_path / "file" / "run"):
        RunDir.create(tmp_path / "file" / "run", SETTINGS, TASK)


def test_a_folder_without_permission_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by a stand-in for the system, which lets root write anywhere."""

    def refuse(path: object, *_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as system:
        system.setattr(os, "mkdir", refuse)
        with refused(ExitCode.ENVIRONMENT, f"cannot write to {tmp_path}/run: Permission denied"):
            RunDir.create(tmp_path / "run", SETTINGS, TASK)


def test_a_run_is_introduced_by_what_is_on_the_disk(run: RunDir) -> None:
    before = run.opened()
    assert (before.run, before.task, before.round) == (str(run.path), "cup", 0)
    assert (before.batch, before.budget, before.labels_used) == (6, 30, 0)
    with Journal(run.journal_path) as journal:
        journal.add_round(0)
        journal.finish_round(0, {"labels_total": 5})
        assert (run.opened().round, run.opened().labels_used) == (1, 5)
        journal.add_round(1)
        journal.set_phase(1, "labelling")
        assert (run.opened().round, run.opened().labels_used) == (1, 5)


def test_rounds_set_the_budget_where_they_are_given(tmp_path: Path) -> None:
    settings = paper(batch=6, rounds=4, labels=1000)
    assert RunDir.create(tmp_path / "run", settings, TASK).opened().budget == 24
