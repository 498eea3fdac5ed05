"""Runs from a script: external labels, limits, signals, a queue that stops and requeues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hero_process import BATCH, ROUNDS, Done, FinishedRun, Hero, small_run, write_labels
from safetensors.torch import load_file

from hero_engine.storage.run_folder import RunDir

LAST = f"checkpoints/r{ROUNDS:03}/lora.safetensors"


def same_learned(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same weights, bit by bit."""
    left, right = load_file(one / LAST), load_file(other / LAST)
    return left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)


def fill_in(template: Path) -> None:
    """Label as `write_labels` does, in the template itself."""
    rows = [json.loads(line) for line in template.read_text().splitlines()]
    for row in rows:
        row["label"] = "good" if (row["image"] + row["round"]) % 2 else "bad"
        row["best"] = row["image"] == 3 - row["round"] % 2
    template.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Elsewhere:
    """A run whose labels come from elsewhere, round after round; what each command said."""

    def __init__(self, hero: Hero, model: Path) -> None:
        self.hero, self.path = hero, hero.home / "elsewhere"
        self.first = hero.warm(*small_run(model, self.path)).end()
        self.status = json.loads(hero.warm("status", self.path, "--json").end().out)
        self.again = hero.warm("resume", self.path, "--headless").end()
        self.template = self.template_of(0)
        self.refused = self._refused()
        self.given: list[Done] = []
        self.resumed: list[Done] = []
        for round in range(ROUNDS):
            fill_in(self.template_of(round))
            self.given.append(self.label(self.template_of(round)))
            self.resumed.append(hero.warm("resume", self.path, "--headless").end())

    def template_of(self, round: int) -> Path:
        return self.path / f"labels-r{round:03}.jsonl"

    def label(self, file: Path) -> Done:
        return self.hero.warm("label", self.path, "--from", file).end()

    def labelled(self) -> int:
        return len(exported(self.hero, self.path))

    def _refused(self) -> dict[str, tuple[Done, int]]:
        """What labels files with mistakes bring: what is said, and the labels afterwards."""
        good = '{"round": 0, "image": 0, "label": "good"}'
        other = '{"round": 0, "image": 1, "label": "good", "sha256": "ab"}'
        said = {}
        for name, lines in {
            "words": [good, "", "good bad"],
            "twice": [good, good],
            "beyond": [good, good.replace('"image": 0', f'"image": {BATCH}')],
            "later": [good, good.replace('"round": 0', '"round": 1')],
            "nothing": ["", good.replace('"good"', "null")],
            "other": [good, other],
        }.items():
            file = self.hero.home / f"{name}.jsonl"
            file.write_text("\n".join(lines))
            said[name] = (self.label(file), self.labelled())
        return said


@pytest.fixture(scope="module")
def elsewhere(hero: Hero, tiny_model: Path) -> Elsewhere:
    return Elsewhere(hero, tiny_model)


def test_without_labels_a_round_is_drawn_and_the_run_waits(elsewhere: Elsewhere) -> None:
    (last,) = elsewhere.first.lines()
    assert elsewhere.first.code == 5
    assert (last["event"], last["rounds"], last["reason"]) == ("finished", 0, "labels")
    assert str(elsewhere.template) in last["note"]
    assert elsewhere.first.err.splitlines()[-1].startswith("hero: round 1 waits for labels: ")
    assert len(list(elsewhere.path.glob("images/r000/*.png"))) == BATCH
    assert (elsewhere.status["state"], elsewhere.status["phase"]) == ("waiting", "labelling")


def test_waiting_continues_without_opening_a_model(elsewhere: Elsewhere) -> None:
    assert elsewhere.again.code == 5
    assert elsewhere.again.lines() == elsewhere.first.lines()
    assert len(elsewhere.again.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("words", "words.jsonl, line 3: not JSON"),
        ("twice", 'twice.jsonl, line 2: "image" 0 has a label already, in line 1'),
        ("beyond", f'beyond.jsonl, line 2: "image" is {BATCH}; it must be from 0 to'),
        ("later", 'later.jsonl, line 2: "round" is 1, but the run waits for 0'),
        ("nothing", 'nothing.jsonl has no labels for round 1 ("round": 0)'),
        ("other", 'other.jsonl, line 2: "image" 1 of "round" 0 is another picture than this label'),
    ],
)
def test_a_file_with_a_mistake_labels_nothing(name: str, said: str, elsewhere: Elsewhere) -> None:
    done, labelled = elsewhere.refused[name]
    assert (done.code, done.out, labelled) == (2, "", 0)
    assert done.err.startswith("hero: ") and said in done.err
    assert len(done.err.splitlines()) == 1


def test_labels_from_elsewhere_teach_what_a_file_in_one_go_does(
    elsewhere: Elsewhere, finished: FinishedRun
) -> None:
    assert [done.code for done in elsewhere.given] == [0] * ROUNDS
    assert elsewhere.given[0].err == (
        f"hero: round 1: {BATCH} labels, {BATCH // 2} of them good."
        f" Continue with: hero resume {elsewhere.path}\n"
    )
    assert [done.code for done in elsewhere.resumed] == [5, 5, 0]
    assert same_learned(elsewhere.path, finished.path)


def test_a_run_at_work_takes_no_labels_from_outside(elsewhere: Elsewhere) -> None:
    with RunDir.open(elsewhere.path).lock():
        done = elsewhere.label(elsewhere.template)
    assert done.code == 4
    assert f"is in use by another hero (process {os.getpid()})" in done.err


def test_labels_are_final_once_the_round_is_submitted(elsewhere: Elsewhere) -> None:
    done = elsewhere.label(elsewhere.template)
    assert done.code == 2
    assert "does not wait for labels" in done.err


# --- labels that outlive the tool


def exported(hero: Hero, run: Path, *more: object) -> list[dict[str, Any]]:
    return hero.warm("labels", run, "--json", *more).end().lines()


def test_every_label_is_exported_with_picture_latent_noise_time_and_source(
    hero: Hero, finished: FinishedRun
) -> None:
    rows = exported(hero, finished.path)
    assert [(row["round"], row["image"]) for row in rows] == [
        (round, image) for round in range(ROUNDS) for image in range(BATCH)
    ]
    for row in rows:
        assert row["label"] == ("good" if (row["image"] + row["round"]) % 2 else "bad")
        assert row["best"] == (row["image"] == 3 - row["round"] % 2)
        picture = finished.path / row["picture"]
        assert sha256(picture.read_bytes()).hexdigest() == row["sha256"]
        for name in ("latent", "noise"):
            tensors = load_file(finished.path / row[name]["file"])
            assert len(tensors[row[name]["tensor"]]) == BATCH
            assert row[name]["row"] == row["image"]
        assert row["source"] == "labels.jsonl"
        assert row["time"].startswith("20") and row["time"].endswith("+00:00")


def test_one_round_its_history_and_a_table(hero: Hero, finished: FinishedRun) -> None:
    assert exported(hero, finished.path, "--round", 2) == [
        row for row in exported(hero, finished.path) if row["round"] == 1
    ]
    history = exported(hero, finished.path, "--history", "--round", 1)
    assert [row["label"] for row in history] == [
        *["good" if image % 2 else "bad" for image in range(BATCH)],
        "best",
    ]
    assert {row["kind"] for row in history} == {"mark"}
    table = hero.warm("labels", finished.path, "--round", 1).end().out.splitlines()
    assert table[3].split() == ["1", "4", "good", "best", "images/r000/003.png"]


def test_labels_of_one_run_are_replayed_into_another(
    hero: Hero, tiny_model: Path, finished: FinishedRun
) -> None:
    export = hero.home / "export.jsonl"
    export.write_text(hero.warm("labels", finished.path, "--json").end().out)
    replayed = hero.home / "replayed"
    done = hero.warm(*small_run(tiny_model, replayed, export)).end()
    assert done.code == 0
    assert same_learned(replayed, finished.path)
    assert {row["source"] for row in exported(hero, replayed)} == {"export.jsonl"}

    other = ("--seed", 6)
    refused = hero.warm(*small_run(tiny_model, hero.home / "o", export, *other)).end()
    assert refused.code == 2
    assert 'export.jsonl, line 1: "image" 0 of "round" 0 is another picture' in refused.err
    assert exported(hero, hero.home / "o") == []
    forced = hero.warm("resume", hero.home / "o", "--headless", "--labels", export, "--force")
    said = forced.end()
    assert said.code == 0
    assert f"hero: round 1: {BATCH} of {BATCH} labels are for other pictures\n" in said.err


def test_labels_come_through_a_pipe(hero: Hero, tiny_model: Path) -> None:
    """From a shell's <(…), which can be read once, and from stdin."""
    hero.warm(*small_run(tiny_model, hero.home / "piped", "none", "--rounds", 1)).end()
    write_labels(hero.home / "one.jsonl", [0])
    command = f"cat one.jsonl | {sys.executable} -m hero_tui.cli label piped --from -"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=hero.home,
        env=os.environ | hero.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert {row["source"] for row in exported(hero, hero.home / "piped")} == {"stdin"}


# --- limits and signals


def test_a_number_of_rounds_is_not_the_runs_end(
    hero: Hero, tiny_model: Path, labels: Path, finished: FinishedRun
) -> None:
    """--max-rounds stops before the end; --rounds of resume is done as asked, and no end either."""
    run = hero.home / "by-rounds"
    go_on = ("resume", run, "--headless", "--labels", labels)
    first = hero.warm(*small_run(tiny_model, run, labels, "--max-rounds", 1)).end()
    assert (first.code, [line["event"] for line in first.lines()]) == (75, ["round", "finished"])
    assert first.lines()[-1]["note"] == "--max-rounds 1"
    second = hero.warm(*go_on, "--rounds", 1).end()
    assert (second.code, second.lines()[-1]["rounds"]) == (0, 2)
    third = hero.warm(*go_on, "--max-rounds", 1).end()
    assert (third.code, third.lines()[0]["round"]) == (0, 2)  # the run's own end comes first
    assert same_learned(run, finished.path)


def test_time_that_is_up_stops_resumable(hero: Hero, tiny_model: Path, labels: Path) -> None:
    run = hero.home / "by-time"
    done = hero.warm(*small_run(tiny_model, run, labels, "--max-seconds", 0.01)).end()
    assert done.code == 75
    assert done.lines()[-1]["note"] == "--max-seconds 0.01"
    assert "stopped (--max-seconds 0.01). Continue with: hero resume" in done.err


def test_a_queue_that_stops_and_requeues_gives_the_same_result(
    hero: Hero, tiny_model: Path, labels: Path, finished: FinishedRun
) -> None:
    """docs/slurm.md: SLURM sends USR1 before the time is up, and a job that ends with 75 again."""
    run = hero.home / "queued"
    arguments = small_run(tiny_model, run, labels)
    codes, notes = [], []
    for round in range(ROUNDS):
        job = hero.warm(*arguments)
        job.wait((run / f"rounds/r{round:03}/part-00002.safetensors").exists)
        job.signal(signal.SIGUSR1)
        done = job.end()
        codes.append(done.code)
        notes.append(done.lines()[-1]["note"])
        arguments = ["resume", run, "--headless", "--labels", labels]
    assert (codes, notes) == ([75] * ROUNDS, ["SIGUSR1"] * ROUNDS)
    assert hero.warm(*arguments).end().code == 0
    assert hero.warm(*arguments).end().code == 0  # once more: it says so, and is done
    assert same_learned(run, finished.path)


def test_the_files_of_a_run_are_private(elsewhere: Elsewhere, hero: Hero) -> None:
    for path in elsewhere.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert elsewhere.path.stat().st_mode & 0o077 == 0
