"""`hero bench speed`: what sampling and training take above the network calls they need."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import load_task, settings_for
from hero_engine.models.model_size import network_parameters
from hero_engine.models.model_sources import model_settings
from hero_tui.commands.start_run import changes_of
from hero_tui.graphics.choose_painter import choose_painter
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.painter import Box
from hero_tui.output_streams import data_json, say, talk

if TYPE_CHECKING:
    from hero_engine.evaluation.engine_speed import Pixels, SpeedTest, Timing

TURNS, QUICK_TURNS = 5, 1
SAMPLING, UPDATE, EMBEDDING, THUMBNAILS = 1.10, 1.20, 3.0, 0.02
COUNTED = 0.15
TILE = Box(16, 8)
"""128 pixels square, at the usual size of a cell."""

Row = tuple[str, str, str, bool]
"""What, measured, wanted, and whether it is so."""


def bench_speed(settings: Settings, *, quick: bool, as_json: bool) -> None:
    """Measure and print."""
    talk(f"opening {settings.model}")
    found = measure(settings, QUICK_TURNS if quick else TURNS)
    if as_json:
        data_json(found)
        return
    say(
        f"{settings.model}, update {settings.update}, {settings.batch} pictures a round; "
        f"{found['device']}, {found['cores']} cores, {found['threads']} threads, "
        f"load {found['load']:.1f}"
    )
    for what, measured, wanted, holds in rows(found):
        verdict = ("yes" if holds else "NO") if wanted else ""
        say(f"{what:<32} {measured:>8}   {wanted:<8} {verdict}".rstrip())


def settings_to_measure(
    model: str, update: str | None, batch: int | None, changes: Sequence[str]
) -> Settings:
    """A model's preset with these changes. HeroError if the update is another one."""
    every = changes_of(changes, update=update, batch=batch)
    settings = settings_for(
        load_task("hands"),
        model,
        None,
        every,
        kind=model_settings(model),
        parameters=network_parameters(model),
    )
    return settings


def measure(settings: Settings, turns: int) -> dict[str, Any]:
    """All figures, as JSON values: seconds and ratios. A true configuration takes minutes on a
    CPU, so each part is told when it is done.
    """
    from hero_engine.evaluation.engine_speed import SpeedTest, counted, resident_bytes

    expected = counted(settings)
    load, before = os.getloadavg()[0], resident_bytes()
    speed = SpeedTest(settings)
    sampling = speed.sampling(turns)
    _tell_part("sampling", sampling, speed)
    update = speed.update(turns)
    _tell_part("update", update, speed)
    embedding = speed.embedding()
    begun = time.perf_counter()
    pictures = speed.pictures()
    return {
        "device": speed.device_name,
        "cores": os.cpu_count(),
        "threads": speed.threads,
        "load": load,
        "sampling": asdict(sampling) | {"ratio": sampling.ratio},
        "update": asdict(update) | {"ratio": update.ratio},
        "embedding": embedding,
        "decoding": time.perf_counter() - begun,
        "peak_bytes": speed.peak_bytes(),
        "counted_bytes": None if expected is None else speed.counted_bytes(expected, before),
        "thumbnails": {kind: thumbnails(kind, pictures) for kind in ("kitty", "sixel")},
    }


def _tell_part(name: str, timing: Timing, speed: SpeedTest) -> None:
    engine, bare = (min(each) for each in (timing.engine, timing.bare))
    talk(
        f"{name}: {engine:.1f} s, bare calls {bare:.1f} s; peak memory so far "
        f"{speed.peak_bytes() / 1e9:.2f} GB"
    )


def thumbnails(kind: str, pictures: Pixels) -> float:
    """Seconds of encoding the pictures for a terminal."""
    from PIL import Image

    painter = choose_painter(kind, Terminal())
    begun = time.perf_counter()
    for pixels in pictures:
        painter.paint(Image.fromarray(pixels), TILE)
    return time.perf_counter() - begun


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """The table's rows."""
    for name, limit in (("sampling", SAMPLING), ("update", UPDATE)):
        ratio = found[name]["ratio"]
        yield f"{name} over bare calls", f"{ratio:.3f}", f"≤ {limit:.2f}", ratio <= limit
    spent = found["embedding"]
    yield "representation, a round", f"{spent:.2f} s", f"≤ {EMBEDDING:.0f} s", spent <= EMBEDDING
    yield "peak memory", f"{found['peak_bytes'] / 1e9:.2f} GB", "", True
    if counted := found["counted_bytes"]:
        ratio = found["peak_bytes"] / counted
        yield (
            "peak memory over arithmetic",
            f"{ratio:.3f}",
            f"1 ± {COUNTED:.2f}",
            abs(ratio - 1) <= COUNTED,
        )
    for name in ("sampling", "update"):
        yield name, f"{min(found[name]['engine']):.2f} s", "", True
    yield "decoding", f"{found['decoding']:.2f} s", "", True
    whole = seconds_of_round(found)
    for kind, seconds in found["thumbnails"].items():
        share = seconds / whole
        wanted = f"≤ {THUMBNAILS:.0%}"
        yield f"thumbnails of a round, {kind}", f"{share:.1%}", wanted, share <= THUMBNAILS


def seconds_of_round(found: dict[str, Any]) -> float:
    """What a round's computing takes."""
    paces = sum(min(found[name]["engine"]) for name in ("sampling", "update"))
    return float(paces + found["embedding"] + found["decoding"])
