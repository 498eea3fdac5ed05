"""`hero bench speed`: what the table says of measured seconds."""

from dataclasses import asdict

from hero_engine.evaluation.engine_speed import Timing
from hero_tui.commands.bench.bench_speed import rows


def test_the_table_compares_measurements_with_targets() -> None:
    sampling, update = Timing([2.0, 3.0], [2.0, 2.5], 64), Timing([6.5, 9.0], [5.0, 5.0], 64)
    found = {
        "sampling": asdict(sampling) | {"ratio": sampling.ratio},
        "update": asdict(update) | {"ratio": update.ratio},
        "peak_bytes": 5.2e9,
        "counted_bytes": 4e9,
        "embedding": 1.0,
        "decoding": 0.5,
        "thumbnails": {"kitty": 0.1, "sixel": 1.0},
    }
    assert list(rows(found)) == [
        ("sampling over bare calls", "1.100", "≤ 1.10", True),
        ("update over bare calls", "1.550", "≤ 1.20", False),
        ("representation, a round", "1.00 s", "≤ 3 s", True),
        ("peak memory", "5.20 GB", "", True),
        ("peak memory over arithmetic", "1.300", "1 ± 0.15", False),
        ("sampling", "2.00 s", "", True),
        ("update", "6.50 s", "", True),
        ("decoding", "0.50 s", "", True),
        ("thumbnails of a round, kitty", "1.0%", "≤ 2%", True),  # 0.1 of 2 + 6.5 + 1 + 0.5 s
        ("thumbnails of a round, sixel", "10.0%", "≤ 2%", False),
    ]
