"""Which pictures are on the screen and which one is meant, whatever the size and the keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hero_tui.graphics.grid_geometry import Grid
from hero_tui.graphics.painter import Box
from hero_tui.session.pages import Pages
from hero_tui.session.pairwise_best import Tournament

grids = st.builds(Grid, st.integers(1, 10), st.integers(1, 4), st.just(Box(8, 4)))
moves = st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 1)), max_size=40)


@given(grids, st.integers(1, 200), moves)
def test_the_cursor_is_always_on_its_page(
    grid: Grid, count: int, moved: list[tuple[int, int]]
) -> None:
    pages = Pages(grid, range(count))
    for columns, rows in moved:
        pages.move(columns, rows)
        assert pages.here in pages.images
        assert pages.at(pages.images.index(pages.here)) == pages.here


@given(grids, st.integers(1, 200))
def test_arrows_reach_every_picture(grid: Grid, count: int) -> None:
    pages, by_right = Pages(grid, range(count)), {0}
    for _ in range(count):
        pages.move(1, 0)
        by_right.add(pages.here)
    assert by_right == set(range(count))
    pages, rows = Pages(grid, range(count)), set[int]()
    for _ in range(count):
        rows.add(pages.here // grid.columns)
        pages.move(0, 1)
    assert rows == set(range((count - 1) // grid.columns + 1))


@given(grids, st.integers(1, 200), st.integers(0, 199), st.integers(-5, 5))
def test_turning_goes_around_and_places_name_the_pictures_shown(
    grid: Grid, count: int, here: int, step: int
) -> None:
    pages = Pages(grid, range(count), here)
    page = pages.page
    pages.turn_to(page + step)
    assert pages.page == (page + step) % pages.pages
    shown = [pages.at(place) for place in range(grid.tiles)]
    assert [image for image in shown if image is not None] == list(pages.images)


@given(grids, grids, st.integers(1, 200), st.integers(0, 199))
def test_another_grid_keeps_the_current_picture_on_the_page(
    first: Grid, second: Grid, count: int, here: int
) -> None:
    current = Pages(first, range(count), here).here
    assert current in Pages(second, range(count), current).images


@given(
    st.lists(st.integers(0, 99), min_size=2, max_size=12, unique=True),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.booleans(),
)
def test_k_candidates_need_k_minus_1_decisions(
    candidates: list[int], better: list[bool], named: bool
) -> None:
    best = candidates[-1] if named else None
    tournament, met = Tournament(candidates, best), set[int]()
    for decision in better[: len(candidates) - 1]:
        assert tournament.challenger is not None
        met |= {tournament.best, tournament.challenger}
        before = tournament.best, tournament.challenger
        tournament.decide(replace=decision)
        assert tournament.best == before[decision]
    assert tournament.challenger is None
    assert met == set(candidates)
    for _ in range(len(candidates) - 1):
        assert tournament.back()
    assert not tournament.back()
    assert tournament.best == (candidates[0] if best is None else best)
