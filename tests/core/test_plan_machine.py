"""`decide` under fire: see tests/fixtures/machine.py. The same runs everywhere.

To look for more, raise max_examples and leave derandomize out."""

from hypothesis import HealthCheck, settings
from machine import Execute, ExecuteForks

BOUNDS = settings(
    max_examples=80, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestExecute = Execute.TestCase
TestExecute.settings = BOUNDS
TestExecuteForks = ExecuteForks.TestCase
TestExecuteForks.settings = BOUNDS
