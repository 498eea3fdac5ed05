"""The report of a study: tables, plots, and results.md with both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from hero_engine.storage.atomic_files import write_atomically, write_beside
from hero_engine.study.figures import BASE, PROMPT, Point, write_points
from hero_engine.study.plots import Curve, draw
from hero_engine.study.run_study import Outcome
from hero_engine.study.settings_table import add_settings
from hero_engine.study.summary import Mean, MethodSummary, labels_needed, share, summarise

BARS = "▁▂▃▄▅▆▇█"
REACH = (0.5, 0.7, 0.9)
"""Success rates for which the labels are counted."""
MOST_COLUMNS = 8
"""Most columns of label counts in a table."""


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
    """summaries: see `summarise`. plots: one PNG a task."""

    summaries: list[MethodSummary]
    tables: list[Table]
    plots: list[Path]


def tables_of(
    outcome: Outcome, summaries: Sequence[MethodSummary], reach: Sequence[float] = REACH
) -> list[Table]:
    """All tables of a report."""
    return [
        success_table(outcome, summaries),
        by_labels_table(summaries),
        needed_table(summaries, reach),
        *match_tables(summaries),
    ]


def write_report(outcome: Outcome, command: str, reach: Sequence[float] = REACH) -> Report:
    """Write results.md, summary.json, the plots and, for a study folder, its table of figures."""
    summaries = summarise(outcome, reach)
    tables = tables_of(outcome, summaries, reach)
    folder = outcome.plan.folder
    plots = [
        write_plot(outcome, task, summaries, folder / f"{task}.png")
        for task in dict.fromkeys(each.task for each in summaries)
    ]
    text = "\n\n".join(
        [
            f"# `{command}`",
            facts(outcome),
            *(table.markdown() for table in tables),
            *(f"![success by labels]({plot.name})" for plot in plots),
        ]
    )
    write_atomically(folder / "results.md", text + "\n")
    summary = [asdict(each) for each in summaries]
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1))
    if not outcome.plan.is_table:
        write_points(folder / "figures.csv", outcome.points)
        add_settings(folder / "settings.toml", outcome.settings)
    return Report(summaries, tables, plots)


def facts(outcome: Outcome) -> str:
    """How the figures were measured, in a paragraph."""
    plan = outcome.plan
    versions = sorted({point.made_with for point in outcome.points if not point.is_baseline})
    unfinished = f" {outcome.missing} of the runs are not finished." if outcome.missing else ""
    return (
        f"Labels from `{plan.labeller}`; {plan.images} pictures a score, the same noises for every "
        "method, scored by the evaluator, which gives no labels. ± is half of the 95% interval "
        "over seeds (Student's t); one seed has none. Diversity is a share of the base's. KL is in "
        "nats a picture. Transfer is success with prompts that were not trained on."
        f"{unfinished} Made with {'; '.join(versions)}."
    )


def success_table(outcome: Outcome, summaries: Sequence[MethodSummary]) -> Table:
    """For each task and sampler: the baselines, then each method at its last common score."""
    headers = (
        "task", "method", "labels", "seeds", "fresh noise", "guided noise", "base, guided noise",
        "by labels", "diversity", "of the good", "near-copies", "KL", "transfer",
    )  # fmt: skip
    baselines = [point for point in outcome.points if point.is_baseline]
    found: list[tuple[str, ...]] = []
    for task, sampler in dict.fromkeys((point.task, point.sampler) for point in baselines):
        here = [p for p in baselines if (p.task, p.sampler) == (task, sampler)]
        [base] = [point for point in here if point.method == BASE]
        found += [_baseline_row(point, base) for point in here]
        found += [_method_row(s) for s in summaries if (s.task, s.sampler) == (task, sampler)]
    return Table("Success", headers, found)


def _baseline_row(point: Point, base: Point) -> tuple[str, ...]:
    is_base = point.method == BASE
    shares = (
        share(point.diversity, base.diversity),
        share(point.good_diversity, base.good_diversity),
    )
    return (
        point.task,
        f"*base, {point.sampler}*" if is_base else f"*{prompt_of(point)}*",
        "0", "", f"{point.fresh:.3f}", "", "", "",
        *("" if each is None else f"{each:.2f}" for each in shares),
        "0.01" if is_base else "",
        "0" if is_base else "",
        "" if point.transfer is None else f"{point.transfer:.3f}",
    )  # fmt: skip


def prompt_of(point: Point) -> str:
    """The other prompt of a baseline, in quotation marks."""
    return f"“{point.method.removeprefix(PROMPT)}”"


def _method_row(row: MethodSummary) -> tuple[str, ...]:
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
        _text(row.near_copies, 2),
        _text(row.kl, 0),
        _text(row.transfer),
    )


def by_labels_table(rows: Sequence[MethodSummary]) -> Table:
    """Success with fresh noise by labels: every score, thinned to `MOST_COLUMNS`."""
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


def needed_table(rows: Sequence[MethodSummary], reach: Sequence[float]) -> Table:
    """Labels to reach given success rates with fresh noise, over the seeds that reach them."""
    headers = ("task", "method", *(f"labels to {level:g}" for level in reach))
    return Table(
        "Labels needed, with fresh noise",
        headers,
        [(row.task, _name(row), *(_reached(row, level) for level in reach)) for row in rows],
    )


def _reached(row: MethodSummary, level: float) -> str:
    mean, count = row.needed[level]
    if mean is None:
        return f"not by {row.labels}"
    return mean.text(0) if count == row.seeds else f"{mean.text(0)} ({count} of {row.seeds} seeds)"


def match_tables(rows: Sequence[MethodSummary]) -> list[Table]:
    """How many labels each other method needs to match the first one, and vice versa.

    By the mean curves. No table if there is only one method.
    """
    name = rows[0].method if rows else ""
    first = {row.task: row for row in rows if row.method == name}
    others = [row for row in rows if row.method != name and row.task in first]
    if not others:
        return []
    headers = (
        "task", "method", "reaches", f"{name} needs", f"{name} reaches", "the method needs",
    )  # fmt: skip
    return [Table(f"To match {name}", headers, [_match(row, first[row.task]) for row in others])]


def _match(row: MethodSummary, first: MethodSummary) -> tuple[str, ...]:
    there, back = _to_match(first, row), _to_match(row, first)
    return (row.task, _name(row), _last(row), there, _last(first), back)


def _name(row: MethodSummary) -> str:
    """The method, and its labeller if that is not the plain judge."""
    labeller = row.labeller.removeprefix("judge:")
    return row.method if labeller == "judge" else f"{row.method} ({labeller})"


def _last(row: MethodSummary) -> str:
    return f"{row.fresh.mean:.3f} with {row.labels}"


def _to_match(row: MethodSummary, other: MethodSummary) -> str:
    """Labels that `row` needs for the last success of `other`, and as a multiple of its labels."""
    points = [(0, row.base), *((labels, mean.mean) for labels, mean in row.curve)]
    needed = labels_needed(points, other.fresh.mean)
    if needed is None:
        return f"more than {row.labels} (> {_times(row.labels / other.labels)})"
    return f"{needed:.0f} ({_times(needed / other.labels)})"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio >= 1 else f"{ratio:.2f} times"


def sparkline(values: Sequence[float]) -> str:
    """Numbers in 0..1 as bars, one character a number."""
    return "".join(BARS[min(int(value * len(BARS)), len(BARS) - 1)] for value in values)


def _text(mean: Mean | None, digits: int = 3) -> str:
    return "" if mean is None else mean.text(digits)


def write_plot(outcome: Outcome, task: str, rows: Sequence[MethodSummary], path: Path) -> Path:
    """Draw success by labels of a task's methods, with its baselines, into a PNG."""
    picture = plot(outcome, task, rows)
    write_beside(path, lambda file: picture.save(file, "PNG"))
    return path


def plot(outcome: Outcome, task: str, rows: Sequence[MethodSummary]) -> Image.Image:
    """Success by labels of a task's methods, with its baselines as dashed lines."""
    curves = [
        Curve(_name(row), [(0, row.base, 0.0), *((at, m.mean, m.half) for at, m in row.curve)])
        for row in rows
        if row.task == task
    ]
    baselines = [point for point in outcome.points if point.is_baseline and point.task == task]
    several = len({point.sampler for point in baselines}) > 1
    levels = {_level_name(point, several): point.fresh for point in baselines}
    return draw(f"{task}: success with fresh noise, by labels", curves, levels)


def _level_name(point: Point, several: bool) -> str:
    if point.method == BASE:
        return f"base, {point.sampler}"
    return prompt_of(point) + (f", {point.sampler}" if several else "")
