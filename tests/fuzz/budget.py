"""How far the fuzzers go: a short way, always the same, or in `make fuzz` a long new one."""

import os

from hypothesis import HealthCheck, settings

IS_LONG = os.environ.get("FUZZ") == "1"
LONGER = 20


def budget(examples: int, longer: int = LONGER) -> settings:
    """`make test` must not fail now and then, so it draws the same examples each time."""
    return settings(
        max_examples=examples * longer if IS_LONG else examples,
        derandomize=not IS_LONG,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
