"""What hero makes of tmux's account of its terminals, told here second by second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from hero_tui.graphics import tmux

PAGE = 46_000
"""Bytes of a page of pictures."""
KITTY, XTERM = "kitty(0.35.2)", "XTerm(379)"


@dataclass
class Second:
    """What tmux and hero tell a second after the one before; clients: name, (written, dropped)."""

    sent: int
    clients: dict[str, tuple[int, int]]
    seen: bool = True

    def answer(self) -> str:
        lines = [
            f"{name} 17|{XTERM if name == 'x' else KITTY}|{written}|{dropped}"
            for name, (written, dropped) in self.clients.items()
        ]
        return "\n".join([f"{int(self.seen)}|0|0|1", *lines])


class Told:
    """Plays the seconds and keeps the calls of each."""

    def __init__(self, seconds: Iterable[Second | None]) -> None:
        self._seconds = iter(seconds)
        self.bytes_sent, self.calls = 0, [list[str]()]

    def called(self, call: str) -> None:
        self.calls[-1].append(call)

    def tmux(self, *question: str) -> str | None:
        self.calls.append([])
        now = next(self._seconds, "over")
        if now == "over":
            raise asyncio.CancelledError
        if now is None:
            return None
        assert isinstance(now, Second)
        self.bytes_sent = now.sent
        return now.answer()


def calls(monkeypatch: pytest.MonkeyPatch, *seconds: Second | None) -> list[list[str]]:
    """What is called in each second, of which the first is the start."""
    told = Told(seconds)
    monkeypatch.setattr(tmux, "_tmux", told.tmux)
    watching = tmux.watch_tmux(
        {"TMUX_PANE": "%0"},
        told,
        attached=told.called,
        shown=lambda: told.called("shown"),
        lost=lambda times: told.called(f"lost {times}"),
        poll=0,
    )
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watching)
    return told.calls[1:-1]


def test_pictures_that_arrive_are_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, there = {"a": (1_000, 0)}, {"a": (1_000 + PAGE, 0)}
    seconds = Second(0, first), Second(PAGE, first), *[Second(PAGE, there)] * 4
    assert calls(monkeypatch, *seconds) == [[]] * 6


@pytest.mark.parametrize(
    "after", [(1_100, 0), (1_100 + PAGE // 2, 0), (1_000 + PAGE, 30_000)], ids=str
)
def test_pictures_that_tmux_dropped_are_sent_again(
    monkeypatch: pytest.MonkeyPatch, after: tuple[int, int]
) -> None:
    first = Second(0, {"a": (1_000, 0)})
    sent = Second(PAGE, {"a": after})
    again = Second(2 * PAGE, {"a": (after[0] + PAGE, after[1])})
    got = calls(monkeypatch, first, sent, sent, sent, again, again, again)
    assert [call for call in got if call] == [["lost 1"]]


def test_losses_in_a_row_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Second(page * PAGE, {"a": (1_000, 0)}) for page in (0, 1, 1, 2, 2, 3, 3)]
    got = calls(monkeypatch, *pages)
    assert [call for call in got if call] == [["lost 1"], ["lost 2"], ["lost 3"]]


def test_a_terminal_that_is_drawn_anew_is_sent_nothing_until_it_is_calm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = (90_000, 0)
    seconds = [{}, {"b": (500, 0)}, {"b": (30_000, 0)}, {"b": (60_000, 0)}, {"b": (60_100, 0)}]
    told = [Second(PAGE, {"a": old} | clients) for clients in seconds]
    assert calls(monkeypatch, *told) == [[], ["shown"], [], [], [KITTY]]


def test_a_pane_that_writes_all_the_time_does_not_keep_pictures_from_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = [Second(PAGE, {"b": (second * 20_000, 0)}) for second in range(1, 7)]
    got = calls(monkeypatch, Second(PAGE, {}), *told)
    assert [call for call in got if call] == [["shown"], [KITTY]]


def test_a_terminal_that_got_nothing_when_attached_is_sent_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = [PAGE, PAGE, PAGE, 2 * PAGE, 2 * PAGE, 3 * PAGE, 3 * PAGE, 3 * PAGE]
    written = [None, 30_000, 30_000, 30_100, 30_200, 30_200 + PAGE, 30_200 + PAGE, 30_200 + PAGE]
    told = [
        Second(bytes_, {} if there is None else {"x": (there, 0)})
        for bytes_, there in zip(sent, written, strict=True)
    ]
    assert calls(monkeypatch, *told) == [[], ["shown"], [XTERM], [], ["lost 1"], [], [], []]


def test_pictures_sent_while_another_window_is_seen_are_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other window's own output says nothing about them."""
    hidden = Second(PAGE, {"a": (5_000 + 3 * PAGE, 0)}, seen=False)
    back = Second(PAGE, {"a": (9_000 + 3 * PAGE, 0)})
    got = calls(monkeypatch, Second(0, {"a": (1_000, 0)}), hidden, hidden, back, back, back)
    assert got == [[], [], [], ["lost 1", "shown"], [], []]


def test_a_tmux_that_does_not_answer_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Second(PAGE, {"a": (90_000, 0)})
    assert calls(monkeypatch, there, there, None, None, there, there) == [[]] * 6
    assert calls(monkeypatch, None, None) == [[]] * 2


def test_a_tmux_that_does_not_count_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Second(page * PAGE, {"a": (0, 0)}) for page in (0, 1, 1, 2, 2)]
    assert calls(monkeypatch, *pages) == [[]] * 5
