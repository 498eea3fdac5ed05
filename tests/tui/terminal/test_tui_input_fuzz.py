"""The real app under a flood of terminal input: labels are what a person typed, and nothing else.

Eight seconds of it; an hour: FUZZ_SECONDS=3600 pytest -n 0 tests/tui/terminal -k input_fuzz
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import play_terminal
import pytest
from fake_terminal import FakeTerminal

from hero_engine.core.labels import Labels, Mark, RoundMarks

SECONDS = float(os.environ.get("FUZZ_SECONDS", "8"))
FREEZE = 60.0
"""Seconds in which a key has to be answered; a busy machine may take many."""
AFTER_PASTE = 10.0
"""Seconds after which a person presses a key again that followed a paste, and was taken for it."""
BATCH = 16
LETTERS = "qwertyasdfghzxcv"
"""The tiles' letters, in the order of the pictures: rows of six."""
PASTE = "\x1b[200~"
NOISES_PER_KEY = 12
UNDO = "\x1a"

PRINTABLE = "".join(map(chr, range(32, 127)))
SAID = (
    "\x1b[?62;1;2;4;6;22c",
    "\x1b[>41;390;0c",
    "\x1b[?2026;2$y",
    "\x1b[6;16;8t",
    "\x1b[4;640;800t",
    "\x1b[?997;1n",
    "\x1b_Gi=31;OK\x1b\\",
    "\x1b_Gi=7,p=3;ENOENT:No such image\x1b\\",
    "\x1bP>|XTerm(390)\x1b\\",
    "\x1bP1+r544e=787465726d\x1b\\",
    "\x1b]11;rgb:1c1c/1c1c/1c1c\x07",
    "\x1b]52;c;cXdlcnQ=\x1b\\",
    "\x1b[I",
    "\x1b[O",
)
"""What terminals say on their own or in answer to a question, whose time is anybody's guess."""


@dataclass
class PersonModel:
    """What a person's keys make of the labels, in plain words: sets, and a list of what was."""

    goods: set[int] = field(default_factory=set)
    best: int | None = None
    before: list[tuple[frozenset[int], int | None]] = field(default_factory=list)

    def press(self, key: str) -> None:
        """A tile's letter, Shift with it, or undo."""
        if key == UNDO:
            if self.before:
                goods, self.best = self.before.pop()
                self.goods = set(goods)
            return
        self.before.append((frozenset(self.goods), self.best))
        image = LETTERS.index(key.lower())
        if key.isupper():
            self.best = None if self.best == image else image
            self.goods.add(image)
        elif image in self.goods:
            self.goods.remove(image)
            self.best = None if self.best == image else self.best
        else:
            self.goods.add(image)

    def labels(self) -> Labels:
        """As the engine would read them."""
        return Labels(
            good=tuple(True if image in self.goods else None for image in range(BATCH)),
            bests=() if self.best is None else (self.best,),
        )


class Flood(FakeTerminal):
    """A terminal whose answers wait for the end of what it is saying, as every terminal's do."""

    def __init__(self) -> None:
        super().__init__("xterm", 120, 40)
        self._talking, self._answers = False, ""

    def say(self, text: str, draws: random.Random) -> None:
        """Send it in pieces."""
        self._talking = True
        for piece in pieces(text, draws):
            self.type(piece)
            self.listen(draws.choice((0, 0, 0, 0.002)))
        self._talking = False
        self.type(self._answers)
        self._answers = ""

    def answer(self, text: str) -> None:
        if self._talking:
            self._answers += text
        else:
            super().answer(text)


def noise(draws: random.Random) -> str:
    """Something that no person typed: a reply, a move of the mouse, a paste, a string."""
    text = "".join(draws.choices(PRINTABLE, k=draws.randrange(1, 60)))
    kind = draws.randrange(6)
    if kind == 0:
        return f"\x1b[<35;{draws.randrange(1, 100)};{draws.randrange(1, 40)}M"
    if kind == 1:
        return f"{PASTE}{text}\x1b[201~"
    if kind == 2:
        return draws.choice(("\x1b]8;", "\x1bP>|", "\x1b_Gi=1;")) + f"{text}\x1b\\"
    if kind == 3:
        return f"\x1b[?{draws.randrange(3000)};{draws.randrange(9)}$y"
    return draws.choice(SAID)


def pieces(text: str, draws: random.Random) -> Iterator[str]:
    """The text, or parts of it as slow lines deliver it."""
    while text:
        size = draws.choice((len(text), draws.randrange(1, 9)))
        yield text[:size]
        text = text[size:]


def labels_in(database: sqlite3.Connection) -> Labels:
    """The first round's labels, read without hero's own journal."""
    rows = database.execute("SELECT image, value FROM marks WHERE round = 0 ORDER BY id")
    return RoundMarks.replayed(BATCH, (Mark(*row) for row in rows)).labels()


@pytest.mark.timeout(SECONDS * 3 + 240)
def test_input_fuzz(tmp_path: Path) -> None:
    draws, person, sent = random.Random(int(SECONDS)), PersonModel(), 0
    terminal = Flood()
    options = f"--batch {BATCH} --rounds 1 --pace 0 --graphics symbols".split()
    try:
        terminal.run(Path(play_terminal.__file__), str(tmp_path), *options)
        terminal.pump(lambda: terminal.shows("your turn"), FREEZE)
        with closing(sqlite3.connect(tmp_path / "journal.db", timeout=FREEZE)) as database:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                said = [noise(draws) for _ in range(draws.randrange(NOISES_PER_KEY))]
                for each in said:
                    terminal.say(each, draws)
                    sent += len(each)
                pasted = any(each.startswith(PASTE) for each in said)
                rest(terminal, 0.4 if pasted else 0.06)
                assert labels_in(database) == person.labels(), f"nobody typed that: {said}"
                key = draws.choice((*LETTERS, *LETTERS.upper(), UNDO))
                press(terminal, person, key, database, after_paste=pasted)
        print(f"{sent:,} bytes, {len(person.before)} marks")
        terminal.type("\x11")
        terminal.pump(terminal.ended, FREEZE)
        assert terminal.process is not None and terminal.process.returncode == 75
        log = tmp_path / "hero.log"
        assert not log.exists() or "Traceback" not in log.read_text("utf-8", errors="replace")
    finally:
        terminal.close()


def press(
    terminal: FakeTerminal,
    person: PersonModel,
    key: str,
    database: sqlite3.Connection,
    *,
    after_paste: bool,
) -> None:
    """Press a key; soon the journal has the person's labels."""
    terminal.type(key)
    person.press(key)
    began = time.monotonic()
    while labels_in(database) != person.labels():
        waited = time.monotonic() - began
        assert waited < FREEZE, f"no answer to {key!r}: {labels_in(database)}"
        assert not terminal.ended()
        terminal.listen(0.005)
        if after_paste and waited > AFTER_PASTE:
            terminal.type(key)
            after_paste = False


def rest(terminal: FakeTerminal, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        terminal.listen(0.01)
