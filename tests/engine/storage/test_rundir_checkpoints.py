"""Checkpoints: the last two are kept, the newest is loaded, and a crash spoils none."""

import os
from pathlib import Path

import pytest
import torch
from run_folders import TENSORS, PowerCut, cut, same_bits

from hero_engine.storage import checkpoints as checkpoints_module
from hero_engine.storage.run_folder import RunDir


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
    assert parts["prior"] == {} and same_bits(parts["lora"], {**TENSORS, "w": torch.tensor(4)})


def test_round_1000_comes_after_round_999(run: RunDir) -> None:
    for round in (998, 999, 1000, 1001):
        run.save_checkpoint(round, {}, {})
    assert checkpoints(run) == ["r1000", "r1001"]
    loaded = run.load_checkpoint()
    assert loaded is not None and loaded[1]["round"] == 1001


@pytest.mark.parametrize(
    ("owner", "call"),
    [(Path, "replace"), (Path, "rename"), (os, "fsync"), (checkpoints_module, "flush_folder")],
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


def test_a_partial_checkpoint_after_a_crash_is_ignored(run: RunDir) -> None:
    half = run.path / "checkpoints" / ".r005.tmp"
    half.mkdir(parents=True)
    (half / "lora.safetensors").write_bytes(b"half")
    assert run.load_checkpoint() is None
    run.save_checkpoint(5, {}, {})
    loaded = run.load_checkpoint()
    assert loaded is not None and loaded == ({}, {"round": 5})
