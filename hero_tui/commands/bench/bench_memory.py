"""`hero bench memory`: which model trains on which card, by arithmetic."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hero_tui.output_streams import data_json, say, talk


def bench_memory(models: list[str], *, as_json: bool) -> None:
    """Count and print the tables. HeroError, exit code 3, for an unknown configuration."""
    from hero_engine.evaluation.memory_table import (
        encoder_table,
        entries,
        memory_table,
        time_table,
    )

    talk("counting; a minute for all models")
    found = entries(models)
    if as_json:
        data_json({entry.name: figures(entry.footprint) for entry in found})
        return
    for table in (memory_table(found), encoder_table(found), time_table(found)):
        for line in table:
            say(line)
        say("")


def figures(footprint: Any) -> dict[str, Any]:
    """What was counted, with the peak of each precision in bytes."""
    from hero_engine.evaluation.memory_table import PRECISIONS

    return asdict(footprint) | {"peak": {each: footprint.peak(each) for each in PRECISIONS}}
