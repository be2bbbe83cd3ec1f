"""`admit` and `match` by example: who starts, who waits, and the sentence that says why."""

from __future__ import annotations

import pytest

from formicary.runner.core.schedule import (
    Admission,
    AntView,
    Limits,
    OfferView,
    Running,
    Waiting,
    admit,
    match,
)

NOW = 1_795_514_400.0  # 2026-11-24T10:00:00Z
NOTHING = Running(by_job={}, by_organization={})


def waits(request_id, job="ci", *, priority=0, at=None, due=None, most=3, tags=(), methods=("SHELL",), **fields):
    created = float(request_id) if at is None else at
    key = ("default", 1, job)
    return Waiting(
        request_id, "default", key, job, priority, created, due, most, frozenset(tags), frozenset(methods), **fields
    )


def ant(name="ant-1", free=4, hands=4, tags=(), methods=("SHELL",), **fields):
    return AntView(name, frozenset(tags), frozenset(methods), "linux", free, hands, **fields)


def running(**jobs):
    return Running(by_job={("default", 1, job): count for job, count in jobs.items()}, by_organization={})


def ids(admitted):
    return [admission.request_id for admission in admitted.admissions]


def test_priority_then_age_then_id():
    asked = ((4, 0, 2.0), (3, 0, 2.0), (2, 0, 1.0), (9, 5, 9.0), (1, -1, 0.0))
    waiting = [waits(number, f"job-{number}", priority=priority, at=at) for number, priority, at in asked]
    assert ids(admit(waiting, NOTHING, Limits(), [ant(free=9, hands=9)], NOW)) == [9, 2, 3, 4, 1]


def test_a_full_job_holds_up_no_other():
    admitted = admit([waits(1), waits(2), waits(3, "docs")], running(ci=2), Limits(), [ant()], NOW)
    assert ids(admitted) == [1, 3]
    assert admitted.reason(2) == "3 of 3 runs of `ci` are running (max_concurrency)"


def test_what_needs_another_ant_holds_up_no_other():
    admitted = admit([waits(1, tags=("gpu",)), waits(2)], NOTHING, Limits(), [ant()], NOW)
    assert ids(admitted) == [2]


def test_work_is_spread_over_the_ants_with_most_free_hands():
    ants = [ant("b", free=1), ant("a", free=1), ant("c", free=3)]
    admitted = admit([waits(n, f"j{n}") for n in range(1, 7)], NOTHING, Limits(), ants, NOW)
    assert [admission.ant_id for admission in admitted.admissions] == ["c", "c", "a", "b", "c"]


def test_what_needs_no_ant_starts_without_one():
    admitted = admit([waits(1), waits(2, "fork", needs_ant=False)], NOTHING, Limits(), [], NOW)
    assert admitted.admissions == (Admission(2, None),)
    assert admitted.reason(1) == "no ant is connected"


def test_scheduled_requests_wait_until_they_are_due():
    waiting = [waits(1, due=NOW + 60), waits(2, due=NOW), waits(3, due=NOW + 30)]
    admitted = admit(waiting, NOTHING, Limits(), [ant()], NOW)
    assert (ids(admitted), admitted.next_at) == ([2], NOW + 30)
    assert admit([waits(2, due=NOW)], NOTHING, Limits(), [ant()], NOW).next_at is None


REASONS = [
    # the request, what runs, limits, ants, why it does not start
    (waits(5), running(ci=3), Limits(), [ant()], "3 of 3 runs of `ci` are running (max_concurrency)"),
    (waits(5, most=1), running(ci=2), Limits(), [ant()], "2 of 1 runs of `ci` are running (max_concurrency)"),
    (waits(5, due=NOW), running(ci=1, docs=1), Limits(2), [ant()], "2 of 2 jobs are running (max_running_jobs)"),
    (waits(5, due=NOW + 3600), NOTHING, Limits(), [ant()], "is due at 2026-11-24T11:00:00Z"),
    (waits(5), NOTHING, Limits(), [], "no ant is connected"),
    (waits(5), NOTHING, Limits(), [ant(free=0)], "all 4 hands of the ants that could run it are busy"),
    (waits(5), NOTHING, Limits(), [ant(free=0), ant("b", free=0), ant("c", tags="x", methods=())],
     "all 8 hands of the ants that could run it are busy"),
    (waits(5), NOTHING, Limits(), [ant(free=0, hands=1)], "the only hand that could run it is busy"),
    (waits(5, tags=("gpu",)), NOTHING, Limits(), [ant()], "no ant has the tag gpu"),
    (waits(5, tags=("gpu", "arm")), NOTHING, Limits(), [ant(tags=("arm",))], "no ant has the tags arm, gpu"),
    (waits(5, methods=("DOCKER",)), NOTHING, Limits(), [ant()], "no ant can run DOCKER tasks"),
    (waits(5, methods=("CONTAINER",)), NOTHING, Limits(), [ant(), ant("b", without={"CONTAINER": "no engine answers"})],
     "no ant can run container tasks: no engine answers"),
    (waits(5, tags=("gpu",), methods=("DOCKER",)), NOTHING, Limits(), [ant(tags=("gpu",)), ant(methods=("DOCKER",))],
     "no ant with the tags gpu can run DOCKER tasks"),
    (waits(5, trusted=False), NOTHING, Limits(), [ant()],
     "no ant isolates SHELL tasks, and an untrusted request may run only there"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "runs", "limits", "ants", "why"), REASONS, ids=[row[-1] for row in REASONS])
def test_every_request_that_waits_has_its_reason(one, runs, limits, ants, why):
    admitted = admit([one], runs, limits, ants, NOW)
    assert (admitted.admissions, admitted.reason(5)) == ((), why)


def test_untrusted_requests_start_on_ants_that_isolate():
    """T19."""
    ants = [ant("open", free=4), ant("closed", free=1, isolates=True)]
    admitted = admit([waits(1, trusted=False), waits(2, trusted=False)], NOTHING, Limits(), ants, NOW)
    assert admitted.admissions == (Admission(1, "closed"),)
    assert admitted.reason(2) == "all 4 hands of the ants that could run it are busy"
    contained = waits(1, methods=("DOCKER",), trusted=False)
    assert ids(admit([contained], NOTHING, Limits(), [ant(methods=("DOCKER",))], NOW)) == [1]


def test_most_bounds_one_round():
    admitted = admit([waits(1), waits(2, "b"), waits(3, "c")], NOTHING, Limits(), [ant()], NOW, most=2)
    assert ids(admitted) == [1, 2]
    assert admitted.reason(3) == "waits behind request 2, which starts first"
    assert (
        admit([waits(1)], NOTHING, Limits(), [ant()], NOW, most=0).reason(1) == "no request is admitted at the moment"
    )


def test_the_admitted_have_no_reason_and_strangers_no_entry():
    admitted = admit([waits(1)], NOTHING, Limits(), [ant()], NOW)
    assert admitted.reason(1) == ""
    with pytest.raises(KeyError):
        admitted.reason(99)


def test_reasons_describe_the_moment_of_the_call():
    counts, waiting = {("default", 1, "ci"): 3}, {1: waits(1)}
    admitted = admit(waiting.values(), Running(counts, {}), Limits(), [ant()], NOW)
    counts.clear()
    waiting.clear()
    assert admitted.reason(1) == "3 of 3 runs of `ci` are running (max_concurrency)"


class Counting:
    """A job key that counts how often it is looked up."""

    def __init__(self):
        self.looks = 0

    def __hash__(self):
        self.looks += 1
        return 1


def test_without_a_free_hand_nothing_is_looked_at():
    key = Counting()
    waiting = [Waiting(n, "o", (key,), "ci", 0, n, None, 3, frozenset(), frozenset()) for n in range(1000)]
    admit(waiting, NOTHING, Limits(), [ant(free=0)], NOW)
    assert key.looks == 0


def offer(name, *, priority=0, at=1.0, tags=(), methods=("SHELL",), trusted=True):
    return OfferView(name, priority, at, frozenset(tags), frozenset(methods), trusted)


def test_match_takes_priority_then_age_and_spreads():
    offers = [offer("1-3", at=3.0), offer("1-2", at=2.0), offer("1-9", at=9.0, priority=1), offer("1-4", at=4.0)]
    assert match(offers, [ant("b", free=1), ant("a", free=2)]) == (("1-9", "a"), ("1-2", "a"), ("1-3", "b"))


def test_match_looks_for_tags_methods_and_isolation():
    offers = [offer("1-1", tags=("gpu",)), offer("1-2", methods=("DOCKER",)), offer("1-3", trusted=False), offer("1-4")]
    ants = [ant("plain"), ant("gpu", tags=("gpu",), free=1), ant("box", methods=("DOCKER",), free=1)]
    assert match(offers, ants) == (("1-1", "gpu"), ("1-2", "box"), ("1-4", "plain"))
    assert match(offers, [ant(free=0)]) == match(offers, []) == match([], ants) == ()
