"""What is chosen on the home screen, up to what it writes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from hero_engine.core.errors import HeroError
from hero_tui.commands import after_run
from hero_tui.commands.export_lora import export as write
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
    said = capsys.readouterr().err.splitlines()
    assert "ComfyUI/models/loras" in said[0] and "cannot open the embedded model" in said[0]
    assert "load_lora_weights" in said[1] and "cannot" not in said[1]


def test_a_card_that_is_there_is_replaced_with_force_alone(run: Path) -> None:
    """Nothing is written before that is known."""
    out, card = run / "export" / "hands.safetensors", run / "export" / "README.md"
    card.parent.mkdir()
    card.write_text("mine")
    options: dict[str, Any] = {"out": out, "program": None, "layout": None, "merge": None}
    with pytest.raises(HeroError, match=r"README.md exists; replace it with --force"):
        write(str(run), **options, card=True, force=False)
    assert not out.exists() and card.read_text() == "mine"
    write(str(run), **options, card=True, force=True)
    assert out.exists() and card.read_text() != "mine"


def test_an_evaluation_prints_both_models_and_a_verdict(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_run, "JUDGED", 2)
    assert follow(HomeChoice("evaluate", str(run))) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("2 images each; 95% intervals")
    assert [line.split()[0] for line in told[1:3]] == ["tuned", "base"]
    assert len(told) == 4
