"""Bytes that a picture may take, so that a page stays quick over SSH.

Drawings compress well and stay far below these; photographs would not. Both figures are bytes for
a pixel of the terminal, so a picture twice as large may cost four times as much.
"""

from __future__ import annotations

import base64
import io
import math

from PIL import Image

from hero_tui.graphics.painter import no_larger

PNG_BYTES = 0.5
"""A page of 32 pictures of 136 pixels is then below 400 KB, its text included."""

SIXEL_BYTES = 0.7
"""A page of 32 pictures of 132 pixels is then below 500 KB, its text included."""

PNG_COLOURS = 256
"""Palette of a PNG; an octree is as near with it as a median cut with half as many colours, in a
tenth of the time and in fewer bytes."""

SMALLEST = 32
"""Pixels across below which a picture is not made smaller."""


def allowance(size: tuple[int, int], bytes_a_pixel: float) -> int:
    """Bytes that a picture shown at this size (width, height) may cost."""
    return round(size[0] * size[1] * bytes_a_pixel)


def palette_png(picture: Image.Image, shown: tuple[int, int]) -> str:
    """An 8-bit palette PNG in base64 for a terminal that scales it to `shown` pixels.

    One that would cost too much is sent smaller, not with fewer colours: soft looks better than
    striped.
    """
    sent = no_larger(picture, shown)
    data = _encoded(sent)
    while len(data) > (most := allowance(shown, PNG_BYTES)) and sent.width > SMALLEST:
        share = max(0.5, 0.96 * math.sqrt(most / len(data)))
        size = max(1, round(sent.width * share)), max(1, round(sent.height * share))
        sent = picture.resize(size, Image.Resampling.LANCZOS)
        data = _encoded(sent)
    return data


def _encoded(picture: Image.Image) -> str:
    out = io.BytesIO()
    few = picture.quantize(PNG_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(out, "PNG")
    return base64.standard_b64encode(out.getvalue()).decode("ascii")
