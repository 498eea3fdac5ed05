"""Runs that several processes share: the same result, and no end that loses anything."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hero_process import BATCH, ROUNDS, Done, FinishedRun, Hero, small_run
from process_groups import children, free_port, launched, wait_for_end

from hero_engine.core.errors import ExitCode
from hero_engine.storage.atomic_files import read_tensors
from hero_engine.storage.journal import Journal

pytestmark = pytest.mark.timeout(600)
"""Up to four commands a test, two processes each: on a busy machine that takes minutes."""

ROUNDING = 2e-4
"""By how much a latent or a weight may differ after three rounds of float32 sums in other orders.

Adam divides by the gradient's own size, so a gradient near 0 passes its rounding on whole."""

FORWARD = (
    *("--update", "forward", "--set", "forward.steps=4"),
    *("--set", "forward.good_images_per_update=3", "--set", "forward.bad_images_per_update=2"),
)
"""Five rows a step do not go evenly into two processes."""

AHEAD = (
    *("--ahead", "--set", "reward.kind=probability"),
    *("--set", "self_training.rounds=1", "--set", "self_training.images=5"),
)
"""Rounds sampled by a snapshot of the policy, and updates on images that nobody labels."""

MEMORY_SHORT = RuntimeError("CUDA out of memory (raised by a test)")
SILENT = Done(0, "", "")


def pair(
    hero: Hero, *arguments: object, second: Callable[[], None] | None = None
) -> tuple[Done, Done]:
    """A command with `hero worker` beside it, as accelerate's launcher starts the two."""
    port = free_port()
    one = hero.warm(*arguments, **launched(0, 2, port))
    two = hero.warm("worker", first=second, **launched(1, 2, port))
    return one.end(), two.end()


def differences(one: Path, two: Path) -> dict[str, float]:
    """By how much the tensors that two runs have left on the disk differ, by file."""
    files = sorted(file.relative_to(one) for file in one.rglob("*.safetensors"))
    assert files == sorted(file.relative_to(two) for file in two.rglob("*.safetensors"))
    return {str(file): _gap(read_tensors(one / file), read_tensors(two / file)) for file in files}


def _gap(one: dict[str, Any], two: dict[str, Any]) -> float:
    assert one.keys() == two.keys()
    gaps = [float((each.double() - two[name].double()).abs().max()) for name, each in one.items()
            if each.numel()]  # fmt: skip
    return max(gaps, default=0.0)


def assert_alike(one: Path, two: Path) -> None:
    """The same labels, and tensors that only rounding has moved."""
    found = differences(one, two)
    assert any("lora" in name for name in found)
    assert {name: gap for name, gap in found.items() if gap > ROUNDING} == {}
    assert labels_of(one) == labels_of(two)


def labels_of(run: Path) -> list[Any]:
    with Journal(run / "journal.db") as journal:
        return [journal.labels(round, BATCH) for round in journal.rounds()]


@pytest.mark.parametrize("more", [(), AHEAD], ids=["as labelled", "ahead, self-training"])
def test_two_processes_make_what_one_makes(
    hero: Hero, tiny_model: Path, labels: Path, more: tuple[str, ...], tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert hero.warm(*small_run(tiny_model, one, labels, *FORWARD, *more)).end().code == 0
    main, other = pair(hero, *small_run(tiny_model, two, labels, *FORWARD, *more))
    assert (main.code, other) == (0, SILENT), (main, other)
    assert_alike(one, two)


def test_two_processes_know_of_prompts_and_of_imported_pictures(
    hero: Hero, tiny_model: Path, labels: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "one", tmp_path / "two"
    rose = ("--prompt", "photo of one blue rose in a vase", "--max-rounds", "1")
    for run in runs:
        started = hero.warm(*small_run(tiny_model, run, labels, *FORWARD, *rose)).end()
        assert started.code == ExitCode.RESUMABLE, started
    for folder, image in (("good", 0), ("bad", 1)):
        (tmp_path / folder).mkdir()
        shutil.copy(runs[0] / f"images/r000/{image:03}.png", tmp_path / folder)
    for run in runs:
        sources = tmp_path / "good", tmp_path / "bad"
        assert hero.warm("import", run, *sources, "--prompt", rose[1]).end().code == 0
    go_on = ("--headless", "--labels", labels)
    assert hero.warm("resume", runs[0], *go_on).end().code == 0
    main, other = pair(hero, "resume", runs[1], *go_on)
    assert (main.code, other) == (0, SILENT), (main, other)
    assert_alike(*runs)
    memory = read_tensors(runs[1] / "checkpoints/r002/memory.safetensors")
    assert {0, 1} == set(memory["groups"].tolist()) and len(memory["groups"]) == 2 * BATCH + 2


def without_memory() -> None:
    """Sampling or training more than one image at a time is more than this process can."""
    from hero_engine.policy import sampler
    from hero_engine.updates.denoising_policy import DenoisingPolicy

    sample, log_probs = sampler.sample, DenoisingPolicy.log_probs

    def sample_one(model: Any, prompt: Any, settings: Any, request: Any, *more: Any) -> Any:
        if len(request) > 1:
            raise MEMORY_SHORT
        return sample(model, prompt, settings, request, *more)

    def log_probs_of_one(policy: Any, rows: Any, *more: Any) -> Any:
        if len(rows.timesteps_B_S) > 1:
            raise MEMORY_SHORT
        return log_probs(policy, rows, *more)

    sampler.sample = sample_one
    DenoisingPolicy.log_probs = log_probs_of_one  # type: ignore[method-assign]


def test_memory_short_in_one_process_is_short_in_all(
    hero: Hero, tiny_model: Path, labels: Path, finished: FinishedRun
) -> None:
    run = hero.home / "short"
    main, other = pair(hero, *small_run(tiny_model, run, labels), second=without_memory)
    assert (main.code, other) == (0, SILENT), (main, other)
    for step, before in (("sample", 2), ("update", 3)):  # images; rows of the network
        line = f"out of memory in the step '{step}': the microbatch is 1 from here, not {before}"
        assert main.err.splitlines().count(f"hero: {line}") == 1
    assert_alike(finished.path, run)


def without_model() -> None:
    """This process cannot open the model."""
    from hero_engine.core.errors import HeroError
    from hero_engine.training import trainer

    def refuse(*what: object) -> Any:
        raise HeroError("the model is not on this machine", exit_code=3)

    trainer.model_for = refuse


def test_the_error_of_a_process_is_one_line_of_the_run(
    hero: Hero, tiny_model: Path, labels: Path
) -> None:
    arguments = small_run(tiny_model, hero.home / "without", labels)
    main, other = pair(hero, *arguments, second=without_model)
    assert (main.code, other.code) == (3, 3)
    assert main.err.splitlines()[-1] == "hero: process 1 of 2: the model is not on this machine"
    assert other.err == "hero: the model is not on this machine\n"


def test_when_the_time_is_up_all_processes_stop(hero: Hero, tiny_model: Path, labels: Path) -> None:
    arguments = small_run(tiny_model, hero.home / "in-time", labels, "--max-seconds", 0.5)
    main, other = pair(hero, *arguments)
    assert (main.code, other) == (75, SILENT), (main, other)


class Chain:
    """One run: a round by one process; by two, interrupted; by two, of which the second is killed;
    by two, of which the first is killed as soon as it has started the other; by one to the end.
    """

    def __init__(self, hero: Hero, model: Path, labels: Path) -> None:
        self.hero, self.path, self.labels = hero, hero.home / "chain", labels
        self.others = list[int]()
        command = small_run(model, self.path, labels, "--max-rounds", 1)
        self.alone = hero.warm(*command).end()
        self.interrupted = self._interrupted()
        self.killed, self.labels_then = self._killed()
        self._first_killed()
        self.last = self._resume(1).end()

    def _resume(self, processes: int) -> Any:
        more = ("--headless", "--labels", self.labels, "--processes", processes)
        return self.hero.warm("resume", self.path, *more)

    def _at(self, phase: str) -> Any:
        """Two processes at work in this phase of round 1."""
        running = self._resume(2)
        running.wait(lambda: children(running.pid) and self._phase() == (1, phase))
        self.others += children(running.pid)
        return running

    def _interrupted(self) -> Done:
        running = self._at("sampling")
        running.signal(signal.SIGINT)
        done: Done = running.end()
        self.logged = (self.path / "process-1.log").exists()
        return done

    def _killed(self) -> tuple[Done, list[Any]]:
        running = self._at("training")
        os.kill(self.others[-1], signal.SIGKILL)
        return running.end(), labels_of(self.path)

    def _first_killed(self) -> None:
        running = self._resume(2)
        running.wait(lambda: children(running.pid))
        self.others += children(running.pid)  # they are importing libraries still
        running.signal(signal.SIGKILL)
        running.end()

    def _phase(self) -> tuple[int, str]:
        with Journal(self.path / "journal.db") as journal:
            newest = max(journal.rounds().values(), key=lambda round: round.round)
        return newest.round, newest.phase


@pytest.fixture(scope="module")
def chain(hero: Hero, tiny_model: Path, labels: Path) -> Chain:
    return Chain(hero, tiny_model, labels)


def test_ctrl_c_ends_both(chain: Chain) -> None:
    assert chain.interrupted.code == 130
    assert chain.interrupted.lines()[-1]["note"] == "SIGINT"
    assert not chain.logged


def test_a_killed_process_is_named_and_leaves_a_resumable_run(chain: Chain) -> None:
    assert chain.killed.code == 75
    assert chain.killed.err.splitlines()[-1] == (
        "hero: process 1 of 2 ended (killed by SIGKILL); no label is lost. "
        f"Resume with: hero resume {chain.path}"
    )
    assert [each.labelled for each in chain.labels_then] == [BATCH, BATCH]


def test_one_process_resumes_what_two_began(chain: Chain, finished: FinishedRun) -> None:
    assert (chain.alone.code, chain.last.code) == (75, 0)
    assert len(labels_of(chain.path)) == ROUNDS
    assert_alike(finished.path, chain.path)


def test_no_process_outlives_the_run(chain: Chain) -> None:
    assert len(chain.others) == 3
    wait_for_end(chain.others)


def measured(hero: Hero, model: Path, processes: int, *more: object) -> Done:
    """A round of six small pictures, alone and shared."""
    small = ("sampler.steps=2", "forward.steps=2", "embedding.epochs=2")
    changes = [f"--set={each}" for each in small]
    command = ("bench", "speed", "--quick", "--model", model, "--update", "forward")
    more = ("--batch", BATCH, "--processes", processes, *more)
    return hero.warm(*command, *changes, *more).end()


def test_a_shared_round_is_timed(hero: Hero, tiny_model: Path) -> None:
    done = measured(hero, tiny_model, 2, "--json")
    assert (done.code, done.err) == (0, f"hero: opening {tiny_model} 2 times\n")
    found = json.loads(done.out)
    assert (found["processes"], found["threads"], found["threads_each"]) == (2, 1, 1)
    for step in ("sampling", "update"):
        assert min(found[step][name] for name in ("alone", "all_threads", "shared")) > 0


def test_more_processes_than_pictures_are_not_measured(hero: Hero, tiny_model: Path) -> None:
    done = measured(hero, tiny_model, BATCH + 1)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "hero: --processes 7: a round has only 6 pictures. Choose at most 6 "
        "processes, or a larger --batch.\n"
    )


def test_a_worker_alone_is_refused(hero: Hero) -> None:
    done = hero.warm("worker").end()
    assert (done.code, done.out) == (2, "")
    assert done.err == ("hero: accelerate launch starts hero worker: see docs/processes.md\n")
