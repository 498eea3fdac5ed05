"""Errors that end a command with one line on stderr, and the request to stop."""

from enum import IntEnum

LONGEST_VALUE = 60
"""Longest part of a wrong value in a message, in characters."""


class ExitCode(IntEnum):
    """What `hero` exits with; the same in every command."""

    DONE = 0
    FAILED = 1
    """The engine or the app failed: an error in hero, or training that diverged."""
    USAGE = 2
    """A wrong option, setting, task or labels file; or no terminal."""
    ENVIRONMENT = 3
    """The machine: a model that cannot be opened, a folder that cannot be written."""
    RUN = 4
    """The run is missing, in use by another process, or damaged."""
    LABELS = 5
    """The run waits for labels: `hero label`, then `hero resume`."""
    RESUMABLE = 75
    """Stopped before the end: continue with `hero resume`."""
    INTERRUPTED = 130


class HeroError(Exception):
    """Says in one line what was wrong and how to fix it."""

    def __init__(self, message: str, *, exit_code: int = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message, self.exit_code = message, int(exit_code)


def short(value: object) -> str:
    """A wrong value for a message, shortened if it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a very large number"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def one_line(error: Exception) -> str:
    """First line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Damaged(HeroError):  # noqa: N818 - reads as "a file is damaged"
    """A run file is corrupt. Exit code 4 unless it is rebuilt."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=ExitCode.RUN)


class Lost(HeroError):  # noqa: N818 - reads as "a process is lost"
    """A process that shares a run's work has died; the run can be resumed. Exit code 75."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=ExitCode.RESUMABLE)


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Raised from a progress callback: stop at this safe point; the run stays resumable."""

    reason = "stopped"
    """The reason of the `Finished` event that follows."""


class LabelsNeeded(StopRequested):
    """Stop here: the round's labels come from outside and are not complete."""

    reason = "labels"


MEMORY_SHORT = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""Parts of the messages of torch and CUDA, whatever the type of the error."""


def is_memory_short(error: Exception) -> bool:
    """Whether the error is that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in MEMORY_SHORT)
