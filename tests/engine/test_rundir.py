"""A run's folder: made, found, locked, and whole after a crash at any moment."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hero_engine import files, rundir
from hero_engine.config import embedded, paper
from hero_engine.errors import ExitCode, HeroError
from hero_engine.journal import Journal
from hero_engine.rundir import RunDir, find_run, newest_run, runs_root
from hero_engine.tasks import Task, load_task

TASK = Task("cup", "a cup", "Cup", "it is full", 30, 6, ("a mug",), None, {"batch": 8})
SETTINGS = embedded(task="cup", prompt="a cup", batch=6, labels=30)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", SETTINGS, TASK)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HERO_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@contextmanager
def refused(code: ExitCode, *said: object) -> Iterator[None]:
    """One line that says all of this, and the exit code."""
    with pytest.raises(HeroError) as error:
        yield
    message = error.value.message
    assert error.value.exit_code == code
    assert all(str(each) in message for each in said), message
    assert "\n" not in message


# --- making and opening


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
    with refused(ExitCode.RUN, "full exists already; choose another --dir"):
        RunDir.create(tmp_path / "full", SETTINGS, TASK)
    with refused(ExitCode.RUN, "letter exists already"):
        RunDir.create(tmp_path / "full" / "letter", SETTINGS, TASK)
    (tmp_path / "empty").mkdir()
    assert RunDir.create(tmp_path / "empty", SETTINGS, TASK).path == tmp_path / "empty"


def test_a_folder_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused(ExitCode.ENVIRONMENT, "cannot write to", tmp_path / "file" / "run"):
        RunDir.create(tmp_path / "file" / "run", SETTINGS, TASK)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_the_machines_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with refused(ExitCode.ENVIRONMENT, "cannot write to", tmp_path / "run"):
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


# --- damage


@pytest.mark.parametrize(
    "text",
    [
        "",
        "settings = = 5",
        "settings = 5\ntask = 5",
        "[settings]\n[task]",
        "[settings]\n[task]\nname = 'a'\nprompt = 'b'\ncolour = 'red'",
        "[settings]\n[task]\nname = 'a'\nprompt = 'b'\ntransfer_prompts = 5",
        "settings = 5\n[task]\nname = 'a'\nprompt = 'b'",
        "[settings]\nbatch = 0\n[task]\nname = 'a'\nprompt = 'b'",
        "[settings]\nbatches = 8\n[task]\nname = 'a'\nprompt = 'b'",
    ],
)
def test_damaged_settings_are_told(run: RunDir, text: str) -> None:
    (run.path / "run.toml").write_text(text)
    with refused(ExitCode.RUN, run.path / "run.toml", "is damaged: "):
        RunDir.open(run.path)


def test_settings_that_are_no_text_are_told(run: RunDir) -> None:
    (run.path / "run.toml").write_bytes(b"\xff\xfe\x00")
    with refused(ExitCode.RUN, run.path / "run.toml", "is damaged: "):
        RunDir.open(run.path)


@pytest.mark.parametrize("text", ["", "{", "5", "[1]", "null"])
def test_a_damaged_status_is_told(run: RunDir, text: str) -> None:
    (run.path / "status.json").write_text(text)
    with refused(ExitCode.RUN, run.path / "status.json"):
        run.status()


def test_a_damaged_journal_is_told(run: RunDir) -> None:
    run.journal_path.write_text("no journal" * 1000)
    with refused(ExitCode.RUN, run.journal_path):
        run.opened()


@pytest.mark.parametrize("text", ["", "{", "5", "[1]"])
def test_a_damaged_state_of_a_checkpoint_is_told(run: RunDir, text: str) -> None:
    run.save_checkpoint(1, {}, {})
    (run.path / "checkpoints" / "r001" / "state.json").write_text(text)
    with refused(ExitCode.RUN, run.path / "checkpoints" / "r001", "is damaged: "):
        run.load_checkpoint()


@pytest.mark.parametrize("keep", [0, 7, 60, -1])
def test_damaged_tensors_are_told(run: RunDir, keep: int) -> None:
    run.save_checkpoint(1, {"lora": {"w": torch.ones(8)}}, {})
    run.save_part(0, 0, {"x": torch.ones(8)})
    lora = run.path / "checkpoints" / "r001" / "lora.safetensors"
    part = run.path / "rounds" / "r000" / "part-00000.safetensors"
    for file in (lora, part):
        file.write_bytes(file.read_bytes()[:keep])
    with refused(ExitCode.RUN, lora, "is damaged: "):
        run.load_checkpoint()
    with refused(ExitCode.RUN, part, "is damaged: "):
        run.load_parts(0)


# --- the lock

HOLDER = """
import sys, time
from pathlib import Path
from hero_engine.rundir import RunDir

with RunDir.open(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_kept_out_until_the_holder_dies(run: RunDir) -> None:
    command = [sys.executable, "-c", HOLDER, str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert run.in_use()
        said = f"{run.path} is in use by another hero (process {holder.pid})"
        with refused(ExitCode.RUN, said), run.lock():
            pytest.fail("two processes hold the run")
        holder.kill()
    assert not run.in_use()
    with run.lock():
        assert (run.path / "lock").read_text() == str(os.getpid())


def test_the_lock_is_free_again_after_its_block_whatever_happened(run: RunDir) -> None:
    assert not run.in_use()
    with pytest.raises(ZeroDivisionError), run.lock():
        assert run.in_use()
        raise ZeroDivisionError
    assert not run.in_use()
    with run.lock(), refused(ExitCode.RUN, f"(process {os.getpid()})"):
        run.lock().__enter__()


def test_a_lock_file_of_rubbish_does_not_keep_anyone_out(run: RunDir) -> None:
    (run.path / "lock").write_text("-1 of them")
    with run.lock(), refused(ExitCode.RUN, f"(process {os.getpid()})"):
        run.lock().__enter__()


def test_a_run_that_has_gone_cannot_be_locked(run: RunDir, tmp_path: Path) -> None:
    run.path.rename(tmp_path / "moved")
    with refused(ExitCode.RUN, run.path), run.lock():
        pytest.fail("there is no run")


# --- finding


def test_runs_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("HERO_RUNS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert runs_root() == Path("/home/me/.local/share/hero/runs")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert runs_root() == Path("/data/hero/runs")
    monkeypatch.setenv("HERO_RUNS", "~/mine")
    assert runs_root() == Path("/home/me/mine")
    monkeypatch.setenv("HERO_RUNS", "")
    assert runs_root() == Path("/data/hero/runs")


def test_a_run_is_found_by_path_by_name_or_as_the_newest(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, here = root / "one", tmp_path / "here"
    for path in (named, here):
        RunDir.create(path, SETTINGS, TASK)
    assert find_run("one") == find_run(None) == named
    assert find_run(str(here)) == here
    monkeypatch.chdir(tmp_path)
    assert find_run("here") == Path("here")
    RunDir.create(tmp_path / "one", SETTINGS, TASK)
    assert find_run("one") == Path("one")  # a path comes before a name
    for missing in (find_run("gone"), tmp_path):
        with refused(ExitCode.RUN, f"{missing} is not a run"):
            RunDir.open(missing)


def test_the_newest_run_is_the_one_that_was_worked_on_last(root: Path) -> None:
    old, new = (RunDir.create(root / name, SETTINGS, TASK).path for name in ("b", "a"))
    for seconds, path in enumerate((old, new)):
        os.utime(path / "run.toml", (seconds, seconds))
    assert newest_run() == new
    for file in ("status.json", "journal.db", "journal.db-wal"):
        for seconds, path in enumerate((new, old), start=10):
            (path / file).touch()
            os.utime(path / file, (seconds, seconds))
        assert newest_run() == old
        for path in (old, new):
            (path / file).unlink()


def test_no_run_at_all_is_told_with_the_way_to_one(root: Path) -> None:
    with refused(ExitCode.RUN, f"there is no run in {root}", "hero run --task hands"):
        newest_run()
    (root / "photos").mkdir(parents=True)
    (root / "letter").write_text("dear")
    with refused(ExitCode.RUN, "there is no run in"):
        find_run(None)


def test_two_runs_in_the_same_second_get_two_folders(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "20250102-030405")
    names = []
    for _ in range(3):
        path = rundir.new_run_path("cup")
        assert path.parent == root
        names.append(RunDir.create(path, SETTINGS, TASK).path.name)
    assert names == [f"cup-20250102-030405{end}" for end in ("", "-2", "-3")]


# --- what is written


class PowerCut(Exception):  # noqa: N818 - not an error of anybody's
    """The machine is off."""


def cut(*_: Any, **__: Any) -> None:
    """Stands in for a system call that the machine did not live to see."""
    raise PowerCut


@pytest.mark.parametrize(("owner", "call"), [(Path, "replace"), (os, "fsync")])
def test_a_crash_in_the_middle_of_writing_leaves_the_old_file(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    run.write_status({"round": 1})
    run.save_part(0, 0, {"x": torch.ones(2)})
    with monkeypatch.context() as crash, pytest.raises(PowerCut):
        crash.setattr(owner, call, cut)
        run.write_status({"round": 2})
    with monkeypatch.context() as crash, pytest.raises(PowerCut):
        crash.setattr(owner, call, cut)
        run.save_part(0, 0, {"x": torch.zeros(2)})
    assert run.status() == {"round": 1}
    assert torch.equal(run.load_parts(0)[0]["x"], torch.ones(2))
    run.write_status({"round": 3})
    assert run.status() == {"round": 3}
    assert not (run.path / "status.json.tmp").exists()


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def heard(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            calls.append(name)
            return real(*args)

        return called

    monkeypatch.setattr(os, "fsync", heard("flush", os.fsync))
    monkeypatch.setattr(Path, "replace", heard("rename", Path.replace))
    files.write_atomically(tmp_path / "a", "text")
    assert calls == ["flush", "rename", "flush"]  # the last one is the folder's
    assert (tmp_path / "a").read_text() == "text"


def test_status_is_empty_before_the_first(run: RunDir) -> None:
    assert run.status() == {}


def test_events_are_appended_a_line_each(run: RunDir) -> None:
    for line in ('{"event": "\u00e9"}', '{"event": "b"}'):
        run.add_event(line)
    lines = (run.path / "events.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["\u00e9", "b"]


def test_a_picture_comes_back_pixel_by_pixel(run: RunDir) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    run.save_picture(2, 7, pixels)
    path = run.picture_path(2, 7)
    assert run.relative(path) == "images/r002/007.png"
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(picture), pixels)


TENSORS = {
    "fp32": torch.tensor([[0.1, -0.0], [float("nan"), float("inf")]]),
    "fp16": torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(0)).half(),
    "bf16": torch.tensor(1 / 3).bfloat16(),
    "fp64": torch.tensor([1 / 3], dtype=torch.float64),
    "int64": torch.tensor([2**62, -1]),
    "bool": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 3),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "strided": torch.arange(6.0)[::2],
    "trained": torch.ones(2, requires_grad=True),
}


def same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> bool:
    """Names, types, shapes and every bit."""
    return got.keys() == want.keys() and all(
        (got[k].dtype, got[k].shape) == (v.dtype, v.shape)
        and got[k].numpy(force=True).tobytes() == v.numpy(force=True).tobytes()
        if v.dtype != torch.bfloat16
        else torch.equal(got[k].view(torch.int16), v.view(torch.int16))
        for k, v in want.items()
    )


def test_tensors_come_back_bit_by_bit_and_in_order(run: RunDir) -> None:
    for first in (12, 0, 6, 99_999):
        run.save_part(3, first, {**TENSORS, "first": torch.tensor(first)})
    got = run.load_parts(3)
    assert list(got) == [0, 6, 12, 99_999]
    assert all(same(got[at], {**TENSORS, "first": torch.tensor(at)}) for at in got)
    assert run.load_parts(4) == {}


def test_a_trained_round_keeps_one_file_however_often_it_is_condensed(run: RunDir) -> None:
    for first in (0, 6):
        run.save_part(0, first, {"x": torch.ones(3)})
    folder = run.path / "rounds" / "r000"
    run.condense(0, {"x": torch.ones(6)})
    assert [file.name for file in folder.iterdir()] == ["latents.safetensors"]
    before = (folder / "latents.safetensors").read_bytes()
    # a crash while minibatches went: the first condensing is kept, what was left goes
    run.save_part(0, 6, {"x": torch.ones(3)})
    run.condense(0, {"x": torch.ones(3)})
    assert [file.name for file in folder.iterdir()] == ["latents.safetensors"]
    assert (folder / "latents.safetensors").read_bytes() == before


# --- checkpoints


def checkpoints(run: RunDir) -> list[str]:
    return sorted(path.name for path in (run.path / "checkpoints").iterdir())


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_loaded(run: RunDir) -> None:
    assert run.load_checkpoint() is None
    for round in range(1, 5):
        parts = {"lora": {**TENSORS, "w": torch.tensor(round)}, "prior": {}}
        run.save_checkpoint(round, parts, {"labels": round * 6})
    assert checkpoints(run) == ["r003", "r004"]
    loaded = run.load_checkpoint()
    assert loaded is not None
    parts, state = loaded
    assert state == {"round": 4, "labels": 24}
    assert parts["prior"] == {} and same(parts["lora"], {**TENSORS, "w": torch.tensor(4)})


def test_round_1000_comes_after_round_999(run: RunDir) -> None:
    for round in (998, 999, 1000, 1001):
        run.save_checkpoint(round, {}, {})
    assert checkpoints(run) == ["r1000", "r1001"]
    loaded = run.load_checkpoint()
    assert loaded is not None and loaded[1]["round"] == 1001


@pytest.mark.parametrize(
    ("owner", "call"),
    [(Path, "replace"), (Path, "rename"), (os, "fsync"), (rundir, "flush_folder")],
)
def test_a_crash_in_a_checkpoint_leaves_the_old_one_or_the_new(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    run.save_checkpoint(1, {"lora": {"w": torch.ones(2)}}, {})
    with monkeypatch.context() as crash, pytest.raises(PowerCut):
        crash.setattr(owner, call, cut)
        run.save_checkpoint(2, {"lora": {"w": torch.zeros(2)}}, {})
    loaded = run.load_checkpoint()
    renamed = call == "flush_folder"
    assert loaded is not None and loaded[1]["round"] == (2 if renamed else 1)
    assert torch.equal(loaded[0]["lora"]["w"], torch.zeros(2) if renamed else torch.ones(2))
    if not renamed:
        run.save_checkpoint(2, {"lora": {"w": torch.zeros(2)}}, {})
        assert checkpoints(run) == ["r001", "r002"]


def test_what_a_crash_left_half_made_is_no_checkpoint(run: RunDir) -> None:
    half = run.path / "checkpoints" / ".r005.tmp"
    half.mkdir(parents=True)
    (half / "lora.safetensors").write_bytes(b"half")
    assert run.load_checkpoint() is None
    run.save_checkpoint(5, {}, {})
    loaded = run.load_checkpoint()
    assert loaded is not None and loaded == ({}, {"round": 5})
