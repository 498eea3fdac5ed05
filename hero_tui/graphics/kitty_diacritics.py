"""The combining marks that number rows, columns and high bytes of kitty's placeholder cells.

A fact of the protocol (its file rowcolumn-diacritics.txt, first part): mark number n stands for n.
"""

from __future__ import annotations

_RANGES = (
    "305 30d-30e 310 312 33d-33f 346 34a-34c 350-352 357 35b 363-36f 483-487 592-595 597-599 "
    "59c-5a1 5a8-5a9 5ab-5ac 5af 5c4 610-617 657-65b 65d-65e 6d6-6dc 6df-6e2 6e4 6e7-6e8 6eb-6ec "
    "730 732-733 735-736 73a 73d 73f-741 743 745 747 749-74a 7eb-7f1 7f3 816-819 81b-823 825-827 "
    "829-82d 951 953-954 f82-f83 f86-f87"
)


def _marks() -> str:
    bounds = (part.partition("-") for part in _RANGES.split())
    return "".join(
        chr(code)
        for low, _, high in bounds
        for code in range(int(low, 16), int(high or low, 16) + 1)
    )


DIACRITICS = _marks()
