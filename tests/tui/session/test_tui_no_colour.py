"""NO_COLOR: marks without colour, pictures with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelling_app import labelling, sampled
from rich.color import Color
from textual.geometry import Region
from textual.widget import Widget


async def test_without_colour_marks_are_grey_and_pictures_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("w")
        await app.uploads.idle()
        assert app.labelling.tiles is not None
        tile = app.labelling.tiles.tiles[1]
        assert "● good" in grounds(tile.caption)[0]
        assert not any(colourful for _, colourful in grounds(tile.caption)[1])
        assert any(colourful for _, colourful in grounds(tile.picture)[1])


def grounds(widget: Widget) -> tuple[str, list[tuple[str, bool]]]:
    """A widget's text, and for each piece of it whether its background has a hue."""
    strips = widget.render_lines(Region(0, 0, widget.size.width, widget.size.height))
    pieces = [
        (text, style is not None and style.bgcolor is not None and has_hue(style.bgcolor))
        for strip in strips
        for text, style, _ in strip
    ]
    return "".join(text for text, _ in pieces), pieces


def has_hue(colour: Color) -> bool:
    return colour.triplet is not None and len(set(colour.triplet)) > 1
