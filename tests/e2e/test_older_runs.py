"""Runs that an earlier release left in the middle of a round: read, resumed, to the same bits.

tests/fixtures/make_runs.py made them.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hero_process import Hero
from safetensors.torch import load_file

RELEASES = sorted(Path(__file__).parents[1].joinpath("fixtures").glob("runs-*"))
RUNS = [
    pytest.param(release, name, id=f"{release.name.removeprefix('runs-')}-{name}")
    for release in RELEASES
    for name in json.loads((release / "expected.json").read_text())["runs"]
]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    path = Path(__file__).parents[1] / "fixtures/make_runs.py"
    spec = importlib.util.spec_from_file_location("make_runs", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(release: Path, name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release / name, tmp_path / name))


@pytest.fixture
def expected(release: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((release / "expected.json").read_text())
    return found["runs"][name] | {"machine": found["machine"]}


def labels(hero: Hero, run: Path) -> list[Any]:
    done = hero.warm("labels", run, "--json").end()
    assert (done.code, done.err) == (0, "")
    return [[row["round"], row["image"], row["label"], row["best"]] for row in done.lines()]


@pytest.mark.parametrize(("release", "name"), RUNS)
def test_it_is_read(hero: Hero, run: Path, expected: dict[str, Any]) -> None:
    """Without a word about old names, and without a change of any file that was there."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    status = hero.warm("status", run, "--json").end()
    assert (status.code, status.err) == (0, "")
    facts = json.loads(status.out)
    assert (facts["state"], facts["round"], facts["labels"]) == ("stopped", 1, 6)
    assert (facts["task"], facts["model"], facts["run"]) == ("hands", "embedded", str(run))
    shown = hero("show", run, "--round", 1)
    assert (shown.code, shown.err) == (0, "")
    assert "round 1: 2 good of 6 labelled" in shown.out
    assert labels(hero, run) == expected["labels"][:6]
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize(("release", "name"), RUNS)
def test_a_resume_gives_the_result_of_its_own_release(
    hero: Hero, run: Path, release: Path, expected: dict[str, Any], maker: ModuleType
) -> None:
    """The same bits on the machine and the version of torch that made it; near on another."""
    done = hero.warm("resume", run, "--headless", "--labels", "judge").end()
    assert done.code == 0 and "is now" not in done.err, done.err
    last = maker.last_checkpoint(run)
    if maker.machine() == expected["machine"]:
        assert labels(hero, run) == expected["labels"]
        kept = maker.hashes(run)
        assert f"{last.name}/lora" in kept
        assert {name: kept[name] for name in expected["hashes"]} == expected["hashes"]
    lora, wanted = (
        load_file(path)
        for path in (last / "lora.safetensors", release / f"{run.name}.lora.safetensors")
    )
    assert lora.keys() == wanted.keys()
    assert all(torch.allclose(lora[name], wanted[name], atol=1e-2) for name in wanted)


@pytest.mark.parametrize(("release", "name"), RUNS)
def test_its_settings_are_not_rewritten(run: Path, hero: Hero) -> None:
    """run.toml is frozen: a resume does not rewrite it under the present names."""
    before = (run / "run.toml").read_bytes()
    stopped = hero.warm("resume", run, "--headless", "--labels", "none").end()
    assert stopped.code == 5, stopped.err
    assert (run / "run.toml").read_bytes() == before
    assert "minibatch" in tomllib.loads(before.decode())["settings"]
