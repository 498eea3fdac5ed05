"""People count rounds and pictures from 1."""

import pytest

from hero_engine.core.numbering import index, number, picture_name, round_name, rounds_name


def test_the_first_is_number_1_and_index_0() -> None:
    assert (number(0), index(1)) == (1, 0)
    assert (round_name(0), picture_name(0)) == ("round 1", "picture 1")


@pytest.mark.parametrize(
    ("rounds", "said"), [(range(1), "round 1"), ([4], "round 5"), (range(1, 4), "rounds 2 to 4")]
)
def test_several_rounds(rounds: range, said: str) -> None:
    assert rounds_name(rounds) == said
