"""Fill the quoted tables of the documents from the figures beside this script.

::

    python docs/results/quote.py                # after the figures changed
    python docs/results/quote.py --check        # only report tables that differ

A quoted table follows a comment with its title, the options of `hero bench learn --report` that
print it, and optionally its columns. Options after "&&" are added to the first ones and print
further rows. `--out` is figures.csv unless the comment says otherwise. Columns after "by task" are
written METHOD: COLUMN and give a table with one row a task:

    <!-- quote: By labels | --tasks hands --methods hero,hero+@128 | task; method; 64 -->
    <!-- quote: By labels | --tasks hands && --labeller judge:flip=0.1 | method; 512 -->
    <!-- quote: By labels | --methods hero,hero+@128 | by task; hero: 512; hero+: 128 -->

A figure of the text stands between such a comment and an end. The options select one row, or the
column says which of several: the least or the most.

    <!-- figure: By labels | --tasks hands --methods hero --seeds 3 | 512 -->0.79<!-- end -->
    <!-- figure: Success | --methods hero | most KL -->460<!-- end -->
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
FIGURES = Path(__file__).parent / "figures.csv"
QUOTED = re.compile(r"(?P<order><!-- quote: (?P<what>.+?) -->\n)(?P<table>(\|.*\n)*)")

INLINE = re.compile(r"(?P<order><!-- figure: (?P<what>[^>]+?) -->)[^<]*(?P<end><!-- end -->)")


def quoted(text: str) -> str:
    """The document with every quoted table and figure made from the figures."""
    text = QUOTED.sub(lambda found: found["order"] + table(found["what"]), text)
    return INLINE.sub(lambda found: found["order"] + figure(found["what"]) + found["end"], text)


def figure(order: str) -> str:
    """A cell of a method without its interval. HeroError unless the order selects one."""
    title, options, column = (part.strip() for part in order.split("|"))
    one = titled(title, read_tables(options))
    rows = [dict(zip(one.headers, row, strict=True)) for row in one.rows]
    which, _, rest = column.partition(" ")
    choose = {"least": min, "most": max}.get(which)
    name = rest if choose else column
    methods = [row for row in rows if not row["method"].startswith("*")]
    cells = [row[name].partition(" ")[0] for row in methods if row.get(name)]
    if not cells or (len(cells) > 1 and choose is None):
        raise HeroError(f"{order}: {len(cells)} cells; the columns are {', '.join(one.headers)}")
    return choose(cells, key=float) if choose else cells[0]


def table(order: str) -> str:
    """A table in Markdown. HeroError for unknown figures, titles or columns."""
    title, options, *columns = (part.strip() for part in order.split("|"))
    first, *more = options.split("&&")
    found = [titled(title, read_tables(first))]
    found += [titled(title, read_tables(f"{first} {each}")) for each in more]
    names = [name.strip() for name in columns[0].split(";")] if columns else []
    one = by_task(found, names[1:]) if names[:1] == ["by task"] else joined(found, names)
    lines = one.markdown().splitlines()
    return "\n".join(line for line in lines if line.startswith("|")) + "\n"


def joined(found: Sequence[Table], names: Sequence[str]) -> Table:
    """The rows of all tables, each baseline once. names: the columns, in order; none: all."""
    known = [name for each in found for name in each.headers]
    if missing := [name for name in names if name not in known]:
        raise HeroError(f"no column {missing[0]!r}; there are: {', '.join(known)}")
    if names:
        found = [only(each, names) for each in found]
    rows = dict.fromkeys(row for each in found for row in each.rows)
    return Table(found[0].title, found[0].headers, list(rows))


def by_task(found: Sequence[Table], names: Sequence[str]) -> Table:
    """One row a task. names: the columns, each METHOD: COLUMN of the tables."""
    rows = [dict(zip(each.headers, row, strict=True)) for each in found for row in each.rows]
    cells = {
        (row["task"], f"{row['method']}: {name}"): text
        for row in rows
        for name, text in row.items()
    }
    if missing := [name for name in names if name not in {known for _, known in cells}]:
        known_names = ", ".join(dict.fromkeys(name for _, name in cells))
        raise HeroError(f"no column {missing[0]!r}; there are: {known_names}")
    tasks = dict.fromkeys(row["task"] for row in rows)
    lines = [(task, *(cells.get((task, name), "") for name in names)) for task in tasks]
    return Table(found[0].title, ("task", *names), lines)


def titled(title: str, tables: Sequence[Table]) -> Table:
    """The table whose title starts like this. HeroError if there is none."""
    for each in tables:
        if each.title.startswith(title):
            return each
    raise HeroError(f"no table {title!r}; there are: {', '.join(t.title for t in tables)}")


@cache
def read_tables(options: str) -> list[Table]:
    """The tables that `hero bench learn --report` prints with these options."""
    try:
        given = learn_command().make_context("quote", shlex.split(options)).params
    except CLICK_ERROR as error:
        raise HeroError(error.format_message()) from error
    typed = {each.name: given[each.name] for each in fields(Choice)}
    typed |= {"settings": given["settings"] or [], "out": PROJECT / (given["out"] or FIGURES)}
    outcome = read_study(Choice(**typed).plan())
    return tables_of(outcome, summarise(outcome, REACH))


@cache
def learn_command() -> Any:
    """`hero bench learn` as the command line knows it."""
    bench: Any = get_command(bench_commands)
    return bench.commands["learn"]


def only(wide: Table, columns: Sequence[str]) -> Table:
    """Some columns of a table, in this order; empty if the table lacks one."""
    rows = [dict(zip(wide.headers, row, strict=True)) for row in wide.rows]
    return Table(
        wide.title, tuple(columns), [tuple(row.get(name, "") for name in columns) for row in rows]
    )


def main() -> int:
    """Exit code 1 if --check finds a difference, 2 if a table cannot be made."""
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
