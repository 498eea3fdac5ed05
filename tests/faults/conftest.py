"""What the faults happen to: tiny runs, one for each update."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from trials import MEMORY_DISK, Subject


@pytest.fixture(scope="session")
def subjects() -> Iterator[Callable[[str], Subject]]:
    """The subject for an update."""
    with TemporaryDirectory(dir=MEMORY_DISK) as root:
        yield cache(lambda update: Subject(Path(root), update))
