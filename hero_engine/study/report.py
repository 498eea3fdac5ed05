"""A study's outcome as tables, and the file of them: Markdown with its plots beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hero_engine.storage.atomic_files import write_atomically, write_beside
from hero_engine.study.plots import Curve, draw
from hero_engine.study.run_study import Outcome
from hero_engine.study.summary import Mean, Row, labels_needed, summarise

BARS = "▁▂▃▄▅▆▇█"
REACH = (0.5, 0.7, 0.9)
"""Success rates that labels are counted to."""
MOST_COLUMNS = 8
"""Numbers of labels that a table shows at most."""


@dataclass(frozen=True)
class Table:
    """Rows of text under their headers."""

    title: str
    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        """As Markdown."""
        lines = [self.headers, ("---",) * len(self.headers), *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(row)} |" for row in lines)])


@dataclass(frozen=True)
class Report:
    """rows: see `summarise`; tables: of them; plots: a PNG a task."""

    rows: list[Row]
    tables: list[Table]
    plots: list[Path]


def tables_of(outcome: Outcome, rows: Sequence[Row], reach: Sequence[float] = REACH) -> list[Table]:
    """All there are; rows: see `summarise`."""
    return [
        success_table(outcome, rows),
        by_labels_table(rows),
        needed_table(rows, reach),
        *even_tables(rows),
    ]


def write_report(outcome: Outcome, command: str, reach: Sequence[float] = REACH) -> Report:
    """Tables and plots of all that is there, into the study's folder."""
    rows = summarise(outcome, reach)
    tables = tables_of(outcome, rows, reach)
    out = outcome.plan.out
    tasks = dict.fromkeys(line["task"] for line in outcome.lines)
    plots = [_plot(outcome, task, rows) for task in tasks]
    text = "\n\n".join(
        [
            f"# `{command}`",
            facts(outcome),
            *(table.markdown() for table in tables),
            *(f"![success by labels]({plot.name})" for plot in plots),
        ]
    )
    write_atomically(out / "results.md", text + "\n")
    summary = [asdict(row) for row in rows]
    write_atomically(out / "summary.json", json.dumps(summary, indent=1))
    return Report(rows, tables, plots)


def facts(outcome: Outcome) -> str:
    """What the figures are of, in a few sentences."""
    plan = outcome.plan
    makers = sorted({_made(cell["made_with"]) for cell in outcome.cells})
    unfinished = f" Not finished: {outcome.missing} of the runs." if outcome.missing else ""
    return (
        f"Labels from `{plan.labeller}`; {plan.images} pictures a score, the same noises for all, "
        "scored by the judge that never labels. ± is half of the 95% interval over seeds "
        "(Student's t); one seed has none. Diversity is a share of the base's; KL is in nats a "
        f"picture; transfer is success with prompts not trained on.{unfinished} "
        f"Made with {'; '.join(makers)}."
    )


def _made(made: dict[str, str]) -> str:
    return (
        f"hero {made['hero']}, torch {made['torch']}, Python {made['python']} on "
        f"{made['machine']} ({made['threads']} threads)"
    )


def success_table(outcome: Outcome, rows: Sequence[Row]) -> Table:
    """The lines of each task, then its methods at the most labels all of their seeds have."""
    headers = (
        "task", "method", "labels", "seeds", "fresh noise", "guided noise", "base, guided noise",
        "by labels", "diversity", "of the good", "KL", "transfer",
    )  # fmt: skip
    found: list[tuple[str, ...]] = []
    for line in outcome.lines:
        found += [_line(line, "base"), _line(line, "enhanced")]
        of = [(row.task, row.sampler) == (line["task"], line["sampler"]) for row in rows]
        found += [_cells(row) for row, mine in zip(rows, of, strict=True) if mine]
    return Table("Success", headers, [row for row in found if row])


def _line(lines: dict[str, Any], name: str) -> tuple[str, ...]:
    """A policy without labels; nothing where the task has no such prompt."""
    score = lines[name]
    if score is None:
        return ()
    transfer = [each["rate"] for each in lines["transfer"].values()] if name == "base" else []
    shares = (
        score[part] / lines["base"][part] if score[part] and lines["base"][part] else None
        for part in ("diversity", "good_diversity")
    )
    return (
        lines["task"],
        f"*base, {lines['sampler']}*" if name == "base" else f"*“{lines['enhanced_prompt']}”*",
        "0", "", f"{score['rate']:.3f}", "", "", "",
        *("" if share is None else f"{share:.2f}" for share in shares),
        "0" if name == "base" else "",
        f"{sum(transfer) / len(transfer):.3f}" if transfer else "",
    )  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    curve = [row.base, *(mean.mean for _, mean in row.curve)]
    return (
        row.task,
        _name(row),
        str(row.labels),
        str(row.seeds),
        row.fresh.text(),
        _text(row.guided),
        _text(row.base_guided),
        sparkline(curve),
        row.diversity.text(2),
        _text(row.good_diversity, 2),
        _text(row.kl, 0),
        _text(row.transfer),
    )


def by_labels_table(rows: Sequence[Row]) -> Table:
    """Success with fresh noise at as many numbers of labels as fit, the largest among them."""
    shown = sorted({labels for row in rows for labels, _ in row.curve})
    while len(shown) > MOST_COLUMNS:
        shown = shown[::-2][::-1]
    found = []
    for row in rows:
        at = {labels: mean.text(2) for labels, mean in row.curve}
        cells = (at.get(labels, "") for labels in shown)
        found.append((row.task, _name(row), str(row.seeds), f"{row.base:.2f}", *cells))
    headers = ("task", "method", "seeds", "0 labels", *map(str, shown))
    return Table("By labels, with fresh noise", headers, found)


def needed_table(rows: Sequence[Row], reach: Sequence[float]) -> Table:
    """Labels to reach some success rates with fresh noise, over the seeds that do."""
    headers = ("task", "method", *(f"labels to {level:g}" for level in reach))
    return Table(
        "Labels needed, with fresh noise",
        headers,
        [(row.task, _name(row), *(_reached(row, level) for level in reach)) for row in rows],
    )


def _reached(row: Row, level: float) -> str:
    mean, count = row.needed[level]
    if mean is None:
        return f"not by {row.labels}"
    return mean.text(0) if count == row.seeds else f"{mean.text(0)} ({count} of {row.seeds} seeds)"


def even_tables(rows: Sequence[Row]) -> list[Table]:
    """How many labels make the other methods even with the first one, by their mean curves.

    No table where there is nothing to compare.
    """
    name = rows[0].method if rows else ""
    first = {row.task: row for row in rows if row.method == name}
    others = [row for row in rows if row.method != name and row.task in first]
    if not others:
        return []
    headers = ("task", "method", "reaches", f"{name} for as much", f"{name} reaches", "for as much")
    return [Table(f"Even with {name}", headers, [_even(row, first[row.task]) for row in others])]


def _even(row: Row, first: Row) -> tuple[str, ...]:
    there, back = _for_as_much(first, row), _for_as_much(row, first)
    return (row.task, _name(row), _last(row), there, _last(first), back)


def _name(row: Row) -> str:
    """The method, and its labeller where that is not simply the judge."""
    labeller = row.labeller.removeprefix("judge:")
    return row.method if labeller == "judge" else f"{row.method} ({labeller})"


def _last(row: Row) -> str:
    return f"{row.fresh.mean:.3f} with {row.labels}"


def _for_as_much(row: Row, other: Row) -> str:
    """Labels that a method needs for another's last success, and how many times as many."""
    points = [(0, row.base), *((labels, mean.mean) for labels, mean in row.curve)]
    needed = labels_needed(points, other.fresh.mean)
    if needed is None:
        return f"more than {row.labels} (> {_times(row.labels / other.labels)} as many)"
    return f"{needed:.0f} ({_times(needed / other.labels)} as many)"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio >= 1 else f"{ratio:.2f} times"


def sparkline(values: Sequence[float]) -> str:
    """Numbers in 0..1 as bars, one character each."""
    return "".join(BARS[min(int(value * len(BARS)), len(BARS) - 1)] for value in values)


def _text(mean: Mean | None, digits: int = 3) -> str:
    return "" if mean is None else mean.text(digits)


def _plot(outcome: Outcome, task: str, rows: Sequence[Row]) -> Path:
    mine = [row for row in rows if row.task == task]
    curves = [
        Curve(row.method, [(0, row.base, 0.0), *((at, m.mean, m.half) for at, m in row.curve)])
        for row in mine
    ]
    lines = [line for line in outcome.lines if line["task"] == task]
    levels = {}
    for line in lines:
        levels[f"base, {line['sampler']}"] = line["base"]["rate"]
        if line["enhanced"]:
            sampler = f", {line['sampler']}" if len(lines) > 1 else ""
            levels[f"“{line['enhanced_prompt']}”{sampler}"] = line["enhanced"]["rate"]
    path = outcome.plan.out / f"{task}.png"
    picture = draw(f"{task}: success with fresh noise, by labels", curves, levels)
    write_beside(path, lambda file: picture.save(file, "PNG"))
    return path
