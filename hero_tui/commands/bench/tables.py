"""Print a benchmark's tables: by rich on a terminal, as Markdown elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hero_tui.output_streams import say

if TYPE_CHECKING:
    from hero_engine.study.report import Table


def show_tables(tables: Sequence[Table]) -> None:
    """Print tables on stdout."""
    if not sys.stdout.isatty():
        say("\n\n".join(table.markdown() for table in tables))
        return
    from rich.console import Console

    console = Console()
    for table in tables:
        console.print(rich_table(table))


def rich_table(table: Table) -> Any:
    """A table for a terminal: no Markdown emphasis, and brackets in names are not markup."""
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(*table.headers, title=table.title)
    for row in table.rows:
        drawn.add_row(*(Text(cell.strip("*")) for cell in row))
    return drawn
