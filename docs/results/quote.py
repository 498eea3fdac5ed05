"""Put the study's tables into the documents, so that they say what the figures beside this say.

::

    python docs/results/quote.py                # after new figures
    python docs/results/quote.py --check        # only say where a table differs

A quoted table stands under a comment of its own: a table's title, the options of
``hero bench learn --report`` that print it, and the columns if not all of them are wanted. Options
after "&&" are added to the first ones, and print further rows:

    <!-- quote: By labels | --out docs/results/study --methods hero,hero+@128 | task; method; 64 -->
    <!-- quote: By labels | --out study --tasks hands && --labeller judge:flip=0.1 | method; 512 -->
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from typer.main import get_command

from hero_engine.core.errors import HeroError
from hero_engine.study.report import REACH, Table, tables_of
from hero_engine.study.run_study import read_study
from hero_engine.study.summary import summarise
from hero_tui.cli import CLICK_ERROR
from hero_tui.commands.bench import app as bench_commands
from hero_tui.commands.bench.bench_learn import Choice

PROJECT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/results.md", "docs/learning.md")
QUOTED = re.compile(r"(?P<order><!-- quote: (?P<what>.+?) -->\n)(?P<table>(\|.*\n)*)")


def quoted(text: str) -> str:
    """The document with each quoted table as the figures have it now."""
    return QUOTED.sub(lambda found: found["order"] + table(found["what"]), text)


def table(order: str) -> str:
    """A table in Markdown. HeroError where there are no such figures, title or column."""
    title, options, *columns = (part.strip() for part in order.split("|"))
    first, *more = options.split("&&")
    found = [titled(title, read_tables(shlex.split(first)))]
    found += [titled(title, read_tables(shlex.split(f"{first} {each}"))) for each in more]
    if columns:
        names = [name.strip() for name in columns[0].split(";")]
        known = [name for each in found for name in each.headers]
        if missing := [name for name in names if name not in known]:
            raise HeroError(f"no column {missing[0]!r}; there are: {', '.join(known)}")
        found = [only(each, names) for each in found]
    rows = dict.fromkeys(row for each in found for row in each.rows)  # a base once
    all_rows = Table(title, found[0].headers, list(rows))
    lines = all_rows.markdown().splitlines()
    return "\n".join(line for line in lines if line.startswith("|")) + "\n"


def titled(title: str, tables: Sequence[Table]) -> Table:
    """The table whose title begins so. HeroError where there is none."""
    for each in tables:
        if each.title.startswith(title):
            return each
    raise HeroError(f"no table {title!r}; there are: {', '.join(t.title for t in tables)}")


def read_tables(options: Sequence[str]) -> list[Table]:
    """What `hero bench learn --report` prints with these options; it is not written anywhere."""
    try:
        given = learn_command().make_context("quote", list(options)).params
    except CLICK_ERROR as error:
        raise HeroError(error.format_message()) from error
    typed = {each.name: given[each.name] for each in fields(Choice)}
    typed |= {"settings": given["settings"] or [], "out": given["out"] and PROJECT / given["out"]}
    outcome = read_study(Choice(**typed).plan())
    return tables_of(outcome, summarise(outcome, REACH))


@cache
def learn_command() -> Any:
    """`hero bench learn` as the command line knows it."""
    bench: Any = get_command(bench_commands)
    return bench.commands["learn"]


def only(wide: Table, columns: Sequence[str]) -> Table:
    """Some columns of a table, in this order; one that it has not is empty."""
    rows = [dict(zip(wide.headers, row, strict=True)) for row in wide.rows]
    return Table(
        wide.title, tuple(columns), [tuple(row.get(name, "") for name in columns) for row in rows]
    )


def main() -> int:
    """1 where --check finds a difference, 2 where a table is asked for that cannot be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check, differ = parser.parse_args().check, False
    for name in DOCUMENTS:
        path = PROJECT / name
        text = path.read_text("utf-8")
        try:
            new = quoted(text)
        except HeroError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        if new == text:
            continue
        differ = True
        print(f"{name}: " + ("differs from the figures" if check else "changed"))
        if not check:
            path.write_text(new, "utf-8")
    return int(check and differ)


if __name__ == "__main__":
    sys.exit(main())
