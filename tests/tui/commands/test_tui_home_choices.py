"""What is chosen on the home screen, up to what it writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hero_tui.commands import after_run
from hero_tui.commands.home import follow
from hero_tui.screens.home_screen import HomeChoice

FIXTURE = Path(__file__).parents[2] / "fixtures" / "runs-0.1.0" / "hero-plus-ahead"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the embedded model with a finished round."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "hands"))


def test_an_export_writes_a_file_for_each_kind_of_program(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert follow(HomeChoice("export", str(run))) == 0
    comfyui, diffusers = (
        load_file(run / "export" / f"hands-{program}.safetensors")
        for program in ("comfyui", "diffusers")
    )
    assert all(name.startswith("lora_unet_") for name in comfyui)
    assert all(name.startswith("unet.") for name in diffusers)
    assert "ComfyUI/models/loras" in capsys.readouterr().err


def test_an_evaluation_prints_both_models_and_a_verdict(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_run, "JUDGED", 2)
    assert follow(HomeChoice("evaluate", str(run))) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("2 images each; 95% intervals")
    assert [line.split()[0] for line in told[1:3]] == ["tuned", "base"]
    assert len(told) == 4
