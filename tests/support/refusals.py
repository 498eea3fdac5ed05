"""How the engine refuses: in one line that says what was wrong, and with an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hero_engine.core.errors import ExitCode, HeroError


@contextmanager
def refused(code: ExitCode, *said: object, start: object = "") -> Iterator[None]:
    """Within, something is refused with this code; the line starts so and says all of this."""
    with pytest.raises(HeroError) as error:
        yield
    message = error.value.message
    assert error.value.exit_code == code
    assert message.startswith(str(start)), message
    assert all(str(each) in message for each in said), message
    assert "\n" not in message
