"""What a run writes comes back as it was, also after a crash in the middle of writing it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import TENSORS, PowerCut, cut, same_bits

from hero_engine.storage import atomic_files as files
from hero_engine.storage.run_folder import RunDir


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


def test_tensors_come_back_bit_by_bit_and_in_order(run: RunDir) -> None:
    for first in (12, 0, 6, 99_999):
        run.save_part(3, first, {**TENSORS, "first": torch.tensor(first)})
    got = run.load_parts(3)
    assert list(got) == [0, 6, 12, 99_999]
    assert all(same_bits(got[at], {**TENSORS, "first": torch.tensor(at)}) for at in got)
    assert run.load_parts(4) == {}


def test_a_trained_round_keeps_one_file_however_often_it_is_condensed(run: RunDir) -> None:
    for first in (0, 6):
        run.save_part(0, first, {"x": torch.ones(3)})
    folder = run.path / "rounds" / "r000"
    run.condense(0, {"x": torch.ones(6)})
    assert [file.name for file in folder.iterdir()] == ["latents.safetensors"]
    before = (folder / "latents.safetensors").read_bytes()
    # a crash while microbatches went: the first condensing is kept, what was left goes
    run.save_part(0, 6, {"x": torch.ones(3)})
    run.condense(0, {"x": torch.ones(3)})
    assert [file.name for file in folder.iterdir()] == ["latents.safetensors"]
    assert (folder / "latents.safetensors").read_bytes() == before
