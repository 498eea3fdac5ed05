"""`hero label` and `hero labels`: import and export labels. Imports no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hero_engine.config.settings import Settings
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.numbering import number, round_name, rounds_name
from hero_engine.core.xdg import private
from hero_engine.labelling.annotators import refuse_others
from hero_engine.labelling.labels_file import LabelsFile, checksum, parse_labels, read_labels
from hero_engine.storage.journal import HistoryRow, Journal
from hero_engine.storage.run_folder import RunDir
from hero_tui.commands.find_run import open_run
from hero_tui.commands.inspect_runs import reading
from hero_tui.output_streams import data, say, talk

STDIN = "-"


@private()
def label(name: str, source: str, *, force: bool) -> None:
    """Store a file's labels for the waiting round, all or none, and submit the round.

    HeroError, exit code 2, if a line is wrong or no round waits.
    """
    run = open_run(name)
    with run.lock(), Journal(run.journal_path) as journal:
        round = run.waiting()
        if round is None:
            raise HeroError(
                f"{run.path} does not wait for labels; continue with: hero resume {run.path}"
            )
        labels = _read(source, run.settings)
        pictures = {image: run.path / path for image, path in journal.images(round).items()}
        _refuse_other_rounds(labels, round)
        if warning := refuse_others(labels, round, pictures, force=force):
            talk(warning)
        journal.mark(round, labels.marks(round), source=labels.path.name, submit=True)
        given = run.labels(journal, round)
    talk(
        f"{round_name(round)}: {given.labelled} labels, {len(given.goods)} of them good."
        f" Continue with: hero resume {run.path}"
    )


def _read(source: str, settings: Settings) -> LabelsFile:
    batch, plan = settings.batch, settings.plan
    if source != STDIN:
        return read_labels(Path(source), batch, plan)
    try:
        return parse_labels(Path("stdin"), sys.stdin.read(), batch, plan)
    except UnicodeDecodeError as error:
        raise HeroError(f"cannot read labels from stdin: {error}") from error


def _refuse_other_rounds(labels: LabelsFile, round: int) -> None:
    """HeroError for labels of another round: they would be ignored."""
    for other, rows in labels.rounds.items():
        if other != round:
            raise labels.refusal(rows[0], f'"round" is {other}, but the run waits for {round}')
    if round not in labels.rounds:
        raise HeroError(labels.without(round))


def labels(name: str | None, *, round: int | None, history: bool, as_json: bool) -> None:
    """Print every label of a run, or with `history` every mark, oldest first."""
    run = open_run(name)
    if not run.journal_path.exists():
        return
    with reading(run) as journal:
        rounds = _rounds(run, journal, round)
        rows = (row for each in rounds for row in _rows(run, journal, each, history=history))
        for row in rows:
            if as_json:
                data(json.dumps(row))
            else:
                best = " best" if row.get("best") else ""
                what = f"{row['label'] or '-'}{best}"
                place = f"{number(row['round']):>5} {number(row['image']):>5}"
                say(f"{place}  {what:<10} {row['picture']}")


def _rounds(run: RunDir, journal: Journal, chosen: int | None) -> list[int]:
    known = list(journal.rounds())
    if chosen is not None and chosen not in known:
        only = f", only {rounds_name(known)}" if known else ""
        raise HeroError(f"{run.path} has no {round_name(chosen)}{only}", exit_code=ExitCode.RUN)
    return known if chosen is None else [chosen]


def _rows(run: RunDir, journal: Journal, round: int, *, history: bool) -> Iterator[dict[str, Any]]:
    """One object per label or mark."""
    marks, paths = journal.history(round), journal.images(round)
    if history:
        for mark in marks:
            yield {
                "round": round,
                "image": mark.image,
                "label": mark.value,
                "kind": mark.kind,
                "picture": paths.get(mark.image),
                **_given(mark),
            }
        return
    given = run.labels(journal, round)
    last = {mark.image: mark for mark in marks}
    for image, good in enumerate(given.good):
        if good is not None:
            yield {
                "round": round,
                "image": image,
                "label": "good" if good else "bad",
                "best": image in given.bests,
                **_prompt(run, round, image),
                **_picture(run, round, image, paths.get(image, "")),
                **_given(last[image]),
            }


def _given(mark: HistoryRow) -> dict[str, Any]:
    """When, in UTC, and by whom."""
    time = datetime.fromtimestamp(mark.time, UTC).isoformat(timespec="milliseconds")
    return {"time": time, "source": mark.source}


def _prompt(run: RunDir, round: int, image: int) -> dict[str, str]:
    """The picture's prompt, in a run with several."""
    if not run.settings.prompts:
        return {}
    return {"prompt": run.settings.plan.kinds[run.groups(round)[image]].prompt}


def _picture(run: RunDir, round: int, image: int, path: str) -> dict[str, Any]:
    """An image's file, and file and row of its tensors; paths are relative to the run."""
    found: dict[str, Any] = {"picture": path, "sha256": checksum(run.path / path)}
    place = run.latents_file(round, image)
    for name, tensor in (("latent", "latents_B_C_H_W"), ("noise", "noises_B_C_H_W")):
        if place is not None:
            found[name] = {"file": place[0], "tensor": tensor, "row": place[1]}
    return found
