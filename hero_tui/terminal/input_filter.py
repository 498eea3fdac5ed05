"""Separates what a person typed from what the terminal says on its own.

A terminal answers questions, reports modes and moves of the mouse on the same line as keys. An
answer that comes late, or in two reads, would reach the app as letters, and letters are labels.
`InputFilter` keeps its place in a sequence across reads and hands on only complete sequences that
are known to be keys, mouse reports, pastes, focus changes and sizes. Everything else is a reply.

The states are those of https://vt100.net/emu/dec_ansi_parser, with UTF-8 in place of C1 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hero_tui.terminal.input_bytes import (
    ANY_START,
    BELL,
    C1,
    CANCEL,
    CSI_REST,
    ENTER,
    ESC,
    ESCAPE_DELAY,
    ESCAPE_KEY,
    FIRST_FINAL,
    FIRST_OF_C1,
    FOCUS,
    INTRODUCERS,
    LAST_FINAL,
    LATE_DELAY,
    LATE_KEYS,
    LEAVE,
    LONGEST,
    PASTE_END,
    PASTE_START,
    PATIENCE,
    STRING_REST,
    STRING_STARTS,
    STRING_TERMINATOR,
    STRINGS,
    X10_MOUSE_BYTES,
    State,
    continuation_bytes,
)
from hero_tui.terminal.key_sequences import (
    alt_key,
    is_key,
    is_mode_report,
    is_resize,
    is_sgr_mouse,
    simple_key,
    typed_in_another_script,
)


class InputFilter:
    """Bytes of a terminal in, bytes of a person out.

    replied: called with every complete reply, its introducer included.
    kitty_keys: whether the terminal sends keys by kitty's protocol, in which a lone escape byte is
    always the beginning of a sequence.
    by_position: whether a letter that is not Latin stands for the US key in its place.
    """

    def __init__(self, replied: Callable[[bytes], object] = lambda reply: None) -> None:
        self.replied = replied
        self.kitty_keys = False
        self.by_position: Callable[[], bool] = lambda: True
        self._state = State.GROUND
        self._held = bytearray()
        self._string = ""
        self._missing = 0
        self._out = bytearray()
        self._heard_at = 0.0
        self._escaped_at = -math.inf
        self._late = False
        self._other_script = False
        self._began_string = False
        self._ahead = b""
        self._broken: tuple[State, bytes, int] | None = None

    @property
    def waiting(self) -> bool:
        """Whether the filter holds an incomplete sequence."""
        return self._state is not State.GROUND

    def feed(self, data: bytes, now: float) -> bytes:
        """Take in what was read at `now` (seconds); return what the app receives."""
        if not data:
            return self.tick(now)
        if self._state is State.GROUND:
            self._return_to_sequence(data, now)
        elif self.waiting and now - self._heard_at > PATIENCE and self._looks_like_a_key(data):
            self._give_up()
        self._heard_at = now
        self._began_string = False
        for at, byte in enumerate(data):
            self._ahead = data[at + 1 :] if self._state is State.STRING_START else b""
            self._step(byte)
        return self._taken()

    def tick(self, now: float) -> bytes:
        """Time has passed without input: a lone escape byte becomes the Escape key."""
        waited = now - self._heard_at
        delay = PATIENCE if self.kitty_keys else ESCAPE_DELAY
        if self._state is State.ESCAPE and waited >= delay:
            self._out += ESCAPE_KEY
            self._escaped_at = now
            self._rest()
        elif self._late and self._held in LATE_KEYS and waited >= LATE_DELAY:
            self._out += self._held[1:]
            self._rest()
        return self._taken()

    def _return_to_sequence(self, data: bytes, now: float) -> None:
        """Go back to a sequence that was left too early, if these bytes are its rest."""
        if self._continues_escape(data, now):
            self._begin(State.ESCAPE, ESC)
            self._late = True
        elif self._broken is not None and now - self._heard_at <= PATIENCE:
            state, held, missing = self._broken
            rest = STRING_REST if state is State.STRING else CSI_REST
            if rest.match(data):
                self._begin(state, *held)
                self._missing, self._broken = missing, None

    def _continues_escape(self, data: bytes, now: float) -> bool:
        """Whether these bytes may be the rest of a sequence that began with a lone Escape."""
        return now - self._escaped_at <= PATIENCE and data[0] in INTRODUCERS

    def _looks_like_a_key(self, data: bytes) -> bool:
        """One character or a sequence of its own, and no end of the string that is waited for."""
        if self._state in (State.STRING, State.STRING_ESCAPE, State.STRING_START) and (
            b"\x1b\\" in data or BELL in data
        ):
            return False
        if self._state in (State.PASTE, State.PASTE_ESCAPE) and PASTE_END[-2:] in data:
            return False
        return data[0] == ESC or len(data.decode("utf-8", "replace")) == 1

    def _give_up(self) -> None:
        if self._state in (State.PASTE, State.PASTE_ESCAPE):
            self._out += PASTE_END
        self._rest()

    def _taken(self) -> bytes:
        taken = bytes(self._out)
        self._out.clear()
        return taken

    # -- states --

    def _step(self, byte: int) -> None:
        STEPS[self._state](self, byte)

    def _begin(self, state: State, *held: int) -> None:
        self._state = state
        self._held[:] = bytes(held)

    def _hold(self, byte: int) -> None:
        if len(self._held) < LONGEST:
            self._held.append(byte)

    def _rest(self) -> None:
        self._begin(State.GROUND)
        self._missing = 0
        self._late = False

    def _pass_on(self) -> None:
        self._out += self._held
        self._rest()

    def _reply(self) -> None:
        reply = bytes(self._held)
        self._rest()
        self.replied(reply)

    def _ground(self, byte: int) -> None:
        self._escaped_at = -math.inf
        if byte == ESC:
            self._begin(State.ESCAPE, ESC)
        elif byte in C1:
            self._control(byte)
        elif byte < 0x80:
            self._out.append(byte)
        elif continuation_bytes(byte):
            self._missing = continuation_bytes(byte)
            self._begin(State.CHARACTER, byte)

    def _control(self, byte: int) -> None:
        """An 8-bit control: one that begins a sequence does so, the others are dropped."""
        self._rest()
        if byte - 0x40 in INTRODUCERS:
            self._escape(byte - 0x40)

    def _character(self, byte: int) -> None:
        """A character of several bytes is handed on whole; one that is not UTF-8 is dropped."""
        if byte & 0xC0 != 0x80:
            self._rest()
            self._step(byte)
            return
        self._held.append(byte)
        self._missing -= 1
        if self._missing > 0:
            return
        if self._held[0] == FIRST_OF_C1 and byte in C1:
            self._control(byte)
            return
        text = self._held.decode("utf-8", "ignore")
        if text[:1] == "\x1b" and len(text) > 1:
            self._out += alt_key(text[1])
        else:
            self._out += text.encode()
        self._rest()

    def _escape(self, byte: int) -> None:
        if byte == ESC:
            self._out += ESCAPE_KEY
            self._begin(State.ESCAPE, ESC)
        elif byte == ord("["):
            self._begin(State.CSI, ESC, byte)
        elif byte == ord("O"):
            self._begin(State.SS3, ESC, byte)
        elif byte in STRINGS:
            self._string = STRINGS[byte]
            self._began_string = True
            self._begin(State.STRING_START, ESC, byte)
        elif continuation_bytes(byte):
            self._missing = continuation_bytes(byte)
            self._begin(State.CHARACTER, ESC, byte)
        else:
            self._alt(byte)

    def _alt(self, byte: int) -> None:
        """A key with Alt; a control key right after Escape is two keys."""
        self._rest()
        if is_key(bytes([ESC, byte])):
            self._out += bytes([ESC, byte])
        elif byte == ENTER or 0x20 <= byte < 0x80:
            self._out += alt_key(chr(byte))
        elif byte < 0x20:
            self._out += ESCAPE_KEY
            self._step(byte)

    def _csi(self, byte: int) -> None:
        if byte < 0x20 or byte > LAST_FINAL:
            self._break(byte, State.CSI)
            return
        self._hold(byte)
        held = bytes(self._held)
        if held == b"\x1b[[":
            self._state = State.LINUX_KEY
        elif held == b"\x1b[M":
            self._state, self._missing = State.X10_MOUSE, X10_MOUSE_BYTES
        elif byte >= FIRST_FINAL:
            self._end_csi(held)
        elif byte == ord("$") and is_key(held):
            self._pass_on()

    def _end_csi(self, sequence: bytes) -> None:
        if sequence == PASTE_START:
            self._pass_on()
            self._state = State.PASTE
        elif is_mode_report(sequence):
            self._out += sequence
            self._reply()
        elif is_key(sequence):
            self._out += self._key(sequence)
            self._rest()
        elif sequence in FOCUS or is_sgr_mouse(sequence) or is_resize(sequence):
            self._pass_on()
        else:
            self._reply()

    def _key(self, sequence: bytes) -> bytes:
        script = typed_in_another_script(sequence)
        self._other_script = self._other_script if script is None else script
        return simple_key(sequence, by_position=self.by_position(), other_script=self._other_script)

    def _ss3(self, byte: int) -> None:
        if byte < 0x20 or byte > LAST_FINAL:
            self._interrupt(byte)
            return
        self._hold(byte)
        if byte < FIRST_FINAL:
            return
        if is_key(bytes(self._held)):
            self._pass_on()
        else:
            self._reply()

    def _linux_key(self, byte: int) -> None:
        self._hold(byte)
        if is_key(bytes(self._held)):
            self._pass_on()
        else:
            self._reply()

    def _x10_mouse(self, byte: int) -> None:
        """A report of terminals without SGR mouse mode: three bytes of any value."""
        self._hold(byte)
        self._missing -= 1
        if self._missing == 0:
            self._reply()

    def _starts_string(self, byte: int) -> bool:
        """Whether this byte after an introducer is a string's: by itself, as it was read with the
        introducer, or by the string's end in the same read."""
        together = self._began_string and self._string in ANY_START and byte != ESC
        whole = b"\x1b\\" in self._ahead or BELL in self._ahead
        return byte in STRING_STARTS[self._string] or together or whole

    def _string_start(self, byte: int) -> None:
        if self._starts_string(byte):
            self._missing = 0
            self._state = State.STRING
            self._step(byte)
        else:
            introducer, late = self._held[1], self._late
            self._rest()
            if late:
                self._out.append(introducer)
            else:
                self._alt(introducer)
            self._step(byte)

    def _string_body(self, byte: int) -> None:
        if byte == ESC:
            self._state = State.STRING_ESCAPE
        elif (byte == BELL and self._string == "osc") or (
            byte == STRING_TERMINATOR and (self._missing == 0 or self._held[-1] == FIRST_OF_C1)
        ):
            self._hold(byte)
            self._reply()
        elif byte in (*LEAVE, *CANCEL):
            self._interrupt(byte)
        else:
            self._missing = self._missing - 1 if self._missing else continuation_bytes(byte)
            self._hold(byte)

    def _string_escape(self, byte: int) -> None:
        if byte == ord("\\"):
            self._held += b"\x1b\\"
            self._reply()
        else:
            self._break(ESC, State.STRING)
            self._step(byte)

    def _paste(self, byte: int) -> None:
        if byte == ESC:
            self._begin(State.PASTE_ESCAPE, ESC)
        else:
            self._out.append(byte)

    def _paste_escape(self, byte: int) -> None:
        """An escape byte in a paste is dropped, unless it begins the end of the paste."""
        self._held.append(byte)
        held = bytes(self._held)
        if held == PASTE_END:
            self._pass_on()
        elif not PASTE_END.startswith(held):
            self._out += held[1:-1]
            self._state = State.PASTE
            self._step(byte)

    def _break(self, byte: int, state: State) -> None:
        """Another sequence begins inside this one; its rest may still come afterwards."""
        if byte == ESC and len(self._held) > 2:
            self._broken = state, bytes(self._held), self._missing
        self._interrupt(byte)

    def _interrupt(self, byte: int) -> None:
        """A sequence that is cut short by another byte is dropped; the byte is read again."""
        self._rest()
        if byte not in CANCEL:
            self._step(byte)


STEPS = {
    State.GROUND: InputFilter._ground,
    State.CHARACTER: InputFilter._character,
    State.ESCAPE: InputFilter._escape,
    State.CSI: InputFilter._csi,
    State.SS3: InputFilter._ss3,
    State.LINUX_KEY: InputFilter._linux_key,
    State.X10_MOUSE: InputFilter._x10_mouse,
    State.STRING_START: InputFilter._string_start,
    State.STRING: InputFilter._string_body,
    State.STRING_ESCAPE: InputFilter._string_escape,
    State.PASTE: InputFilter._paste,
    State.PASTE_ESCAPE: InputFilter._paste_escape,
}
