"""`hero bench tui`: two runs take turns, keys are timed, and a table says what holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from hero_engine.config.tasks import load_task, settings_for
from hero_tui.commands.bench import key_latency
from hero_tui.commands.bench.bench_tui import facts, rows
from hero_tui.commands.bench.bytes_sent import Sent
from hero_tui.commands.bench.key_latency import STEPS, LatencyResult, measure_latency

QUICK = {
    "seed": 1,
    "batch": 40,
    "labels": 1_000,
    "microbatch": 20,
    "sampler": {"steps": 4},
    "embedding": {"epochs": 20, "features": 16, "head": [16, 8]},
    "forward": {"steps": 6, "good_images_per_update": 4, "bad_images_per_update": 4},
    "update": "forward",
}


@pytest.mark.timeout(600)  # two runs, which on a busy machine need more than the usual 180 s
def test_two_runs_take_turns_while_keys_are_timed(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_latency, "START", 500)
    task = load_task("hands")
    settings = settings_for(task, str(tiny_model), "embedded", QUICK)
    measured = measure_latency(tmp_path, settings, task, keys=2, turns=1)
    assert 1 <= len(measured.seconds) <= 2
    assert all(0 < each < 2 for each in measured.seconds)
    for spent in (measured.in_app, measured.alone):
        assert spent.keys() == set(STEPS)
        assert spent["embed"] > 0 and spent["update"] > 0


def found(**changes: object) -> dict[str, object]:
    work = LatencyResult([0.01] * 98 + [0.03, 0.04], 0, {"update": 10.2}, {"update": 10.0})
    wire = Sent(190_000, 32, 178, 0, 4_500, 1)
    return (
        facts(
            work,
            {"kitty": wire, "sixel": wire},
            {"kitty": [(0.05, 0.02)], "sixel": [(0.04, 0.03), (0.03, 0.01)]},
        )
        | changes
    )


def test_the_table_compares_measurements_with_targets() -> None:
    table = {what: (measured, holds) for what, measured, _, holds in rows(found())}
    assert table["key to first byte, p50"] == ("10 ms", True)
    assert table["engine slowdown, app open"] == ("2.0%", True)
    assert table["first paint, kitty"] == ("190 KB", True)
    assert table["first key at 300 KB/s, sixel"] == ("40 ms", True)
    assert table["a key after the upload, sixel"] == ("30 ms", True)
    assert all(holds for _, holds in table.values())


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({"p99": 0.051}, "key to first byte, p99"),
        ({"slowdown": 0.06}, "engine slowdown, app open"),
        ({"first_key": {"kitty": 0.2, "sixel": 0.0}}, "first key at 300 KB/s, kitty"),
    ],
)
def test_a_missed_target_is_marked(change: dict[str, object], fails: str) -> None:
    assert [what for what, _, _, holds in rows(found(**change)) if not holds] == [fails]
