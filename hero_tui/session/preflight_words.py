"""What a run will need, in words."""

from __future__ import annotations

from hero_engine.core.events import Preflight

LABEL_SECONDS = 1.5
"""Seconds in which a person labels a picture, as docs/first-session.md reckons."""

LONG = 3600.0
"""Seconds of a session from which on the app asks first."""

GIGA = 1e9


def session_seconds(needs: Preflight) -> float:
    """All rounds, labelling included."""
    return needs.rounds * (needs.round_seconds + LABEL_SECONDS * needs.images)


def asks_first(needs: Preflight) -> bool:
    """Whether the session is long, or the memory short, so that the person should decide."""
    short = needs.memory_there is not None and needs.memory_needed > needs.memory_there
    return short or session_seconds(needs) >= LONG


def preflight_rows(needs: Preflight) -> list[tuple[str, str]]:
    """(name, figure) of everything that is known."""
    return [
        ("parameters", weights(needs.parameters)),
        ("memory", _memory(needs)),
        ("a picture", f"{needs.seconds_per_image:.1f} s (from a timed step)"),
        (
            "a round",
            f"{needs.images} pictures, {duration(needs.round_seconds)} of drawing and learning",
        ),
        (
            "the session",
            f"{needs.rounds} rounds, about {duration(session_seconds(needs))} with labelling",
        ),
    ]


def preflight_line(needs: Preflight) -> str:
    """The same in one line, for a run without the app."""
    return "; ".join(f"{name}: {figure}" for name, figure in preflight_rows(needs))


def duration(seconds: float) -> str:
    """ "5 min", "2 h 10 min"."""
    minutes = max(1, round(seconds / 60))
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"


def weights(count: float) -> str:
    """ "12 million", "2.57 billion"."""
    if count < GIGA:
        return f"{count / 1e6:.{int(count < 1e7)}f} million"
    return f"{count / GIGA:.2f} billion"


def _memory(needs: Preflight) -> str:
    needed = f"{needs.memory_needed / GIGA:.1f} GB or more, with one image a pass"
    if needs.memory_there is None:
        return f"{needed} (no GPU)"
    return f"{needed}; GPU {needs.memory_there / GIGA:.0f} GB"
