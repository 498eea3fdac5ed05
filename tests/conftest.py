"""For all tests."""

from pathlib import Path

from hypothesis import HealthCheck, settings

import hero_engine.embedded

# The wheel has no training scripts. Where hero is installed, take them from the source tree.
hero_engine.embedded.__path__.append(
    str(Path(__file__).resolve().parents[1] / "hero_engine" / "embedded")
)

if settings.get_current_profile_name() != "ci":  # hypothesis's own for CI has no deadline either
    # How long an example takes says how loaded the machine is, not whether hero is right.
    settings.register_profile("hero", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("hero")
