"""Pictures are encoded off the event loop, within a byte budget, as fast as the terminal reads."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine, opened
from PIL import Image
from textual.geometry import Region

from hero_tui.app import HeroApp
from hero_tui.graphics.byte_budget import PNG_BYTES, SIXEL_BYTES, allowance, palette_png
from hero_tui.graphics.iterm import ItermPainter
from hero_tui.graphics.kitty import KittyPainter
from hero_tui.graphics.painter import Box, Drawing, blank
from hero_tui.graphics.sixel import SixelPainter
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.terminal.driver import HeroDriver
from hero_tui.widgets.tile import Picture
from hero_tui.widgets.upload_queue import FLIGHT, LARGEST_FLIGHT, UploadQueue

BOX = Box(17, 9)
UPLOAD = 5_000


class CuriousPainter(SymbolPainter):
    """Notes the threads it paints in."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        self.threads.add(threading.get_ident())
        return super().paint(picture, box)


async def test_no_picture_is_encoded_on_the_event_loop(tmp_path: Path) -> None:
    engine, painter = FakeEngine(tmp_path, 16), CuriousPainter()
    app = HeroApp(tmp_path, engine, painter, opened=opened(tmp_path, batch=16))
    async with app.run_test(size=(120, 40)) as pilot:
        engine.open(0)
        engine.phase(0, "sampling")
        engine.images(0, range(16))
        await pilot.pause()
        await app.uploads.idle()
        await pilot.press("space")
        await app.uploads.idle()
    assert len(painter.threads) == 1
    assert threading.get_ident() not in painter.threads


class SlowDriver(HeroDriver):
    """Counts bytes in flight over a link of `pace` bytes per second."""

    def __init__(self, uploads: UploadQueue, pace: float) -> None:
        self.uploads, self.pace = uploads, pace
        self.on_the_way, self.most, self.sent = 0, 0, 0

    def write(self, data: str) -> None:
        self.sent += 1
        self.on_the_way += len(data)
        self.most = max(self.most, self.on_the_way)

    def ask_drawn(self) -> None:
        asyncio.get_running_loop().call_later(self.on_the_way / self.pace, self._answer)

    def _answer(self) -> None:
        self.on_the_way = 0
        self.uploads.drawn()


class HeavyPainter:
    """Every picture is an upload of the same size."""

    name = "heavy"

    def __init__(self) -> None:
        self.painted = 0

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        self.painted += 1
        upload = f"{self.painted:08}".ljust(UPLOAD, ".")
        return Drawing(box, ((blank(box.columns),),) * box.rows, upload=upload, forget="x")


class StandIn:
    """As much of an app as an upload queue needs."""

    def __init__(self) -> None:
        self._driver: SlowDriver | None = None
        self.screen = self
        self.log = logging.getLogger("stand-in")

    def call_after_refresh(self, call: object) -> None:
        call()  # type: ignore[operator]


class Placed(Picture):
    """A picture that has its place already."""

    size = property(lambda self: self.wanted_size)  # type: ignore[assignment]
    wanted_size = type("Size", (tuple,), {})((BOX.columns, BOX.rows))

    def show(self, drawing: Drawing | None) -> None:
        self.drawing = drawing


@pytest.mark.parametrize(
    ("pace", "least", "most"),
    [(300_000, UPLOAD + 1, FLIGHT), (5_000_000, 2 * FLIGHT, LARGEST_FLIGHT)],
    ids=["300 KB/s", "5 MB/s"],
)
async def test_the_bytes_in_flight_are_limited(
    tmp_path: Path, pace: float, least: int, most: int
) -> None:
    app = StandIn()
    uploads = UploadQueue(app, HeavyPainter())  # type: ignore[arg-type]
    driver = app._driver = SlowDriver(uploads, pace)
    pictures = [Placed() for _ in range(20)]
    for index, picture in enumerate(pictures):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (8, 8)).save(path)
        uploads.want(picture, path, BOX)
    work = asyncio.create_task(uploads.work())
    await asyncio.wait_for(uploads.idle(), 20)
    work.cancel()
    assert driver.sent == len(pictures)
    assert least <= driver.most <= most
    assert all(picture.drawing is not None for picture in pictures)


async def test_a_file_that_is_not_a_picture_does_not_delay_the_others(tmp_path: Path) -> None:
    app = StandIn()
    uploads = UploadQueue(app, HeavyPainter())  # type: ignore[arg-type]
    pictures = [Placed(), Placed()]
    (tmp_path / "0.png").write_text("not a picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    for index, picture in enumerate(pictures):
        uploads.want(picture, tmp_path / f"{index}.png", BOX)
    work = asyncio.create_task(uploads.work())
    await asyncio.wait_for(uploads.idle(), 20)
    work.cancel()
    assert [picture.drawing is None for picture in pictures] == [True, False]


@pytest.mark.parametrize("painter", [SixelPainter(), KittyPainter()], ids=["sixel", "kitty"])
async def test_pictures_that_a_terminal_lost_are_sent_again(
    tmp_path: Path, painter: SixelPainter | KittyPainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kitty picture is an upload, a sixel is painted with its widget: tmux forgets both."""
    engine = FakeEngine(tmp_path, 8)
    app = HeroApp(tmp_path, engine, painter, opened=opened(tmp_path, batch=8))
    repainted: list[Picture] = []
    written: list[str] = []

    def repaint(picture: Picture) -> None:
        repainted.append(picture)

    async with app.run_test(size=(120, 40)) as pilot:
        engine.open(0)
        engine.phase(0, "sampling")
        engine.images(0, range(8))
        await pilot.pause()
        await app.uploads.idle()
        monkeypatch.setattr(Picture, "repaint", repaint)
        monkeypatch.setattr(app.uploads, "_write", written.append)
        app.uploads.send_again()
        await app.uploads.idle()
    assert (len(set(repainted)), len(written)) == ((8, 0) if painter.name == "sixel" else (0, 8))


async def test_kitty_gets_a_change_after_the_last_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kitty 0.48 shows a picture only with the change after it."""
    engine, changed = FakeEngine(tmp_path, 4), asyncio.Event()

    def refresh(picture: Picture, *regions: Region, **options: bool) -> Picture:
        if any(region.height == 1 for region in regions):
            changed.set()
        return picture

    app = HeroApp(tmp_path, engine, KittyPainter(), opened=opened(tmp_path, batch=4))
    async with app.run_test(size=(120, 40)) as pilot:
        engine.open(0)
        engine.phase(0, "sampling")
        await pilot.pause()
        monkeypatch.setattr(Picture, "refresh", refresh)
        engine.images(0, range(4))
        await asyncio.wait_for(changed.wait(), 30)


def noise(side: int) -> Image.Image:
    """A picture that nothing compresses."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


@pytest.mark.parametrize(
    ("painter", "rate"),
    [(KittyPainter(), PNG_BYTES), (ItermPainter(), PNG_BYTES), (SixelPainter(), SIXEL_BYTES)],
    ids=["kitty", "iterm", "sixel"],
)
@pytest.mark.parametrize("side", [64, 128, 512])
def test_even_noise_costs_no_more_than_its_allowance(
    painter: KittyPainter | ItermPainter | SixelPainter, rate: float, side: int
) -> None:
    text = BOX.columns * BOX.rows * 6 + 500
    assert painter.paint(noise(side), BOX).size <= allowance((136, 136), rate) + text


def test_a_detailed_picture_is_sent_smaller_and_a_plain_one_unchanged() -> None:
    plain, busy = Image.new("RGB", (128, 128), "navy"), noise(128)
    sizes = []
    for picture in (plain, busy):
        data = base64.standard_b64decode(palette_png(picture, (136, 136)))
        with Image.open(io.BytesIO(data), formats=["PNG"]) as sent:
            sizes.append(sent.width)
    assert sizes[0] == 128
    assert 64 <= sizes[1] < 128
