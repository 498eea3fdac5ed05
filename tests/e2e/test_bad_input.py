"""Every mistake gets one line that says what was wrong, and its exit code; never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hero_process import BATCH, Done, FinishedRun, Hero, small_run

RUN = "run --task hands --model {model}"
HEADLESS = f"{RUN} --headless"
WHOLE = f"{HEADLESS} --labels {{labels}} --batch {BATCH}"

WRONG = {  # exit code: command: what it says
    2: {
        "frob": "No such command 'frob'. See: hero --help",
        "run": "no task is named: hero run TASK",
        f"{RUN} --frob": "No such option: --frob",
        f"{RUN} --rounds 0": "--rounds",
        f"{RUN} --batch many": "--batch",
        f"{RUN} --seed -1": "--seed",
        "run --task feet": "no task is called 'feet'; known are: black-cat, ",
        "run handz": "no task is called 'handz'; did you mean 'hands'? For a prompt of your own: "
        'hero run "handz" --good',
        "run hands --task hands": "two tasks are given",
        "run hands --good five": "--good goes with a prompt of your own",
        "run --good five": "--good goes with a prompt",
        "run hands --steps 30": "It is a setting: --set sampler.steps=VALUE",
        "run --task feet.toml": "there is no task file feet.toml",
        "run --task bad.toml": "bad.toml is not valid TOML",
        "run --task empty.toml": 'a task needs a line such as: prompt = "a red bicycle"',
        "run --task typo.toml": "unknown key 'promt'",
        f"{RUN} --preset fast": "no preset is called 'fast'; known are: embedded, ",
        f"{RUN} --update sgd": "update is 'sgd'; allowed is one of ddpo, forward",
        f"{RUN} --graphics vga": "--graphics vga: choose one of auto, kitty, iterm, sixel, symbols",
        f"{RUN} --set sampler": "--set sampler: write KEY=VALUE",
        f"{RUN} --set speed=9": "unknown setting 'speed'; did you mean 'seed'?",
        f"{RUN} --set zzz=9": "unknown setting 'zzz'; known are: batch, ",
        f"{RUN} --set ui.graphics=kitty": "unknown setting 'ui'; known are: ",
        "config show --set sampler.step=9": "unknown setting 'sampler.step'; did you mean",
        f"{RUN} --set sampler.steps=0": "sampler.steps is 0; allowed is a whole number from 1",
        f"{RUN} --set sampler=1 --set sampler.steps=2": "another --set gives sampler",
        f'{WHOLE} --set lora.targets=["gate"]': "lora.targets: 'gate' names no layer",
        f"{RUN} --labels judge": "--labels goes with --headless",
        RUN: "needs a terminal on stdin and stdout; without one, use --headless --labels",
        f"{RUN} --max-rounds 1": "--max-seconds and --max-rounds go with --headless",
        f"{RUN} --max-seconds 1": "--max-seconds and --max-rounds go with --headless",
        f"{HEADLESS} --max-rounds 0": "--max-rounds",
        f"{HEADLESS} --max-seconds -1": "--max-seconds",
        f"{HEADLESS} --labels judge --force": "--force goes with --labels FILE.jsonl",
        f"{HEADLESS} --labels judge:flip=2": "a judge takes flip=0.1",
        f"{HEADLESS} --labels judge:picky=green": "choices for 'hands' are: nothing",
        f"{HEADLESS} --labels none.jsonl": "labels file none.jsonl: No such file or directory",
        f"{HEADLESS} --labels .": "cannot read the labels file .: Is a directory",
        f"{HEADLESS} --labels words.jsonl": "words.jsonl",
        f"{HEADLESS} --labels twice.jsonl": '"image" 1 has a label already, in line 1',
        f"{HEADLESS} --labels beyond.jsonl --batch 64": '"image" is 64; it must be from 0 to 63',
        "run --task mine.toml --model {model} --headless --labels judge": "no judge knows",
        "resume {run} --rounds 1": "needs a terminal",
        "resume {run} --add-prompt dog": "needs a terminal",
        "resume {run} --add-prompt dog --headless --labels judge": "no judge knows",
        "import {run} none.jsonl": "cannot read none.jsonl: No such file",
        "import {run} {home}": "must have good or bad in its name",
        "import {run} good --crop round": "--crop round: choose one of center, top, ",
        "resume {run} --from-round 0": "Invalid value for '--from-round'",
        "show {run} --round 0": "Invalid value for '--round'",
        "labels {run} --round 0": "Invalid value for '--round'",
        "resume {run} --graphics vga": "choose one of auto",
        "status a b": "Got unexpected extra argument",
        "eval {run} --images 1": "--images",
        "eval {run} --noise loud": "--noise loud: choose fresh or guided",
        "label {run}": "Missing option '--from'. See: hero label --help",
        "label {run} --from {labels}": "does not wait for labels; continue with: hero resume {run}",
        "export {run}": "nothing to write: give --out FILE for the LoRA, --merge DIR for the model",
        "export {run} --out a.ckpt": "--out a.ckpt: the LoRA is a safetensors file",
        "export {run} --out there.safetensors": "there.safetensors exists; choose another --out",
        "export {run} --out a.safetensors --format ckpt": "--format ckpt: choose one of diff",
        "export {run} --merge {run}": "{run} exists already; --merge makes a new folder",
        f"{WHOLE} --init-lora none.safetensors": "cannot read the LoRA {home}/none.safetensors",
        f"{WHOLE} --init-lora a --set lora.rank=4": "lora.rank comes from the file of --init-lora",
        f"{WHOLE} --init-lora a --set lora.block=mid": "lora.block comes from the file",
        f"{WHOLE} --set sampler.width=63": "this model cannot draw 63x63 pixels",
        f"{WHOLE} --size 64x64 --size 63x64": "this model cannot draw 63x64 pixels",
        f"{HEADLESS} --labels judge --size 96x64": "the judge knows pictures of 64x64 pixels",
        f"{HEADLESS} --labels judge --set sampler.width=96": "64x64 pixels, not 96x96",
        "eval {run} --human": "labelling needs a terminal on stdin and stdout",
        "eval {run} --human --noise guided": "--human always samples fresh noises",
        "eval {run} --human --images 9999": "a person judges from 2 to 2048 of each model",
    },
    3: {
        "run --task hands --model nosuch": "neither 'embedded', a folder, a .safetensors or",
        "run --task hands --model {home}": "holds no diffusers pipeline",
        WHOLE.replace("{model}", "{half}"): "cannot open model {half}",
        f"{WHOLE} --dir /proc/a": "cannot write to /proc/a",
        "export {run} --out /proc/x.safetensors": "cannot write /proc/x.safetensors",
    },
    4: {
        f"{WHOLE} --dir {{run}}": "hero resume {run}",
        f"{WHOLE} --dir {{home}}": "another --dir",
        "resume": "there is no run in {home}/runs; start one with: hero run hands",
        "resume gone": "gone is not a run",
        "status": "there is no run in",
        "status gone --json": "gone is not a run",
        "status damaged": "run.toml is damaged",
        "show gone": "gone is not a run",
        "show {run} --round 9": "has no images of round 9, only of rounds 1 to 3",
        "label gone --from {labels}": "gone is not a run",
        "labels gone": "gone is not a run",
        "labels {run} --round 9": "{run} has no round 9, only rounds 1 to 3",
        "eval gone": "gone is not a run",
        "export gone --out x.safetensors": "gone is not a run",
    },
}


def label(round: int, image: int) -> str:
    return json.dumps({"round": round, "image": image, "label": "good"}) + "\n"


@pytest.fixture(scope="module")
def places(hero: Hero, tiny_model: Path, labels: Path, finished: FinishedRun) -> dict[str, Path]:
    """What the mistakes name; the files among them lie in the folder where hero starts."""
    texts = {
        "bad.toml": "prompt = ",
        "empty.toml": "",
        "typo.toml": 'promt = "a"',
        "there.safetensors": "",
        "mine.toml": 'prompt = "a red bicycle"',
        "words.jsonl": "good good bad\n",
        "twice.jsonl": label(0, 1) * 2,
        "beyond.jsonl": label(0, 64),
        "damaged/run.toml": "[settings]\nbatch = 0",
    }
    for name, text in texts.items():
        path = hero.home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (hero.home / "runs").mkdir(exist_ok=True)
    half = hero.home / "half"
    shutil.copytree(tiny_model, half, ignore=shutil.ignore_patterns("unet"))
    named = {"model": tiny_model, "half": half, "labels": labels, "run": finished.path}
    return {"home": hero.home, **named}


def one_line(done: Done) -> str:
    """What a refused command said."""
    assert done.out == ""
    assert "Traceback" not in done.err
    (line,) = done.err.splitlines()
    assert line.startswith("hero: ")
    return line


def folders(home: Path) -> set[Path]:
    """All of them: a new one might be a run that should not have begun."""
    return {path for path in home.rglob("*") if path.is_dir()}


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        pytest.param(command, code, said, id=command)
        for code, rows in WRONG.items()
        for command, said in rows.items()
    ],
)
def test_one_line_and_an_exit_code(
    command: str, code: int, said: str, hero: Hero, places: dict[str, Path]
) -> None:
    before, frozen = folders(hero.home), places["run"] / "run.toml"
    written = frozen.read_bytes()
    done = hero.warm(*command.format(**places).split()).end()
    assert said.format(**places) in one_line(done)
    assert done.code == code
    assert folders(hero.home) == before and frozen.read_bytes() == written


def test_a_hub_model_that_is_out_of_reach(hero: Hero, labels: Path) -> None:
    """In a new interpreter: the hub's libraries read their environment on import."""
    run = hero.home / "hub-run"
    done = hero(*small_run(Path("nobody/nothing"), run, labels))
    assert "model nobody/nothing is not in the cache" in one_line(done)
    assert done.code == 3
    assert not run.exists()


def test_a_damaged_journal(hero: Hero, finished: FinishedRun) -> None:
    damaged = hero.home / "no-journal"
    shutil.copytree(finished.path, damaged)
    (damaged / "journal.db").write_bytes(b"not a database, whatever its name says" * 99)
    for command in ("status", "show", "resume"):
        done = hero.warm(command, damaged).end()
        assert "journal.db" in one_line(done)
        assert done.code == 4
