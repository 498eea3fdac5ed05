"""What a terminal says on its own never reaches the app as keys, however it is cut and timed."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from itertools import cycle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from textual import events
from textual._xterm_parser import XTermParser

from hero_tui.terminal.input_bytes import ESCAPE_DELAY, LATE_DELAY, PATIENCE
from hero_tui.terminal.input_filter import InputFilter
from hero_tui.terminal.key_sequences import is_key, simple_key

REPLIES = [
    b"\x1b_Gi=31;OK\x1b\\",
    b"\x1b_Gi=31;EINVAL:unknown action\x1b\\",
    b"\x1bP>|kitty(0.35.2)\x1b\\",
    b"\x1bP>|XTerm(390)\x1b\\",
    b"\x1bP>|tmux 3.5a\x1b\\",
    b"\x1bP1+r544e=787465726d\x1b\\",
    b"\x1bP1$r0 q\x1b\\",
    b"\x1bP!|00000000\x1b\\",
    b"\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\",
    b"\x1b]10;rgb:cdcd/d6d6/f4f4\x07",
    b"\x1b]4;1;rgb:ffff/0000/0000\x1b\\",
    b"\x1b]52;c;cXdlcnR5\x1b\\",
    "\x1b]lÜber qwerty\x1b\\".encode(),
    b"\x1b]Lqwe\x1b\\",
    b"\x1b]99;i=1;qwe\x1b\\",
    b"\x1b[?62;c",
    b"\x1b[?64;1;2;4;6;22c",
    b"\x1b[>41;390;0c",
    b"\x1b[=1;2c",
    b"\x1b[?2026;2$y",
    b"\x1b[?2048;0$y",
    b"\x1b[?1016;2$y",
    b"\x1b[4;2$y",
    b"\x1b[6;16;8t",
    b"\x1b[4;640;960t",
    b"\x1b[8;40;120t",
    b"\x1b[1t",
    b"\x1b[?2;0;1000;1000S",
    b"\x1b[?1;0;256S",
    b"\x1b[?25u",
    b"\x1b[?0u",
    b"\x1b[0n",
    b"\x1b[?997;1n",
    b"\x1b[113;5R",
    b"\x1b[?12;4R",
    b"\x1b[2;1;1;128;128;1;0x",
    b"\x1b[?1;2;4c",
    b"\x1b[48;40;120;640;960t",
    b"\x1b[I",
    b"\x1b[O",
    b"\x1b[<35;42;13M",
    b"\x1b[<64;200;3M",
    b"\x1b[35;42;13M",
    b"\x1b[MCqw",
    b"\x1b[M\xff\xe9\x9b",
    b"\x9b?62;4c",
    b"\x90>|XTerm(390)\x9c",
    "\x9b?62;4c".encode(),
    "\x9d11;rgb:1e1e/1e1e/2e2e\x9c".encode(),
]
"""Answers and reports of kitty, xterm, foot, WezTerm, Konsole, tmux, PuTTY and iTerm2."""

C1 = set(map(chr, range(0x80, 0xA0)))
KEYS = ["q", "W", "1", "м", "é", "\r", "\x1a", "\t", " "]
SEQUENCES = {
    "\x1b[D": "left",
    "\x1bOP": "f1",
    "\x1b[15~": "f5",
    "\x1b[1;5C": "ctrl+right",
    "\x1b[113;;113u": "q",
    "\x1b[113;5u": "ctrl+q",
    "\x1b[[A": "f1",
    "\x1b[24$": "f24",
    "\x1bq": "alt+q",
}


class App:
    """The filter and Textual's parser, with a clock."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.filter = InputFilter(self.replies.append)
        self.parser = XTermParser()
        self.decode = getincrementaldecoder("utf-8")("replace").decode
        self.now = 100.0
        self.events: list[object] = []

    def read(self, data: bytes) -> None:
        self._take(self.filter.feed(data, self.now))

    def wait(self, seconds: float) -> None:
        """Time passes as in the driver, which looks every 50 ms."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.05)
            self._take(self.filter.tick(self.now))

    def _take(self, data: bytes) -> None:
        if text := self.decode(data):
            self.events += self.parser.feed(text)

    @property
    def keys(self) -> list[str]:
        return [event.key for event in self.events if isinstance(event, events.Key)]

    @property
    def characters(self) -> list[str | None]:
        return [event.character for event in self.events if isinstance(event, events.Key)]


def names(keys: Iterable[str]) -> list[str]:
    """What Textual calls these keys where no terminal says anything."""
    app = App()
    for key in keys:
        app.read(key.encode())
        app.wait(0.3)
    return app.keys


def cut(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    """The data in pieces of these sizes."""
    while data:
        size = next(sizes)
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("gap", [0.0, 0.06, 0.15, 0.7, PATIENCE - 1])
def test_a_reply_cut_anywhere_is_not_a_key(reply: bytes, gap: float) -> None:
    for at in range(1, len(reply)):
        app = App()
        app.read(reply[:at])
        app.wait(gap)
        app.read(reply[at:])
        app.wait(0.3)
        assert [key for key in app.keys if key != "escape"] == [], at
        app.read(b"q")
        assert app.keys[-1:] == ["q"]


@pytest.mark.parametrize("reply", [r for r in REPLIES if r[:2] in (b"\x1b_", b"\x1bP", b"\x1b]")])
def test_a_reply_inside_another_breaks_neither(reply: bytes) -> None:
    for at in range(3, len(reply) - 2):
        app = App()
        for piece in (reply[:at], b"\x1b[?2026;2$y", reply[at:]):
            app.read(piece)
            app.wait(0.15)
        assert app.keys == [], at
        assert sorted(app.replies) == sorted([b"\x1b[?2026;2$y", reply]), at
        app.read(b"q")
        assert app.keys == ["q"]


@pytest.mark.parametrize("reply", [r for r in REPLIES if r[-2:] == b"\x1b\\" or r[-1] == 7])
def test_the_end_of_a_long_delayed_string_is_not_a_key(reply: bytes) -> None:
    for at in range(2, len(reply) - 2):
        app = App()
        app.read(reply[:at])
        app.wait(10 * PATIENCE)
        app.read(reply[at:])
        assert app.keys == [], at


text = st.text(
    st.characters(min_codepoint=0x20, exclude_characters="\x7f", codec="utf-8"), max_size=9
)
strings = st.builds(
    lambda start, body, end: (start + body + end).encode(),
    st.sampled_from(["\x1bP>|", "\x1bP1$r", "\x1bP0+r", "\x1bP!|", "\x1b]4;", "\x1b]L", "\x1b_G"]),
    text.filter(lambda body: not C1 & set(body)),
    st.just("\x1b\\"),
)
controls = st.from_regex(rb"\x1b\[[?>=][0-9:;]{0,9}[ -/]?[@-~]", fullmatch=True)
replies = st.one_of(st.sampled_from(REPLIES), strings, controls.filter(lambda one: not is_key(one)))

pieces = st.one_of(
    replies.map(lambda reply: (reply, False)),
    st.sampled_from([*KEYS, *SEQUENCES]).map(lambda key: (key.encode(), True)),
)


SHORT = st.sampled_from([0.0, 0.01, 0.06, 0.09, 0.15, 0.4])
LONG = st.sampled_from([0.0, 0.06, 0.15, 0.6, 2.0, 9.0])
timings = st.one_of(
    st.tuples(st.just([1]), st.lists(SHORT, min_size=1)),
    st.tuples(st.lists(st.integers(2, 40), min_size=1), st.lists(LONG, min_size=1)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=12), timings)
@example([(b"\x1bP>|qwe\x1b\\", False)], ([1], [0.15]))
@example([(b"\x1b_qwe\x1b\\", False)], ([3], [0.15]))
def test_only_what_a_person_typed_becomes_keys(
    said: list[tuple[bytes, bool]], timing: tuple[list[int], list[float]]
) -> None:
    """Replies are read byte by byte with pauses of up to 0.4 s, or in larger pieces with any pause.

    A person's key arrives whole, before or after other things, after a pause, as a person types.
    """
    app, typed = App(), []
    size, gap = (cycle(each) for each in timing)
    for data, by_person in said:
        if by_person:
            app.wait(0.3)
            app.read(data)
            app.wait(0.3)
            typed.append(data.decode())
        else:
            for piece in cut(data, size):
                app.read(piece)
                app.wait(next(gap))
    assert [key for key in app.keys if key != "escape"] == names(typed)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(REPLIES), st.binary(max_size=12)), max_size=8))
def test_no_bytes_stop_the_filter_or_the_parser(said: list[bytes]) -> None:
    """Afterwards, at the latest after the patience and one key, keys are keys again."""
    app = App()
    for data in said:
        app.read(data)
        app.wait(0.05)
    app.wait(2 * PATIENCE)
    app.read(b"\x1b[201~")
    app.wait(2 * PATIENCE)
    app.read(b"q")
    app.wait(0.3)
    app.read(b"q")
    assert app.keys[-1:] == ["q"]


@pytest.mark.parametrize("reply", REPLIES)
def test_replies_are_delivered_whole_and_once(reply: bytes) -> None:
    handed_on = reply.startswith((b"\x1b[I", b"\x1b[O", b"\x1b[48;", b"\x1b[<"))
    app = App()
    for byte in reply:
        app.read(bytes([byte]))
        app.wait(0.06)
    assert len(app.replies) == int(not handed_on)
    if reply.startswith(b"\x1b") and not handed_on:
        assert app.replies == [reply]


@pytest.mark.parametrize(("sequence", "key"), SEQUENCES.items())
@pytest.mark.parametrize("gap", [0.0, 0.15])
def test_keys_that_are_sequences_arrive_whole_however_they_are_cut(
    sequence: str, key: str, gap: float
) -> None:
    for at in range(1, len(sequence)):
        app = App()
        app.read(sequence[:at].encode())
        app.wait(gap)
        app.read(sequence[at:].encode())
        late_alt = sequence == "\x1bq" and gap
        assert app.keys[-1] == ("q" if late_alt else key), at


def test_escape_is_a_key_after_a_moment_and_at_once_before_another() -> None:
    app = App()
    app.read(b"\x1b")
    app.wait(ESCAPE_DELAY / 2)
    assert app.keys == []
    app.wait(ESCAPE_DELAY)
    assert app.keys == ["escape"]
    app.read(b"\x1b\x1b\x11")
    assert app.keys == ["escape", "escape", "escape", "ctrl+q"]


@pytest.mark.parametrize("letter", ["O", "P"])
def test_a_letter_soon_after_escape_is_a_key_unless_a_sequence_follows(letter: str) -> None:
    """A terminal's reply and a person both may send an escape byte and then `P`."""
    app = App()
    app.read(b"\x1b")
    app.wait(0.3)
    app.read(letter.encode())
    app.wait(LATE_DELAY - 0.1)
    assert app.keys == ["escape"]
    app.wait(0.2)
    app.read(b"q")
    assert app.characters[1:] == [letter, "q"]


def test_with_kittys_keys_an_escape_byte_waits_for_its_sequence() -> None:
    app = App()
    app.filter.kitty_keys = True
    app.read(b"\x1b")
    app.wait(3)
    app.read(b"[D")
    app.read(b"\x1b[27u")
    assert app.keys == ["left", "escape"]


@pytest.mark.parametrize("end", [b"\x11", b"\x03"])
def test_ctrl_c_works_inside_a_reply_that_never_ends(end: bytes) -> None:
    app = App()
    app.read(b"\x1b]11;rgb:1e1e")
    app.read(b"qwe")
    app.read(end)
    assert len(app.keys) == 1 and app.keys[0].startswith("ctrl+")
    app.read(b"q")
    assert app.keys[-1] == "q"


def test_a_paste_is_one_paste_and_its_escapes_are_no_sequences() -> None:
    app = App()
    for byte in b"\x1b[200~q\r\x1b[Dw\x1bP>|x\x1b\\\x1b[201~":
        app.read(bytes([byte]))
        app.wait(0.01)
    (paste,) = app.events
    assert isinstance(paste, events.Paste)
    assert paste.text == "q\r[DwP>|x\\"


def test_code_points_that_do_not_exist_are_dropped() -> None:
    app = App()
    for sequence in (b"\x1b[9999999u", b"\x1b[55296u", b"\x1b[97;;9999999u", b"\x1b[999~"):
        app.read(sequence)
    assert app.keys == []


@pytest.mark.parametrize(
    ("sequence", "key", "text"),
    [
        (b"\x1b[1081::113;;1081u", "q", "q"),
        (b"\x1b[1081:1049:113;2;1049u", "Q", "Q"),
        (b"\x1b[1081::113;65;1049u", "q", "q"),
        (b"\x1b[113;65;81u", "q", "q"),
        (b"\x1b[113;66;113u", "Q", "Q"),
        (b"\x1b[113:81:113;66;113u", "Q", "Q"),
        (b"\x1b[233;65;201u", "é", "é"),
        (b"\x1b[49;65;49u", "1", "1"),
        (b"\x1b[122;69u", "ctrl+z", None),
        (b"\x1b[1103::122;5u", "ctrl+z", None),
        (b"\x1b[1073::44;;1073u", "comma", ","),
        (b"\x1b[945::97;;945u", "a", "a"),
        (b"\x1b[97::113;;97u", "a", "a"),
        (b"\x1b[233::50;;233u", "é", "é"),
        (b"\x1b[113;;113u", "q", "q"),
    ],
)
def test_keys_are_used_by_position_and_without_caps_lock(
    sequence: bytes, key: str, text: str | None
) -> None:
    """An AZERTY keyboard keeps its letters: only those that are not Latin change."""
    parser = XTermParser()
    (event,) = parser.feed(simple_key(sequence, by_position=True).decode())
    assert isinstance(event, events.Key)
    assert (event.key, event.character) == (key, text)


@pytest.mark.parametrize(
    ("sequence", "key"),
    [
        (b"\x1b[1081;5u", "ctrl+q"),
        (b"\x1b[1089;5u", "ctrl+c"),
        (b"\x1b[1110;69u", "ctrl+s"),
        (b"\x1b[968;5u", "ctrl+c"),
        (b"\x1b[968::99;133u", "ctrl+c"),
        (b"\x1b[59::113;5u", "ctrl+q"),
        (b"\x1b[59::112;5u", "ctrl+p"),
        (b"\x1b[113::97;5u", "ctrl+q"),
        (b"\x1b[1488;5u", "ctrl+א"),
    ],
)
def test_a_shortcut_is_its_us_key_on_cyrillic_and_greek_keyboards(
    sequence: bytes, key: str
) -> None:
    """Also where text is typed, and where the terminal does not tell positions. AZERTY keeps Q."""
    parser = XTermParser()
    (event,) = parser.feed(simple_key(sequence, by_position=False).decode())
    assert isinstance(event, events.Key) and event.key == key


def test_punctuation_of_a_keyboard_with_other_letters_is_used_by_position() -> None:
    """A Greek keyboard types ; with Q, a Russian one ? with Shift and 7, until Latin is typed."""
    app = App()
    app.read(b"\x1b[59::113;;59u")
    app.read(b"\x1b[945::97;;945u" + b"\x1b[59::113;;59u" + b"\x1b[55;2;63u" + b"\x1b[32;;32u")
    app.read(b"\x1b[101;;101u" + b"\x1b[59::113;;59u" + b"\x1b[55;2;63u")
    assert app.characters == [*";aq& e;?"]


def test_a_field_for_text_gets_the_letter_that_was_typed() -> None:
    parser = XTermParser()
    (event,) = parser.feed(simple_key(b"\x1b[1081::113;;1081u", by_position=False).decode())
    assert isinstance(event, events.Key) and event.character == "й"
