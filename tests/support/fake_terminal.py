"""A terminal for tests: a pty with answers, pyte for the text, and pixels for sixel and kitty."""

from __future__ import annotations

import base64
import codecs
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyte
import warm_server
from PIL import Image

from hero_tui.graphics.kitty import PLACEHOLDER
from hero_tui.graphics.kitty_diacritics import DIACRITICS

CELL_WIDTH, CELL_HEIGHT = 8, 16
CANCEL = "\x18"
"""Ends a sequence without effect."""

PRIVATE = re.compile(
    r"\x1bPtmux;(?:\x1b\x1b|[^\x1b])*\x1b\\|\x1bP(?P<dcs>.*?)\x1b\\|\x1b_(?P<apc>.*?)\x1b\\"
    r"|\x1b\]1337;File=(?P<osc>[^\x07]*)\x07|\x1b\[[>?=<][\d;]*\$?[a-zA-Z]",
    re.S,
)
UNFINISHED = re.compile(r"\x1b([P_][^\x1b]*(\x1b)?|\][^\x07\x1b]*|\[[\d;?>=<$]*)?\Z")

ANSWERS = {
    "kitty": {
        "\x1b_Gi=31": "\x1b_Gi=31;OK\x1b\\",
        "\x1b[>q": "\x1bP>|kitty(0.35.2)\x1b\\",
        "\x1b[16t": "\x1b[6;16;8t",
        "\x1b[c": "\x1b[?62;c",
        "\x1b[?2026$p": "\x1b[?2026;2$y",
    },
    "old kitty": {
        "\x1b_Gi=31": "\x1b_Gi=31;OK\x1b\\",
        "\x1b[>q": "\x1bP>|kitty(0.26.5)\x1b\\",
        "\x1b[16t": "\x1b[6;16;8t",
        "\x1b[c": "\x1b[?62;c",
    },
    "xterm": {
        "\x1b[>q": "\x1bP>|XTerm(390)\x1b\\",
        "\x1b[16t": "\x1b[6;16;8t",
        "\x1b[c": "\x1b[?64;1;2;4;6;22c",
        "\x1b[?2026$p": "\x1b[?2026;0$y",
    },
    "iterm": {
        "\x1b[>q": "\x1bP>|iTerm2 3.5.10\x1b\\",
        "\x1b[16t": "\x1b[6;16;8t",
        "\x1b[c": "\x1b[?64;1;2;4;6;22c",
        "\x1b[?2026$p": "\x1b[?2026;2$y",
    },
    "wezterm": {
        "\x1b_Gi=31": "\x1b_Gi=31;OK\x1b\\",
        "\x1b[>q": "\x1bP>|WezTerm 20240203\x1b\\",
        "\x1b[16t": "\x1b[6;22;11t",
        "\x1b[c": "\x1b[?65;4;6;18;22c",
        "\x1b[?2026$p": "\x1b[?2026;2$y",
    },
    "tmux": {
        "\x1b[>q": "\x1bP>|tmux 3.5a\x1b\\",
        "\x1b[16t": "\x1b[6;16;8t",
        "\x1b[c": "\x1b[?1;2;4c",
        "\x1b[?2026$p": "\x1b[?2026;2$y",
    },
    "plain": {"\x1b[c": "\x1b[?1;2c"},
    "mute": {},
}
QUESTION = re.compile(r"\x1b_Gi=31|\x1b\[>q|\x1b\[16t|\x1b\[c|\x1b\[\?2026\$p")


class PixelScreen(pyte.Screen):
    """pyte's screen, with the pixels that sixel and kitty pictures leave on it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.pixels = np.zeros((rows * CELL_HEIGHT, columns * CELL_WIDTH, 3), np.uint8)
        self.kitty_colour: int | None = None
        self.kitty_cells: dict[tuple[int, int], int] = {}
        self.kitty_images: dict[int, tuple[Image.Image, int, int]] = {}
        self.kitty_sent = 0
        self.sixels_sent = 0
        self.inline_sent = 0
        self._payload = ""
        self._head: dict[str, str] = {}
        super().__init__(columns, rows)

    @property
    def pictures_sent(self) -> int:
        """Pictures that came, by whatever protocol."""
        return self.kitty_sent + self.sixels_sent + self.inline_sent

    def draw(self, data: str) -> None:
        """Text erases pixels; placeholders keep the colour that names their picture."""
        start = self.cursor.x, self.cursor.y
        super().draw(data)
        x, y = start
        for character in data:
            if character in DIACRITICS:
                continue
            self.kitty_cells.pop((y, x), None)
            if character == PLACEHOLDER and self.kitty_colour is not None:
                self.kitty_cells[y, x] = self.kitty_colour
            self.cell_pixels(x, y)[:] = 0
            x += 1

    def cell_pixels(self, x: int, y: int, columns: int = 1, rows: int = 1) -> np.ndarray:
        top, left = y * CELL_HEIGHT, x * CELL_WIDTH
        return self.pixels[top : top + rows * CELL_HEIGHT, left : left + columns * CELL_WIDTH]

    def select_graphic_rendition(self, *attributes: int, **_: object) -> None:
        super().select_graphic_rendition(*attributes)
        numbers = list(attributes)
        if not numbers or 0 in numbers[:1]:
            self.kitty_colour = None
        if 38 in numbers and numbers[numbers.index(38) + 1 :][:1] == [5]:
            self.kitty_colour = numbers[numbers.index(38) + 2]

    def wipe(self) -> None:
        """Lose every picture, as a reset does; the text stays, by which the tiles are found."""
        self.pixels[:] = 0
        self.kitty_cells.clear()
        self.kitty_images.clear()

    def take_sixel(self, data: str) -> None:
        if CANCEL in data:
            return
        self.sixels_sent += 1
        picture = decode_sixel(data)
        top, left = self.cursor.y * CELL_HEIGHT, self.cursor.x * CELL_WIDTH
        height, width, _ = picture.shape
        self.pixels[top : top + height, left : left + width] = picture

    def take_inline(self, command: str) -> None:
        """iTerm2's: scaled to its cells, with its proportions, drawn where the cursor is."""
        self.inline_sent += 1
        head, _, payload = command.partition(":")
        keys = dict(part.split("=") for part in head.split(";"))
        assert (keys["inline"], keys["preserveAspectRatio"]) == ("1", "1")
        with Image.open(io.BytesIO(base64.b64decode(payload)), formats=["PNG"]) as picture:
            room = int(keys["width"]) * CELL_WIDTH, int(keys["height"]) * CELL_HEIGHT
            scale = min(room[0] / picture.width, room[1] / picture.height)
            size = round(picture.width * scale), round(picture.height * scale)
            shown = np.asarray(picture.convert("RGB").resize(size))
        top, left = self.cursor.y * CELL_HEIGHT, self.cursor.x * CELL_WIDTH
        self.pixels[top : top + size[1], left : left + size[0]] = shown

    def take_kitty(self, command: str) -> None:
        """Transmissions (in chunks) and deletions of virtual placements."""
        if CANCEL in command:
            self._head, self._payload = {}, ""
            return
        head, _, payload = command.removeprefix("G").partition(";")
        keys = dict(part.split("=") for part in head.split(","))
        if keys.get("a") == "q":
            return
        assert keys["q"] == "2", "an answer would arrive as keys"
        if keys.get("a") == "d":
            # At its end the app frees all it made, also what it had no time left to send.
            self.kitty_images.pop(int(keys["i"]), None)
            return
        self._head = self._head or keys
        self._payload += payload
        if keys["m"] == "0":
            self._finish_transmission()

    def _finish_transmission(self) -> None:
        assert self._head["U"] == "1"
        picture = Image.open(io.BytesIO(base64.b64decode(self._payload)), formats=["PNG"])
        assert picture.mode == "P"
        size = int(self._head["c"]), int(self._head["r"])
        self.kitty_images[int(self._head["i"])] = (picture.convert("RGB"), *size)
        self.kitty_sent += 1
        self._head, self._payload = {}, ""

    def paint_placeholders(self) -> None:
        """Draw every placeholder cell's part of its picture, as kitty does when it renders.

        A cell whose picture has not arrived stays as it is.
        """
        row = column = high = -1
        for (y, x), low in sorted(self.kitty_cells.items()):
            marks = [DIACRITICS.index(mark) for mark in self.buffer[y][x].data[1:]]
            row, column, high = (*marks,) if marks else (row, column + 1, high)
            if high << 24 | low not in self.kitty_images:
                continue
            picture, columns, rows = self.kitty_images[high << 24 | low]
            whole = picture.resize((columns * CELL_WIDTH, rows * CELL_HEIGHT))
            left, top = column * CELL_WIDTH, row * CELL_HEIGHT
            part = whole.crop((left, top, left + CELL_WIDTH, top + CELL_HEIGHT))
            self.cell_pixels(x, y)[:] = np.asarray(part)


def decode_sixel(data: str) -> np.ndarray:
    """A sixel picture as uint8 (height, width, 3); `data` is what stands after the DCS's q."""
    height, width = _raster(data)
    picture = np.zeros((height + 6, width + 1, 3), np.uint8)
    palette: dict[int, tuple[int, int, int]] = {}
    colour, x, y = 0, 0, 0
    for token in re.finditer(
        r'"[\d;]+|#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)(.)|([?-~])|([$-])', data
    ):
        number, red, green, blue, repeat, repeated, single, move = token.groups()
        if red is not None:
            levels = (int(red), int(green), int(blue))
            palette[int(number)] = tuple(round(level * 255 / 100) for level in levels)
        elif number is not None:
            colour = int(number)
        elif move is not None:
            x, y = 0, y + (6 if move == "-" else 0)
        elif repeated or single:
            bits, count = ord(repeated or single) - 63, int(repeat or 1)
            for bit in range(6):
                if bits >> bit & 1:
                    picture[y + bit, x : x + count] = palette[colour]
            x += count
    return picture[:height, :width]


def _raster(data: str) -> tuple[int, int]:
    match = re.match(r'"\d+;\d+;(\d+);(\d+)', data)
    assert match, "a sixel without raster attributes scrolls on some terminals"
    assert int(match[2]) % 6 == 0
    return int(match[2]), int(match[1])


class FakeTerminal:
    """One pty; `kind` says how it answers. `heard` is everything written to it.

    errors: what bytes do that are no UTF-8; a terminal would "replace" them.
    """

    def __init__(
        self, kind: str, columns: int = 120, rows: int = 40, errors: str = "strict"
    ) -> None:
        self.kind = kind
        self.master, self.slave = pty.openpty()
        size = struct.pack("HHHH", rows, columns, columns * CELL_WIDTH, rows * CELL_HEIGHT)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
        self.attributes = termios.tcgetattr(self.slave)
        self.screen = PixelScreen(columns, rows)
        self.heard = ""
        self.process: subprocess.Popen[bytes] | warm_server.Script | None = None
        self._stream = pyte.Stream(self.screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)
        self._rest = ""

    def run(self, script: Path, *arguments: str, **environment: str) -> None:
        """Start a Python script with this terminal as its own."""
        told = script, arguments, self.slave, self._environment() | environment
        self.process = warm_server.Script(*told)

    def start(self, *command: str, **environment: str) -> None:
        """Start a program with this terminal as its own."""
        self.process = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=self._environment() | environment,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        found = {
            name: text for name, text in os.environ.items() if name not in ("TMUX", "NO_COLOR")
        }
        path = os.pathsep.join(sys.path)
        return found | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": path}

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def answer(self, text: str) -> None:
        """Answer a question, at once."""
        self.type(text)

    def pump(self, until: Callable[[], bool], seconds: float = 20.0) -> None:
        """Read and answer until, at a quiet moment, something is so; fails after the seconds."""
        deadline = time.monotonic() + seconds
        while self.listen(0.05) or not until():
            assert time.monotonic() < deadline, self.screen.display[-4:]

    def listen(self, seconds: float) -> bool:
        """Wait for output and take it in; False when there was none."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            self._take(self._decoder.decode(os.read(self.master, 65536)))
        except OSError:
            return False
        return True

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.screen.display)

    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self.master, self.slave):
            try:
                os.close(descriptor)
            except OSError:
                continue

    def _take(self, text: str) -> None:
        self.heard += text
        text = self._rest + text
        unfinished = UNFINISHED.search(text)
        self._rest = unfinished.group() if unfinished else ""
        text = text[: len(text) - len(self._rest)]
        for question in QUESTION.findall(text):
            self.answer(ANSWERS[self.kind].get(question, ""))
        for piece in self._pieces(text):
            self._stream.feed(piece)

    def _pieces(self, text: str) -> Iterator[str]:
        """The parts that pyte understands; pictures are taken out where they stand."""
        at = 0
        for match in PRIVATE.finditer(text):
            yield text[at : match.start()]
            if match["dcs"] and "q" in match["dcs"]:
                self.screen.take_sixel(match["dcs"].partition("q")[2])
            elif match["apc"]:
                self.screen.take_kitty(match["apc"])
            elif match["osc"]:
                self.screen.take_inline(match["osc"])
            at = match.end()
        yield text[at:]
