"""What the engine costs, in CPU time: the jobs of `bench/engine.py`, within the bounds that it is judged by."""

import importlib.util
import sys
from pathlib import Path

import pytest
from costs import within

FILE = Path(__file__).parents[2] / "bench" / "engine.py"
SPEC = importlib.util.spec_from_file_location("bench_engine", FILE)
engine = sys.modules["bench_engine"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(engine)


@pytest.mark.parametrize("name", engine.SHAPES)
def test_an_event_is_decided_in_200_microseconds(name):
    """In the mean over all events of a job of 500 tasks or 3,000 combinations, its first and its last among them."""
    definition = engine.definition_of(engine.SHAPES[name])
    runs = sum(len(task.matrix.combinations) if task.matrix else 1 for task in definition.tasks)
    events = 1 + 3 * runs
    played = within(200e-6 * events, lambda: engine.Played(definition))
    assert len(played.took) == events


def test_no_event_of_a_combination_grows_with_their_number():
    """The middle one of 9,000 costs what one of 900 does."""
    few, many = (
        engine.Played(engine.definition_of(engine.job([engine.matrix("test", 60, count)]))).took for count in (5, 50)
    )
    assert sorted(many)[len(many) // 2] < 3 * sorted(few)[len(few) // 2] + 50e-6


def test_1000_requests_that_wait_for_a_resource_are_looked_at_in_5_milliseconds():
    """T17: whatever is held, and whoever of them wants much."""
    queue = engine.Semaphore()
    within(5e-3, lambda: engine.Semaphore.step(queue))
    assert queue.started[:1] == [0]
    within(5e-3, lambda: engine.Semaphore.step(queue))


def test_1000_requests_have_a_resource_in_the_order_in_which_they_came():
    """Fair: those who want all of it are not passed by those who want little, and more is never held than there is."""
    queue = engine.Semaphore()
    rounds = 0
    while queue.waiting:
        begun, rounds = queue.step(), rounds + 1
        assert begun or queue.held, "somebody could have begun"
        assert sum(queue.held.values()) <= 3
        queue.end()
    assert queue.started == list(range(1000)) and rounds <= 1000
