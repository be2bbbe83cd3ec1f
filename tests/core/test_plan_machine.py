"""`decide` under fire: see tests/fixtures/machine.py. The same runs everywhere; in soak others each time."""

import pytest
from hypothesis import HealthCheck, settings
from machine import Execute, ExecuteForks


class More(Execute):
    pass


class MoreForks(ExecuteForks):
    pass


BOUNDS = settings(stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(BOUNDS, max_examples=80, derandomize=True)
MANY = settings(BOUNDS, max_examples=2000, derandomize=False, database=None)
TestExecute, TestExecuteForks = Execute.TestCase, ExecuteForks.TestCase
TestExecute.settings = TestExecuteForks.settings = FEW
TestMore, TestMoreForks = pytest.mark.soak(More.TestCase), pytest.mark.soak(MoreForks.TestCase)
TestMore.settings = TestMoreForks.settings = MANY
