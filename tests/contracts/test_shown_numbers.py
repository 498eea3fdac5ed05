"""No text shows the index of a round or picture: `hero_engine.core.numbering` has the number."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
NAMED = re.compile(r"(?<![\w-])(round|(?<!the )picture)s? $")
""""the picture {path}" names a file."""


def said_directly(text: ast.JoinedStr) -> list[str]:
    """What an f-string puts behind the word "round" or "picture"."""
    pairs = zip(text.values, text.values[1:], strict=False)
    return [
        ast.unparse(value)
        for before, value in pairs
        if isinstance(before, ast.Constant) and NAMED.search(str(before.value))
    ]


@pytest.mark.parametrize("package", ["hero_engine", "hero_tui"])
def test_rounds_and_pictures_are_named_in_one_place(package: str) -> None:
    found = {
        f"{path.relative_to(PROJECT)}:{node.lineno}": said
        for path in (PROJECT / package).rglob("*.py")
        if path.name != "numbering.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.JoinedStr) and (said := said_directly(node))
    }
    assert not found


def test_the_rule_is_seen_to_be_broken() -> None:
    (text,) = [
        node
        for node in ast.walk(ast.parse('f"picture {image + 1} of round {round}"'))
        if isinstance(node, ast.JoinedStr)
    ]
    assert len(said_directly(text)) == 2
