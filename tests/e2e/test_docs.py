"""The commands of docs/ are run as they stand there, on a tiny model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hero_process import BATCH, PATIENCE, PROJECT, Hero, WarmCommand
from safetensors.torch import load_file

from hero_engine.config.settings import Settings, with_changes
from hero_engine.config.tasks import read_task, settings_for
from hero_engine.core.errors import ExitCode

DOCS = PROJECT / "docs"
SETTINGS = {
    "HERO_BATCH": str(BATCH),
    "HERO_MICROBATCH": "2",
    "HERO_SAMPLER_STEPS": "4",
    "HERO_EMBEDDING_EPOCHS": "5",
    "HERO_EMBEDDING_FEATURES": "16",
    "HERO_EMBEDDING_HEAD": "[16, 8]",
    "HERO_FORWARD_STEPS": "2",
    "HERO_DDPO_STEPS_PER_IMAGE": "2",
}


def blocks(page: str, language: str) -> list[str]:
    """A page's blocks of code in a language, in order."""
    text = (DOCS / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


class Shell:
    """A folder to work in, where `hero` is a command and its settings make a tiny model."""

    def __init__(self, hero: Hero, model: Path, home: Path) -> None:
        self.home = home
        self.environment = os.environ | hero.environment | SETTINGS | {"HERO_MODEL": str(model)}
        self.environment |= {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
        self.command("python3", f'exec {sys.executable} "$@"')
        self.hero = WarmCommand(home / "bin")

    def command(self, name: str, script: str) -> None:
        """Add a command to the PATH."""
        path = self.home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def start(self, script: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.home,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def shell(hero: Hero, tiny_model: Path, tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(hero, tiny_model, tmp_path)
    yield shell
    shell.hero.close()


def same_learned(one: Path, other: Path) -> bool:
    left, right = (load_file(run / "checkpoints/r002/lora.safetensors") for run in (one, other))
    return left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)


@pytest.mark.timeout(600)
def test_the_page_on_scripts_does_what_it_says(shell: Shell) -> None:
    label, read = blocks("scripting.md", "python")
    (shell.home / "label.py").write_text(label)
    commands = "\n".join(blocks("scripting.md", "sh"))
    said, talk = shell.start(commands).communicate()
    codes = re.findall(r"^echo \$\? +# (\d+)$", commands, re.MULTILINE)
    assert said.split() == codes, talk
    runs = shell.home / "runs"
    assert same_learned(runs / "judged", runs / "pieces")
    assert same_learned(runs / "elsewhere", runs / "replayed")
    subprocess.run([sys.executable, "-c", read], cwd=shell.home, check=True)
    assert len((shell.home / "labels.jsonl").read_text().splitlines()) == 2 * BATCH
    assert '"from": "HERO_NOISE_PERTURBATION"' in (shell.home / "settings.json").read_text()


def test_the_job_of_the_page_on_slurm_requeues_until_it_is_done(shell: Shell) -> None:
    """SLURM is played: srun starts a step, which gets the signal; scontrol puts the job back."""
    (job,) = blocks("slurm.md", "bash")
    queue, step, run = (shell.home / name for name in ("queue", "step", "runs/hands"))
    shell.command("srun", f'echo $$ > {step}.new; mv {step}.new {step}; exec "$@"')
    shell.command("scontrol", f'echo "$@" > {queue}')
    codes = []
    for attempt in range(3):
        queue.unlink(missing_ok=True)
        process = shell.start(job, SLURM_JOB_ID="17", HERO_ROUNDS="2")
        if attempt < 2:
            wait_for(run / f"rounds/r{attempt:03}/part-00000.safetensors", process)
            os.kill(int(step.read_text()), signal.SIGUSR1)
        said, _ = process.communicate(timeout=PATIENCE)
        codes.append(process.returncode)
        assert queue.exists() == (attempt < 2)
        assert attempt == 2 or queue.read_text() == "requeue 17\n"
    assert codes == [75, 75, 0]
    assert f"done: {run}" in said
    assert (run / "checkpoints/r002").is_dir()


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until the file is there; the process must be alive meanwhile."""
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("page", ["docs/scripting.md"])
def test_the_exit_codes_are_all_of_them(page: str) -> None:
    told = re.findall(r"^\| (\d+) \|", (PROJECT / page).read_text("utf-8"), re.MULTILINE)
    assert [int(code) for code in told] == sorted(ExitCode)


@pytest.mark.timeout(600)
def test_the_page_on_tasks_does_what_it_says(shell: Shell) -> None:
    for script in blocks("tasks.md", "sh"):
        done = shell.start(f"set -e\n{script}")
        _, said = done.communicate(timeout=PATIENCE)
        assert done.returncode == 0, said
    labels = [json.loads(line) for line in (shell.home / "labels.jsonl").read_text().splitlines()]
    assert len({row["prompt"] for row in labels}) == 3
    scores = json.loads((shell.home / "scores.json").read_text())
    assert [each["n"] for each in scores["prompts"]] == [2, 2, 2] and scores["n"] == 6
    rows = (shell.home / "runs/mine/imported/r001-000/pictures.jsonl").read_text().splitlines()
    assert [json.loads(row)["label"] for row in rows] == ["good", "bad", "good", "bad"]
    (editing,) = blocks("tasks.md", "toml editing")
    assert with_changes(Settings(), tomllib.loads(editing)).sampler.image == ("house.png",)
    sizes = json.loads((shell.home / "sizes.json").read_text())["prompts"]
    assert [each["prompt"].split()[-1] for each in sizes] == ["96x64", "64x96"]
    for name, counts in (("pictures", (2, 0, 2)), ("sizes", (2, 2, 0))):
        (shell.home / f"{name}.toml").write_text(blocks("tasks.md", f"toml {name}")[0])
        own = read_task(shell.home / f"{name}.toml")
        assert (len(own.prompts), len(own.sizes), len(own.image)) == counts
        assert len(settings_for(own, "m").plan) == 4
    judged = json.loads((shell.home / "bright.json").read_text())
    assert 0 <= judged["score"] <= 1 and judged["judge"] == "python:bright:judge"
    for table in blocks("tasks.md", "toml"):
        (shell.home / "more-prompts.txt").write_text("a bicycle at night\n")
        (shell.home / "task.toml").write_text(table)
        task = read_task(shell.home / "task.toml")
        assert (len(task.prompts), len(task.transfer_prompts)) == (3, 1)
