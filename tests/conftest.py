"""Hypothesis profiles: `default` for every run, `thorough` (HYPOTHESIS_PROFILE) to look for rare stories."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,
    max_examples=100,
    stateful_step_count=50,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=3000, stateful_step_count=150)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
