"""`hero bench tui`: key latency, bytes sent, and how much the app slows the engine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hero_engine.config.tasks import load_task, settings_for
from hero_tui.commands.bench.bytes_sent import SLOW_LINK, Sent, sent, slow_link_keys
from hero_tui.commands.bench.key_latency import LatencyResult, measure_latency
from hero_tui.output_streams import data_json, say, talk

KEYS, TURNS = 500, 5
QUICK_KEYS, QUICK_TURNS = 60, 1
KINDS = {"kitty": 400_000, "sixel": 500_000}
"""Kind of terminal -> target for the bytes of a first paint."""

CHANGES: dict[str, Any] = {
    "seed": 0,
    "labels": 1_000_000,
    "fixed_noise_samples": 0,
    "forward": {"steps": 8},
}
"""Changes to the preset: shorter rounds, and no fixed-noise samples, which one run would draw
during the other's turn."""

MARK, FIRST_KEY = 280, 0.1
P50, P99, SLOWDOWN = 0.020, 0.050, 0.05

Row = tuple[str, str, str, bool]
"""What was measured, the value, the target, and whether the target is met."""


def measure(*, quick: bool) -> dict[str, Any]:
    """All figures, as JSON values: seconds, bytes, shares."""
    keys, turns = (QUICK_KEYS, QUICK_TURNS) if quick else (KEYS, TURNS)
    sent_bytes, waits = {}, dict[str, list[tuple[float, float]]]()
    for kind in KINDS:
        talk(f"bytes and a slow link: {kind}")
        sent_bytes[kind] = sent(kind)
        waits[kind] = [slow_link_keys(kind) for _ in range(1 if quick else 3)]
    talk(f"{keys} keys while the engine works, and the engine alone, in turns")
    task = load_task("hands")
    settings = settings_for(task, "embedded", "embedded", CHANGES)
    with tempfile.TemporaryDirectory() as folder:
        work = measure_latency(Path(folder), settings, task, keys=keys, turns=turns)
    return facts(work, sent_bytes, waits)


def facts(
    work: LatencyResult,
    sent_bytes: dict[str, Sent],
    waits: dict[str, list[tuple[float, float]]],
) -> dict[str, Any]:
    """The measurements as JSON values.

    waits: seconds until a key was answered on the slow link, during the upload and after it.
    """
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "keys": len(work.seconds),
        "unanswered": work.unanswered,
        "p50": work.percentile(50),
        "p99": work.percentile(99),
        "slowest": max(work.seconds),
        "in_app": work.in_app,
        "alone": work.alone,
        "slowdown": work.slowdown,
        "sent": {kind: asdict(each) for kind, each in sent_bytes.items()},
        "first_key": {kind: max(during for during, _ in each) for kind, each in waits.items()},
        "idle_key": {kind: max(after for _, after in each) for kind, each in waits.items()},
    }


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """The table's rows."""
    for name, limit in (("p50", P50), ("p99", P99)):
        value = found[name]
        yield f"key to first byte, {name}", ms(value), f"≤ {ms(limit)}", value <= limit
    slower = found["slowdown"]
    yield "engine slowdown, app open", f"{slower:.1%}", f"≤ {SLOWDOWN:.0%}", slower <= SLOWDOWN
    for kind, limit in KINDS.items():
        each, wait = found["sent"][kind], found["first_key"][kind]
        paint, mark, replace = each["first_paint"], each["mark"], each["replace"]
        yield f"first paint, {kind}", kb(paint), f"≤ {kb(limit)}", paint <= limit
        few = mark <= MARK and not each["mark_pictures"]
        yield f"one mark, {kind}", f"{mark} B", f"≤ {MARK} B, no picture", few
        one = each["replace_pictures"] == 1
        yield f"one replaced picture, {kind}", kb(replace), "one picture sent", one
        link = f"≤ {ms(FIRST_KEY)}"
        yield f"first key at {kb(SLOW_LINK)}/s, {kind}", ms(wait), link, wait <= FIRST_KEY
        yield f"a key after the upload, {kind}", ms(found["idle_key"][kind]), "", True


def ms(seconds: float) -> str:
    """Seconds as milliseconds."""
    return f"{seconds * 1000:.0f} ms"


def kb(count: float) -> str:
    """Bytes as kilobytes."""
    return f"{count / 1000:.0f} KB"


def bench_tui(*, quick: bool, as_json: bool) -> None:
    """Measure and print."""
    found = measure(quick=quick)
    if as_json:
        data_json(found)
        return
    say(f"{found['keys']} keys, {found['cores']} cores, load {found['load']:.1f}, 150 x 48 cells")
    for what, measured, wanted, holds in rows(found):
        say(f"{what:<32} {measured:>8}   {wanted:<20} {'yes' if holds else 'NO'}")
