"""Record the labelling screen as an animated GIF: the real app in an xterm, on the embedded model.

    python docs/record_screen.py docs/labelling.gif

The judge decides which tiles are good; their keys are typed with xdotool. Needs Xvfb, xterm,
xdotool and ImageMagick's import. Takes a few minutes: the rounds are sampled and trained.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from hero_engine.embedded.judge import Judge
from hero_engine.policy.noise_origins import mixed_by_prompt
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_tui.graphics.grid_geometry import choose_grid
from hero_tui.keyboard.tile_keys import tile_keys
from hero_tui.session.earlier_rounds import EarlierRounds

COLUMNS, ROWS, BATCH = 150, 48, 32
COLOURS = 96
WAITING = 10
"""Frames that show the engine at work between two rounds."""
HERO = [sys.executable, "-m", "hero_tui.cli"]


@contextmanager
def ended_after(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Terminate a process at the end of the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def display() -> Iterator[str]:
    """A virtual screen; yields its name."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1000x700x24", "-nolisten"]
    process = subprocess.Popen([*command, "tcp"], pass_fds=[writing], stderr=subprocess.DEVNULL)
    with ended_after(process):
        os.close(writing)
        with os.fdopen(reading) as line:
            yield f":{int(line.readline())}"


@contextmanager
def xterm(screen: str, command: list[str]) -> Iterator[None]:
    """An xterm with sixel graphics that runs a command."""
    options = f"-ti vt340 -geometry {COLUMNS}x{ROWS}+0+0 -b 0 -bw 0 +sb -bg #10141a".split()
    process = subprocess.Popen(
        ["xterm", *options, "-xrm", "xterm*numColorRegisters: 1024", "-e", *command],
        env=os.environ | {"DISPLAY": screen},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with ended_after(process):
        yield


@dataclass
class Recorder:
    """Takes screenshots and types keys. frames: (picture, milliseconds)."""

    screen: str
    frames: list[tuple[Image.Image, int]] = field(default_factory=list)

    def shoot(self, milliseconds: int) -> None:
        """Add the screen; if nothing changed, show the last frame longer."""
        shot = subprocess.run(
            ["import", "-display", self.screen, "-window", "root", "png:-"],
            capture_output=True,
            check=True,
        )
        picture = Image.open(io.BytesIO(shot.stdout), formats=["PNG"]).convert("RGB")
        picture = picture.crop(picture.getbbox())
        if picture.size[0] < COLUMNS:
            return  # the window is not there yet
        if self.frames and picture.tobytes() == self.frames[-1][0].tobytes():
            last, shown = self.frames.pop()
            self.frames.append((last, max(shown, milliseconds)))
        else:
            self.frames.append((picture, milliseconds))

    def press(self, *keys: str, milliseconds: int = 180) -> None:
        """Type keys one by one, with a frame after each."""
        for key in keys:
            subprocess.run(
                ["xdotool", "key", key], env=os.environ | {"DISPLAY": self.screen}, check=True
            )
            time.sleep(0.35)
            self.shoot(milliseconds)

    def until(self, ready: Callable[[], bool], milliseconds: int) -> None:
        """Wait for something; `WAITING` frames, evenly spaced, show the wait."""
        before = len(self.frames)
        while not ready():
            self.shoot(milliseconds)
            time.sleep(2)
        waiting = self.frames[before:]
        kept = np.linspace(0, len(waiting) - 1, min(WAITING, len(waiting))).round().astype(int)
        self.frames[before:] = [waiting[at] for at in kept]

    def save(self, path: Path) -> None:
        """Write the GIF with one palette for all frames."""
        pictures = [picture for picture, _ in self.frames]
        sheet = Image.new("RGB", (pictures[0].width, pictures[0].height * 2))
        sheet.paste(pictures[len(pictures) // 4], (0, 0))
        sheet.paste(pictures[-1], (0, pictures[0].height))
        palette = sheet.quantize(COLOURS, dither=Image.Dither.NONE)
        reduced = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]
        times = [milliseconds for _, milliseconds in self.frames]
        reduced[0].save(
            path, save_all=True, append_images=reduced[1:], duration=times, loop=0, optimize=False
        )


def phase(run: Path) -> tuple[int, str]:
    """Round and phase of the run, from its status."""
    try:
        status = json.loads((run / "status.json").read_text("utf-8"))
    except FileNotFoundError:
        return 0, "starting"
    return int(status.get("round", 0)), str(status.get("phase", "starting"))


def good_tiles(judge: Judge, run: Path, round_index: int) -> tuple[list[int], int]:
    """The good pictures of a round and the best of them, as the judge sees them."""
    paths = sorted((run / f"images/r{round_index:03}").glob("*.png"))[:BATCH]
    pictures = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    odds = judge.success_probability("hands", pictures)
    good = [int(index) for index in np.flatnonzero(judge.success("hands", pictures))]
    return good, max(good, key=lambda index: odds[index], default=-1)


def page_keys(cell: tuple[int, int]) -> list[str]:
    """The key of every tile of the page."""
    grid = choose_grid(COLUMNS - 2, ROWS - 4, cell, BATCH, symbols=False)
    return tile_keys("qwerty").page(grid.rows, grid.columns)


def tile_places(run: Path, round_index: int) -> dict[int, int]:
    """The place on the page of every picture of a round."""
    noise = RunDir.open(run).settings.noise
    with Journal.reading(run / "journal.db") as journal:
        origins = EarlierRounds(journal, BATCH).origins(round_index, noise)
    order = mixed_by_prompt(origins, (0,) * BATCH)
    return {image: place for place, image in enumerate(order)}


KEYSYMS = {";": "semicolon", ",": "comma", ".": "period", "/": "slash"}


def label_round(recorder: Recorder, judge: Judge, run: Path, round_index: int) -> None:
    """Press the letters of the good tiles, Shift and the best one's, then Enter."""
    recorder.shoot(1400)
    width, height = recorder.frames[-1][0].size
    keys = [KEYSYMS.get(key, key) for key in page_keys((width // COLUMNS, height // ROWS))]
    good, best = good_tiles(judge, run, round_index)
    place = tile_places(run, round_index)
    recorder.press(*(keys[place[image]] for image in good if image != best))
    if good:
        recorder.press(f"shift+{keys[place[best]]}", milliseconds=900)
    recorder.press("Return", milliseconds=500)
    recorder.press("Return", milliseconds=300)


def record(rounds: int, preset: list[str]) -> Recorder:
    """Record a run of some rounds."""
    judge = Judge.open("labeller")
    with TemporaryDirectory() as folder, display() as screen:
        run = Path(folder) / "hands"
        command = [*HERO, "run", "--task", "hands", "--seed", "3", "--batch", str(BATCH)]
        recorder = Recorder(screen)
        with xterm(screen, [*command, *preset, "--dir", str(run)]):
            for round_index in range(rounds):
                ready = (round_index, "labelling")
                recorder.until(lambda wanted=ready: phase(run) == wanted, 200)  # type: ignore[misc]
                time.sleep(2)  # the last pictures reach the screen
                if round_index < rounds - 1:
                    label_round(recorder, judge, run, round_index)
            recorder.shoot(3500)
    return recorder


def main() -> None:
    """Record and write the GIF."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--option", action="append", default=[], help="of hero run")
    options = parser.parse_args()
    recorder = record(options.rounds, options.option)
    recorder.save(options.out)
    size = options.out.stat().st_size
    print(f"{options.out}: {len(recorder.frames)} frames, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
