"""The graph: what is wrong with it is said with its place, and what is right is compiled once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formicary.runner.core.definition import JobDefinition, Target, TaskDefinition
from formicary.runner.core.graph import Graph, GraphError, check


def task(name, *, then=None, fail=None, codes=None, **fields):
    return TaskDefinition(
        task_type=name,
        on_completed=Target(name=then) if then else None,
        on_failed=Target(name=fail) if fail else None,
        on_exit_code={code: Target(name=target) for code, target in (codes or {}).items()},
        **fields,
    )


def job(*tasks):
    return JobDefinition(job_type="ci", tasks=tasks)


def test_a_good_job_has_no_errors():
    tasks = (
        task("build", then="test", fail="COMPLETED", codes={"3": "fix", "4": "FATAL", "5": "ERR_QUOTA"}),
        task("test", needs=("build",), dependencies=("build", "build")),
        task("fix"),
        task("sweep", always_run=True, needs=("test", "fix")),
    )
    assert check(job(*tasks)) == []


@pytest.mark.parametrize(
    ("tasks", "place", "says"),
    [
        ([task("build", then="tset"), task("test")], ("build", "on_completed", "tset"), "did you mean `test`?"),
        ([task("build", fail="FATEL")], ("build", "on_failed", "FATEL"), "did you mean `FATAL`?"),
        ([task("build", codes={"3": "qqq"})], ("build", "on_exit_code", "qqq"), "the tasks are `build`"),
        ([task("test", needs=("buidl",)), task("build")], ("test", "needs", "buidl"), "did you mean `build`?"),
        ([task("test", dependencies=("FATAL",))], ("test", "dependencies", "FATAL"), "is not a task of this job"),
        ([task("build", needs=("build",))], ("build", "needs", "build"), "names itself"),
        ([task("build", then="build")], ("build", "on_completed", "build"), "names itself"),
        ([task("build"), task("build")], ("build", "task_type", "build"), "two tasks are called `build`"),
        ([task("FATAL")], ("FATAL", "task_type", "FATAL"), "call the task something else"),
        ([task("ERR_x")], ("ERR_x", "task_type", "ERR_x"), "call the task something else"),
    ],
)
def test_an_error_has_its_place_and_its_remedy(tasks, place, says):
    (error,) = check(job(*tasks))
    assert (error.task, error.key, error.value) == place
    assert says in error.message


def test_all_errors_are_reported_at_once():
    errors = check(job(task("a", then="x"), task("b", needs=("y",)), task("c", needs=("d",)), task("d", needs=("c",))))
    assert [error.key for error in errors] == ["on_completed", "needs", "needs"]


def test_words_that_lead_to_each_other():
    (error,) = check(job(task("a", then="FAILED", fail="COMPLETED")))
    assert error.also == (("a", "on_completed", "FAILED"),)
    assert "remove one" in error.message


def test_a_cycle_is_shown_as_a_path_with_both_edges():
    (error,) = check(job(task("a", then="b"), task("b", then="c"), task("c", fail="a"), task("d", needs=("a",))))
    assert error == GraphError(
        message=(
            "the tasks wait for each other in a circle: a → b → c → a "
            "(`a` has `on_completed: b`, `b` has `on_completed: c`, `c` has `on_failed: a`); remove one of these"
        ),
        task="a",
        key="on_completed",
        value="b",
        also=(("b", "on_completed", "c"), ("c", "on_failed", "a")),
    )


def test_a_cycle_of_a_transition_and_a_need():
    (error,) = check(job(task("a", then="b", needs=("b",)), task("b")))
    assert "a → b → a (`a` has `on_completed: b`, `a` has `needs: b`)" in error.message


def test_each_cycle_is_reported_once():
    tasks = (task("a", needs=("b",)), task("b", needs=("a",)), task("x", then="y"), task("y", then="x"), task("free"))
    assert ["circle" in error.message for error in check(job(*tasks))] == [True, True]


def test_the_longest_chain_needs_no_recursion():
    chain = [task(f"t{n}", needs=(f"t{n - 1}",) if n else ()) for n in range(5000)]
    assert Graph.of(job(*reversed(chain))).order[0] == "t0"
    assert len(check(job(*chain[1:], task("t0", needs=("t4999",))))) == 1


def test_what_is_compiled():
    graph = Graph.of(
        job(
            task("ship", dependencies=("test",)),
            task("sweep", always_run=True, needs=("ship",)),
            task("test", needs=("build", "build", "ghost")),
            task("build", fail="fix", codes={"3": "fix"}),
            task("fix"),
        )
    )
    assert graph.order == ("build", "test", "fix", "ship", "sweep")
    assert graph.roots == ("build",)
    assert graph.always == ("sweep",)
    assert graph.nodes["test"].needs == ("build",)
    assert graph.nodes["fix"].choosers == ("build",)
    assert set(graph.nodes["build"].followers) == {"fix", "test"}
    assert _before(graph, "sweep") == {"build", "test", "ship"}


def test_a_lonely_always_run_task_is_no_root():
    assert Graph.of(job(task("sweep", always_run=True))).roots == ()


def test_a_definition_is_compiled_once():
    one, same = job(task("a")), job(task("a"))
    assert Graph.of(one) is Graph.of(one)
    assert Graph.of(same) is not Graph.of(one)


def _before(graph, name):
    mask = graph.nodes[name].ancestors
    return {other for other, node in graph.nodes.items() if node.bit & mask}


@given(st.data(), st.integers(1, 7))
def test_cycles_are_found_and_order_is_topological(data, size):
    """check finds a cycle exactly where no order exists; otherwise each task comes after all that come before it."""
    names = [f"t{n}" for n in range(size)]
    some = st.frozensets(st.sampled_from(names), max_size=2)
    needs = {name: data.draw(some) - {name} for name in names}
    definition = job(*(task(name, needs=tuple(sorted(needs[name]))) for name in names))
    errors, graph = check(definition), Graph.of(definition)
    place = {name: index for index, name in enumerate(graph.order)}
    assert sorted(graph.order) == sorted(names)
    assert bool(errors) == any(place[need] > place[name] for name in names for need in needs[name])
    for error in errors:
        edges = [(error.task, error.value), *((owner, value) for owner, _, value in error.also)]
        assert all(value in needs[owner] for owner, value in edges)
        assert {owner for owner, _ in edges} == {value for _, value in edges}
