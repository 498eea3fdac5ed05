"""Damage to any file of a run is told in one line that names the file."""

import pytest
import torch
from refusals import refused

from hero_engine import __version__
from hero_engine.core.errors import ExitCode
from hero_engine.storage.run_folder import RunDir


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
def test_damaged_settings_are_reported(run: RunDir, text: str) -> None:
    (run.path / "run.toml").write_text(text)
    with refused(ExitCode.RUN, run.path / "run.toml", "is damaged: "):
        RunDir.open(run.path)


def test_settings_that_are_not_text_are_reported(run: RunDir) -> None:
    (run.path / "run.toml").write_bytes(b"\xff\xfe\x00")
    with refused(ExitCode.RUN, run.path / "run.toml", "is damaged: "):
        RunDir.open(run.path)


def test_settings_changed_later_are_reported(run: RunDir) -> None:
    """By a hand or by the disk: a single digit would make another run of it."""
    text = (run.path / "run.toml").read_text()
    (run.path / "run.toml").write_text(text.replace("seed = 0", "seed = 1"))
    with refused(ExitCode.RUN, run.path / "run.toml", "it was changed after the run started"):
        RunDir.open(run.path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", f"was made by an older hero ({__version__}, run format 1)"),
        (
            "format = 4",
            f"was made by a newer hero ({__version__}, run format 4)",
        ),
    ],
)
def test_a_run_of_another_version_is_refused(run: RunDir, line: str, said: str) -> None:
    text = (run.path / "run.toml").read_text()
    (run.path / "run.toml").write_text(text.replace("format = 3", line))
    with refused(ExitCode.RUN, said, "this one opens formats 2 to 3", start=run.path):
        RunDir.open(run.path)


@pytest.mark.parametrize("text", ["", "{", "5", "[1]", "null"])
def test_a_damaged_status_is_reported(run: RunDir, text: str) -> None:
    (run.path / "status.json").write_text(text)
    with refused(ExitCode.RUN, run.path / "status.json"):
        run.status()


def test_a_damaged_journal_is_reported(run: RunDir) -> None:
    run.journal_path.write_text("no journal" * 1000)
    with refused(ExitCode.RUN, run.journal_path):
        run.opened()


def test_a_crash_in_the_middle_of_an_event_spoils_no_other(run: RunDir) -> None:
    run.add_event('{"event": "a"}')
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"event": "ha')
    run.add_event('{"event": "b"}')
    lines = (run.path / "events.jsonl").read_text().split("\n")
    assert lines == ['{"event": "a"}', '{"event": "ha', '{"event": "b"}', ""]


@pytest.mark.parametrize("text", ["", "{", "5", "[1]"])
def test_a_damaged_checkpoint_state_is_reported(run: RunDir, text: str) -> None:
    run.save_checkpoint(1, {}, {})
    (run.path / "checkpoints" / "r001" / "state.json").write_text(text)
    with refused(ExitCode.RUN, run.path / "checkpoints" / "r001", "is damaged: "):
        run.load_checkpoint()


@pytest.mark.parametrize("keep", [0, 7, 60, -1])
def test_damaged_tensors_are_reported(run: RunDir, keep: int) -> None:
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
