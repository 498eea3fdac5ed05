"""Pages mix guided and fresh pictures; captions tell which are which, and which repeat the best."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fake_engine import SIDE, FakeEngine, open_journal
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from test_tui_labelling import journalled, label_styles, labelling
from textual.geometry import Size

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.labels import Mark
from hero_engine.policy.noise_origins import mixed_order
from hero_tui.session.earlier_rounds import EarlierRounds
from hero_tui.session.label_style import LabelStyle
from hero_tui.session.noise_tags import (
    ALIKE,
    LEGENDS,
    NoiseTag,
    Thumbnail,
    commonest,
    near_copies,
)
from hero_tui.widgets.tile import Caption

BATCH = 16
KINDS = (NoiseTag.FRESH, NoiseTag.GUIDED, NoiseTag.COPY)
NOISE = NoiseSettings(fresh_ratio=0.5, best_image_ratio=0.5)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=80))
def test_every_stretch_of_the_mixed_order_has_each_kind_in_its_share(kinds: list[str]) -> None:
    order = mixed_order(kinds)
    assert sorted(order) == list(range(len(kinds)))
    for kind, total in Counter(kinds).items():
        own = [index for index in order if kinds[index] == kind]
        assert own == sorted(own)
        for end in range(len(order) + 1):
            seen = sum(kinds[index] == kind for index in order[:end])
            assert abs(seen - end * total / len(kinds)) < 2


def painted(round: int, index: int) -> Image.Image:
    """The picture's own pattern; of round 1, pictures 0 and 4 repeat picture 2 of round 0."""
    own = 2 if round == 1 and index in (0, 4) else 100 * round + index
    cells = np.random.default_rng(own).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def first_round(folder: Path) -> None:
    with open_journal(folder) as book:
        book.add_round(0)
        marks = [Mark(i, "good" if i < 4 else "bad") for i in range(BATCH)]
        book.mark(0, [*marks, Mark(2, "best")], source="person", submit=True)


async def second_round(engine: FakeEngine) -> None:
    engine.images(0, range(BATCH))
    engine.finish_round(0, 4)
    engine.phase(1, "sampling")
    engine.images(1, range(BATCH))
    engine.phase(1, "labelling")


async def test_a_page_mixes_them_and_a_key_marks_the_picture_above_it(tmp_path: Path) -> None:
    first_round(tmp_path)
    async with labelling(tmp_path, batch=BATCH, noise=NOISE, picture=painted) as (
        app,
        engine,
        pilot,
    ):
        engine.open(1)
        await second_round(engine)
        await pilot.pause()
        await app.uploads.idle()
        while not app.labelling_round.near_copies:
            await pilot.pause(0.01)
        shown = app.labelling.images
        assert 3 <= sum(image < 8 for image in shown[:8]) <= 5
        tags = {image: app.labelling_round.tag_of(image) for image in range(BATCH)}
        assert {image for image, tag in tags.items() if tag is NoiseTag.COPY} == {0, 4}
        assert {image for image, tag in tags.items() if tag is NoiseTag.NONE} == set(range(8, 16))
        assert LEGENDS[NoiseTag.FRESH] in app.labelling.message
        texts = [caption.text for caption in app.screen.query(Caption)][: len(shown)]
        for image, text in zip(shown, texts, strict=True):
            assert [sign for sign in "~≈" if sign in text] == list(tags[image].sign)
        assert [caption.last for caption in app.screen.query(Caption)][:2] == [True, False]
        key = app.labelling.page_keys()[3]
        await pilot.press(key)
        assert label_styles(app)[3] is LabelStyle.GOOD
        assert [i for i, each in enumerate(app.screen.query(Caption)) if each.last] == [3]
        assert journalled(tmp_path, round=1, batch=BATCH).goods == (shown[3],)


@pytest.mark.parametrize(("finished", "fresh"), [(True, 8), (False, 16)])
def test_a_round_drawn_ahead_has_the_noises_of_the_round_before(
    tmp_path: Path, finished: bool, fresh: int
) -> None:
    """Round 2 is drawn while round 1 is labelled: nothing is known of good pictures then."""
    first_round(tmp_path)
    engine = FakeEngine(tmp_path, BATCH)
    if finished:
        engine.finish_round(0, 4)
    with open_journal(tmp_path) as book:
        origins = EarlierRounds(book, BATCH).origins(1, NOISE)
    assert sum(origin == "fresh" for origin in origins) == fresh


def alike(best: Thumbnail, correlation: float, seed: int) -> Thumbnail:
    """A thumbnail with this correlation to the best."""
    other = np.random.default_rng(seed).normal(size=best.size)
    other -= other.mean()
    other -= (other @ best) * best
    other /= np.linalg.norm(other)
    return correlation * best + float(np.sqrt(1 - correlation**2)) * other


@given(st.floats(-0.5, 0.99), st.floats(-0.5, 0.99), st.integers(0, 99))
def test_a_copy_is_guided_and_more_alike_than_the_first_pictures_are_by_chance(
    own: float, chance: float, seed: int
) -> None:
    best = alike(np.zeros(768), 0.0, 1000)
    first = [alike(best, chance, each) for each in range(20)]
    pictures = dict.fromkeys((0, 1), alike(best, own, seed))
    found = near_copies(best, pictures, ("best", "fresh"), first)
    if own < max(ALIKE, chance) - 1e-6:
        assert not found
    elif own > max(ALIKE, chance) + 1e-6:
        assert found == {0}


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=64))
def test_the_commonest_kind_has_no_tag_and_the_legend_names_the_others(
    kinds: list[NoiseTag],
) -> None:
    usual = commonest(kinds)
    assert kinds.count(usual) == max(map(kinds.count, KINDS))
    assert usual is NoiseTag.FRESH or kinds.count(usual) > kinds.count(NoiseTag.FRESH)
    for kind in {*KINDS} - {usual}:
        assert f"{kind.sign} " in LEGENDS[usual]
    assert f"{usual.sign} " not in LEGENDS[usual]


@pytest.mark.parametrize("width", [8, 9, 10, 14, 20])
@pytest.mark.parametrize("style", [each for each in LabelStyle if each != LabelStyle.PENDING])
def test_every_width_of_a_caption_has_its_key_its_mark_and_its_tag(
    width: int, style: LabelStyle
) -> None:
    texts = {}
    for tag in (NoiseTag.NONE, *KINDS):
        caption = SizedCaption(width)
        caption.show("q", style, tag, prompt="日本")
        texts[tag] = caption.text
        assert cell_len(caption.text) == width
        assert "q" in caption.text and style.value[1] in caption.text
        assert tag.sign in caption.text
    assert len({*texts.values()}) == len(texts)


class SizedCaption(Caption):
    """A caption without an app."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._cells = width

    @property
    def size(self) -> Size:
        return Size(self._cells, 1)

    def repaint(self) -> None:
        """Nothing is on a screen."""
