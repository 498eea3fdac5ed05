"""For all tests."""

import os
import shutil
from pathlib import Path

import pytest
import quantisation_hidden  # noqa: F401
from hypothesis import HealthCheck, settings

import hero_engine.embedded

# The wheel has no training scripts. Where hero is installed, take them from the source tree.
hero_engine.embedded.__path__.append(
    str(Path(__file__).resolve().parents[1] / "hero_engine" / "embedded")
)

MEMORY_DISK = Path("/dev/shm")
ROOM = 4e9
"""Bytes that must be free there; what the tests leave at one time is a tenth of that."""


def pytest_configure(config: pytest.Config) -> None:
    """Put the tests' folders into memory, where the flushes of every mark and file take no time."""
    memory = os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free > ROOM
    if memory and not config.option.basetemp:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))


if settings.get_current_profile_name() != "ci":  # hypothesis's own for CI has no deadline either
    # How long an example takes says how loaded the machine is, not whether hero is right.
    settings.register_profile("hero", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("hero")
