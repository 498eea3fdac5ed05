"""For all tests."""

from hypothesis import HealthCheck, settings

if settings.get_current_profile_name() != "ci":  # hypothesis's own for CI has no deadline either
    # How long an example takes says how loaded the machine is, not whether hero is right.
    settings.register_profile("hero", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("hero")
