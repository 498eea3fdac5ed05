"""Errors that end a command with one line for the user, and the request to stop."""


class HeroError(Exception):
    """Says in one line what was wrong and how to mend it.

    exit_code: 1 internal; 2 bad input; 3 run not usable; 4 no terminal; 5 model cannot be opened;
    75 stopped before the end, resumable.
    """

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.message, self.exit_code = message, exit_code


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Raised out of a progress callback: stop at this safe point; the run stays resumable."""
