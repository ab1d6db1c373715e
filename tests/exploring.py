"""Runs a state machine of Hypothesis as a test, by the same examples each time."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def explore(
    machine: type[RuleBasedStateMachine],
    examples: int,
    steps: int,
    derandomize: bool = True,
    **options: Any,
) -> None:
    """`options` are more of Hypothesis' settings. Raises what a rule or an invariant does."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            **options,
        ),
    )
