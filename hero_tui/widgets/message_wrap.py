"""A message on a short row and a long one: shown whole, never cut in the middle of a word."""

from __future__ import annotations


def two_rows(text: str, first: int, second: int) -> tuple[str, str]:
    """The text on one row of `first` cells; where it does not fit, the rest for a second row.

    Only a terminal that is too narrow for both shortens it, at a word, with an ellipsis.
    """
    if len(text) <= first:
        return text, ""
    head, rest = _split(text, first)
    return head, shortened(rest, second)


def shortened(text: str, width: int) -> str:
    """The text, or as many whole words of it as fit, and an ellipsis."""
    if len(text) <= width:
        return text
    head, _ = _split(text, max(0, width - 1))
    return f"{head}…" if head else "…"[:width]


def _split(text: str, width: int) -> tuple[str, str]:
    """As many words as fit, and the others."""
    cut = text.rfind(" ", 0, width + 1)
    return (text[:cut], text[cut + 1 :]) if cut > 0 else ("", text)
