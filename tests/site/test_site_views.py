"""View models by example: why, graph, timeline, history, what may be seen."""

import pytest

from formicary.runner.core.definition import JobDefinition, Target, TaskDefinition
from formicary.runner.core.errors import ERR_ANT_LOST, NotFound
from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import JOB_TRANSITIONS, TASK_TRANSITIONS, State
from formicary.site import build, explain, graph, run, timeline
from formicary.site.status import status, word, worst

ONE = JobDefinition(job_type="ci", tasks=(TaskDefinition(task_type="test"),))


def one_task(make_attempt, state=State.COMPLETED, **more):
    return lambda number: {
        "test": TaskRun(name="test", state=state, attempts=(make_attempt(number, 1, state, **more),))
    }


def asked(**more):
    return JobRequest(id=1, version_id=1, job_type="ci", created_at=0.0, **more)


def executed(state, *runs, **more):
    return Execution(id=1, request_id=1, state=state, created_at=0, tasks={one.name: one for one in runs}, **more)


def failed(name, at, code=1, **more):
    one = Attempt(id="1-1", number=1, fence=1, state=State.FAILED, ended_at=at, exit_code=code, **more)
    return TaskRun(name=name, state=State.FAILED, attempts=(one,))


def test_every_state_has_a_word_a_tone_and_an_icon():
    """The words are the states' names, in readable form."""
    for state in {*JOB_TRANSITIONS, *TASK_TRANSITIONS}:
        look = status(state)
        assert look.word.upper().replace(" ", "_") == state.value and look.icon and look.tone
    assert word(State.MANUAL_APPROVAL_REQUIRED) == "Manual approval required"


def test_lost_is_told_apart_from_failed():
    """D12"""
    assert status(State.FAILED, ERR_ANT_LOST).lost and not status(State.FAILED, "ERR_EXIT_CODE").lost


def test_the_worst_comes_first():
    assert worst([status(State.COMPLETED), status(State.FAILED), status(State.EXECUTING)]).word == "Failed"
    assert worst([]) is None


@pytest.mark.parametrize(
    ("request_", "execution", "reason", "text"),
    [
        (asked(), None, "waits for an ant with the tag gpu", "waits for an ant with the tag gpu."),
        (asked(), None, "", "Waits to be admitted."),
        (asked(), None, "it is PENDING", "Waits to be admitted."),
        (
            asked(state=State.FAILED),
            executed(State.FAILED, failed("a", 1.0).model_copy(update={"reason": "task `a` failed (attempt 2 of 2)"})),
            "", "Task `a` failed (attempt 2 of 2).",
        ),
        (asked(scheduled_at=60.0), None, "", "Waits for its time, 1970-01-01 00:01:00 UTC."),
        (asked(state=State.SKIPPED, reason="no path matched\nmore"), None, "", "no path matched."),
        (
            asked(state=State.EXECUTING),
            executed(State.EXECUTING, TaskRun(name="a", state=State.EXECUTING), TaskRun(name="b", state=State.READY)),
            "", "a is running; b waits for an ant.",
        ),
        (
            asked(state=State.FAILED),
            executed(State.FAILED, failed("late", 9.0), failed("early", 3.0, 7)),
            "", "early failed with exit code 7.",
        ),
        (
            asked(state=State.FAILED),
            executed(State.FAILED, failed("allowed", 1.0), failed("real", 3.0, error_message="no space left")),
            "", "real failed with exit code 1: no space left.",
        ),
        (
            asked(state=State.FAILED),
            executed(State.FAILED, failed("a", 1.0), timed_out=True, error_message="longer than 2 h"),
            "", "longer than 2 h.",
        ),
        (
            asked(state=State.CANCELLED), executed(State.CANCELLED, cancel_reason="superseded by #9"),
            "", "Cancelled. superseded by #9.",
        ),
        (
            asked(state=State.COMPLETED),
            executed(State.COMPLETED, TaskRun(name="a", state=State.COMPLETED), TaskRun(name="b", state=State.SKIPPED),
                     failed("allowed", 1.0)),
            "", "1 task completed, 1 skipped; allowed failed, which is allowed.",
        ),
    ],
)  # fmt: skip
def test_why_is_one_sentence(request_, execution, reason, text):
    assert explain.why(request_, execution, frozenset({"allowed"}), reason) == text


def test_a_long_reason_is_bounded():
    assert len(explain.sentence("x" * 5000)) < 260


def layers(plan):
    columns = {}
    for name, (x, _) in plan.places.items():
        columns.setdefault(x, set()).add(name)
    return [columns[x] for x in sorted(columns)]


def test_the_graph_is_laid_out_in_layers():
    job = JobDefinition(
        job_type="x",
        tasks=(
            TaskDefinition(task_type="sweep", always_run=True),
            TaskDefinition(task_type="pack", needs=("unit", "lint")),
            TaskDefinition(task_type="unit", dependencies=("build",)),
            TaskDefinition(task_type="lint", on_failed=Target(name="tell"), on_exit_code={"3": Target(name="ERR_X")}),
            TaskDefinition(task_type="build"),
            TaskDefinition(task_type="tell"),
        ),
    )
    edges = graph.edges_of(job)
    assert {(e.source, e.target, e.kind) for e in edges} == {
        ("unit", "pack", "need"), ("lint", "pack", "need"), ("build", "unit", "need"), ("lint", "tell", "fail"),
    }  # fmt: skip
    plan = graph.layout([task.task_type for task in job.tasks], edges, frozenset({"sweep"}))
    assert layers(plan) == [{"build", "lint"}, {"unit", "tell"}, {"pack"}, {"sweep"}]
    assert len(plan.trails) == 4 and all(trail.path.startswith("M") for trail in plan.trails)
    inside = [(x, y) for x, y in plan.places.values() if x + graph.WIDTH > plan.width or y + graph.HEIGHT > plan.height]
    assert not inside and len(set(plan.places.values())) == 6


def test_boxes_never_overlap_and_many_are_not_drawn():
    names = [f"t{n}" for n in range(40)]
    edges = [graph.Edge(f"t{n // 3}", f"t{n}") for n in range(1, 40)]
    places = list(graph.layout(names, edges).places.values())
    for index, (x, y) in enumerate(places):
        for other_x, other_y in places[index + 1 :]:
            assert abs(x - other_x) >= graph.WIDTH or abs(y - other_y) >= graph.HEIGHT
    assert graph.layout([f"t{n}" for n in range(100)], []).places == {}


def test_a_cycle_that_should_not_be_ends_too():
    plan = graph.layout(["a", "b"], [graph.Edge("a", "b"), graph.Edge("b", "a"), graph.Edge("a", "a")])
    assert set(plan.places) == {"a", "b"}


def test_the_timeline_shows_waiting_running_and_retries(make_attempt):
    first = make_attempt(1, 1, State.FAILED, begin=0, spent=4, wait=1)
    second = make_attempt(1, 2, State.COMPLETED, begin=5, spent=5, wait=0)
    task = TaskRun(name="t", state=State.COMPLETED, attempts=(first, second))
    execution = Execution(
        id=1, request_id=1, created_at=first.ready_at, ended_at=first.ready_at + 10, tasks={"t": task}
    )
    bars = timeline.bars(execution, task, None)
    assert [(bar.wait_x, bar.run_x, bar.end_x) for bar in bars] == [(0, 10, 50), (50, 50, 100)]
    assert timeline.ticks(execution, None)[:2] == ((0.0, "0"), (20.0, "2.0 s"))
    running = execution.model_copy(update={"ended_at": None})
    assert timeline.bars(running, task, first.ready_at + 20)[1].end_x == 50
    assert timeline.ticks(None, None) == ()


async def test_a_job_page_has_its_figures(nest, make_attempt):
    definition = await nest.definition(await nest.repository())
    states = [State.COMPLETED, State.FAILED, State.COMPLETED, State.COMPLETED, State.CANCELLED]
    for index, state in enumerate(states):
        request = await nest.request(definition)
        await nest.run(request, ONE, one_task(make_attempt, state), state, ended=nest.clock.now + 10 * (index + 1))
    view = build.job(nest.source(), "honeydew", "ci")
    assert [cell.status.word for cell in view.cells] == ["Completed", "Failed", "Completed", "Completed", "Cancelled"]
    assert (view.success, view.p50, view.p95) == (0.75, 30.0, pytest.approx(39.0))
    assert (view.last_good.id, view.last_bad.id, view.runs) == (4, 2, 5)
    assert view.cells[0].height < view.cells[4].height and "in 10 s" in view.cells[0].title


async def test_a_job_shows_the_last_sixty(nest, make_attempt):
    """D14"""
    definition = await nest.definition(await nest.repository())
    for _ in range(63):
        await nest.request(definition, state=State.SKIPPED, reason="docs")
    view = build.job(nest.source(), "honeydew", "ci")
    assert len(view.cells) == 60 and view.cells[-1].request_id == 63


async def test_jobs_of_the_same_name_are_kept_apart(nest):
    one, other = await nest.definition(await nest.repository()), await nest.definition(await nest.repository("other"))
    mine, theirs = await nest.request(one), await nest.request(other)
    assert [row.id for row in build.job(nest.source(), "honeydew", "ci").recent] == [mine.id]
    assert [row.id for row in build.job(nest.source(), "other", "ci").recent] == [theirs.id]
    with pytest.raises(NotFound):
        build.job(nest.source(), "", "ci")


async def test_a_request_page_tells_all_there_is(nest, populated):
    made = await populated(nest)
    view = run.request(nest.source(), made["failing"].id)
    assert view.why == "unit failed: pytest ended with exit code 2."
    assert run.request(nest.source(outside=True), made["failing"].id).why == view.why
    assert [task.name for task in view.tasks[:4]] == ["build", "lint", "unit", "browser"]
    unit = view.tasks[2]
    assert [one.status.word for one in unit.attempts] == ["Failed", "Failed"] and len(unit.bars) == 2
    assert {one.name: (one.value, one.secret) for one in view.params}["DeployKey"] == ("••••••", True)
    assert view.failure.task == "unit" and any("0.37" in str(line.html) for line in view.failure.lines)
    assert {box.name for box in view.graph.boxes} == set(made["failing_run"].tasks)
    walked = {(walk.trail.edge.source, walk.trail.edge.target) for walk in view.graph.walks if walk.walked}
    assert walked == {("build", "unit"), ("build", "browser")}
    assert [(one.name, one.size) for one in view.artifacts] == [("dist.tar", 48211)]
    assert {one.name: one.value for one in view.tasks[0].outputs}["Version"] == "1.4.2"


async def test_a_waiting_request_says_what_the_queen_says(nest):
    request = await nest.request(await nest.definition(await nest.repository()))
    view = build.overview(nest.source(reason=lambda number: f"#{number} waits for the door"))
    assert [row.why for row in view.waiting] == [f"#{request.id} waits for the door."] and view.recent == ()


async def test_what_may_not_be_seen_is_nowhere(nest, make_attempt):
    hidden = await nest.definition(await nest.repository("hidden", "private"))
    shown = await nest.definition(await nest.repository("shown", "public"))
    lone = await nest.definition(None, "lone")
    requests = [await nest.request(one) for one in (hidden, shown, lone)]
    made = await nest.run(requests[0], ONE, one_task(make_attempt))
    source = nest.source(lambda owner: owner is not None and owner.visibility == "public")
    view = build.overview(source)
    assert [one.name for one in view.repositories] == ["shown"]
    assert [row.id for row in (*view.running, *view.waiting, *view.recent)] == [requests[1].id]
    for attempt in (
        lambda: run.request(source, requests[0].id),
        lambda: run.request(source, requests[2].id),
        lambda: run.log(source, f"{made.id}-1"),
        lambda: build.repository(source, "hidden"),
        lambda: build.job(source, "hidden", "ci"),
        lambda: build.job(source, "", "lone"),
    ):
        with pytest.raises(NotFound):
            attempt()


async def test_a_repository_shows_problems_and_branches(nest, populated):
    await populated(nest)
    view = build.repository(nest.source(), "honeydew")
    assert view.definitions[0].job_type == "release" and view.definitions[0].sync.word == "Invalid"
    assert ".formicary/release.yml:14:5" in view.definitions[0].problems[0]
    assert [branch.ref for branch in view.branches] == ["main", "trail/évap"] and view.branches[0].tracked
    assert [row.job_type for row in view.branches[1].results] == ["ci", "nightly"]


@pytest.mark.parametrize("name", ["", "x", "1", "1-2", "99-1", "../1", "9" * 40 + "-1"])
async def test_a_log_that_is_nobodys_is_not_found(nest, name):
    with pytest.raises(NotFound):
        run.log(nest.source(), name)
