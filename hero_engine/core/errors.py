"""Errors that end a command with one line for the user, and the request to stop."""

from enum import IntEnum

LONGEST_VALUE = 60
"""Characters of a wrong value that a message shows."""


class ExitCode(IntEnum):
    """What `hero` exits with; the same in every command."""

    DONE = 0
    FAILED = 1
    """The engine or the app failed: a fault of ours, or training that diverged."""
    USAGE = 2
    """A wrong option, setting, task or labels file; or no terminal."""
    ENVIRONMENT = 3
    """The machine: a model that cannot be opened, a folder that cannot be written."""
    RUN = 4
    """The run is missing, in use by another process, or damaged."""
    LABELS = 5
    """The run waits for labels from elsewhere: `hero label`, then `hero resume`."""
    RESUMABLE = 75
    """Stopped before the end; `hero resume` goes on."""
    INTERRUPTED = 130


class HeroError(Exception):
    """Says in one line what was wrong and how to mend it."""

    def __init__(self, message: str, *, exit_code: int = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message, self.exit_code = message, int(exit_code)


def short(value: object) -> str:
    """A wrong value for a message, as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a very large number"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def one_line(error: Exception) -> str:
    """What an error of any library says, in its first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Damaged(HeroError):  # noqa: N818 - what is said of a file
    """A file of a run is not what was written into it. Exit code 4 where nothing mends it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=ExitCode.RUN)


class Lost(HeroError):  # noqa: N818 - what is said of a process
    """A process that shares a run's work is gone; the run can be resumed. Exit code 75."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=ExitCode.RESUMABLE)


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Raised out of a progress callback: stop at this safe point; the run stays resumable."""

    reason = "stopped"
    """Of the `Finished` that it leads to."""


class LabelsNeeded(StopRequested):
    """Stop here, since the round's labels come from elsewhere and are not there yet."""

    reason = "labels"


MEMORY_SHORT = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""What the errors of torch and CUDA have in them, whatever their type."""


def is_memory_short(error: Exception) -> bool:
    """Whether it was for want of memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in MEMORY_SHORT)
