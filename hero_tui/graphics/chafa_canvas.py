"""The one place that talks to libchafa (through chafa.py)."""

from __future__ import annotations

from array import array

from chafa import Canvas, CanvasConfig, CanvasMode, PixelMode, PixelType, SymbolMap, SymbolTags
from PIL import Image

SYMBOLS = PixelMode.CHAFA_PIXEL_MODE_SYMBOLS


def draw(picture: Image.Image, config: CanvasConfig) -> Canvas:
    """A chafa canvas of this configuration with the whole picture stretched over it."""
    canvas = Canvas(config)
    width, height = picture.size
    pixels = array("B", picture.tobytes())
    canvas.draw_all_pixels(PixelType.CHAFA_PIXEL_RGB8, pixels, width, height, 3 * width)
    return canvas


def symbol_config(columns: int, rows: int) -> CanvasConfig:
    """Symbol art in true colour; Rich reduces colours later for terminals that have fewer."""
    config = CanvasConfig()
    config.width, config.height = columns, rows
    config.pixel_mode = SYMBOLS
    config.canvas_mode = CanvasMode.CHAFA_CANVAS_MODE_TRUECOLOR
    config.set_symbol_map(_symbol_map())
    return config


def _symbol_map() -> SymbolMap:
    """Blocks, halves and quadrants: shapes that every monospace font has and draws edge to edge."""
    symbols = SymbolMap()
    for tag in ("SPACE", "SOLID", "BLOCK", "HALF", "QUAD"):
        symbols.add_by_tags(getattr(SymbolTags, f"CHAFA_SYMBOL_TAG_{tag}"))
    return symbols
