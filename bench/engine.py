"""`make bench`, second part: what the engine alone costs, in CPU time of this machine; no disk, no process.

decide     jobs of 500 tasks and of 3,000 combinations, run to their end: µs an event (mean, p99 and worst)
semaphore  1,000 requests that wait for one resource of three units: ms to share and to admit, however far it is

`--check` fails over the targets: 200 µs an event in the mean, and 5 ms for all 1,000 that wait.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.execution import Begin, Claimed, Event, Executing, Execution, Finished, Offer, Plan, Result
from formicary.runner.core.load import load
from formicary.runner.core.plan import begin, decide
from formicary.runner.core.schedule import AntView, Limits, Running, Waiting, admit
from formicary.runner.core.semaphores import Need, Pool, Pools
from formicary.runner.core.sharing import share
from formicary.runner.core.states import State

MOST_US, MOST_MS = 200.0, 5.0
REQUESTS = 1000


def job(tasks: Iterable[str]) -> str:
    return "job_type: large\ntasks:\n" + "".join(f"- {task}\n" for task in tasks)


def task(name: str, rest: str = "") -> str:
    return f"{{task_type: {name}, script: x{', ' if rest else ''}{rest}}}"


def matrix(name: str, one: int, other: int, rest: str = "") -> str:
    values = f"matrix: {{a: {list(range(one))}, b: {list(range(other))}}}"
    return task(name, f"{values}, {rest}" if rest else values)


NAMES = [f"t{number}" for number in range(500)]
SHAPES = {
    "500 at once": job(task(name) for name in NAMES),
    "chains of 10": job(task(n, f"needs: [{NAMES[i - 1]}]" if i % 10 else "") for i, n in enumerate(NAMES)),
    "one chain": job(task(n, f"on_completed: {NAMES[i + 1]}" if i < 499 else "") for i, n in enumerate(NAMES)),
    "a join of 499": job([*map(task, NAMES[:499]), task("last", f"needs: [{', '.join(NAMES[:499])}]")]),
    "70 that need 70": job(
        task(n, f"needs: [{', '.join(NAMES[:70])}]" if i >= 70 else "") for i, n in enumerate(NAMES[:140])
    ),
    "always_run": job(task(n, "always_run: true" if i >= 250 else "") for i, n in enumerate(NAMES)),
    "3,000 combinations": job([matrix("test", 60, 50), task("ship", "needs: [test]")]),
    "3,000 that always run": job([task("a"), matrix("sweep", 60, 50, "always_run: true")]),
    "3,499 at once": job([matrix("test", 60, 50), *map(task, NAMES[:499])]),
}


def definition_of(text: str) -> JobDefinition:
    (loaded,) = load(text, path="large.yml")
    assert loaded.definition is not None, loaded.problems
    return loaded.definition


class Played:
    """An execution from its beginning to its end; every task takes three events, and what each costs is kept."""

    def __init__(self, definition: JobDefinition) -> None:
        self.plan = Plan(definition=definition)
        self.execution: Execution = begin(7, 3, self.plan, 1000.0)
        self.took: list[float] = []
        self.offers = list(self.send(Begin()))
        while self.offers:
            self.run(self.offers.pop(0))
        assert self.execution.state is State.COMPLETED

    def run(self, offer: Offer) -> None:
        attempt = offer.task_execution_id, offer.fence
        for event in (Claimed(*attempt, "ant"), Executing(*attempt), Finished(*attempt, Result(exit_code=0))):
            self.offers += self.send(event)

    def send(self, event: Event) -> Iterator[Offer]:
        began = time.process_time()
        self.execution, orders = decide(self.execution, self.plan, event, 1000.0, 5)
        self.took.append(time.process_time() - began)
        return (order for order in orders if isinstance(order, Offer))


class Semaphore:
    """Requests that wait for units of one resource, oldest first; every third wants two, every seventh all three."""

    def __init__(self, count: int = REQUESTS) -> None:
        self.waiting = {number: waiting(number) for number in range(count)}
        self.held: dict[int, int] = {}
        self.pools = Pools([Pool(1, "o", "db", quota=3)])
        self.ants = [AntView("ant", frozenset(), frozenset({"SHELL"}), "", 4, 4)]
        self.started: list[int] = []

    def step(self) -> list[int]:
        """One pass of the scheduler over all that wait: who begins."""
        running = Running(Counter(), Counter(), {}, {1: sum(self.held.values())})
        everybody = list(self.waiting.values())
        shares = share(everybody, (), running, Limits(), self.pools, self.ants, 2000.0)
        admitted = admit(everybody, running, Limits(), self.ants, 2000.0, shares=shares)
        begun = [one.request_id for one in admitted.admissions]
        for request_id in begun:
            need = self.waiting.pop(request_id).need
            self.held[request_id] = need.value if need else 0
        self.started += begun
        return begun

    def end(self) -> None:
        """The one that has run longest ends."""
        del self.held[next(iter(self.held))]


def waiting(number: int) -> Waiting:
    need = Need("db", value=3 if number % 7 == 6 else 2 if number % 3 == 2 else 1)
    methods: frozenset[str] = frozenset({"SHELL"})
    return Waiting(
        number, "o", ("o", None, "job"), "job", 0, float(number), None, 10**6, frozenset(), methods, need=need
    )


def measure_decide() -> bool:
    good = True
    print(f"{'decide':24}{'events':>8}{'mean µs':>10}{'p99 µs':>10}{'worst ms':>10}")
    for name, text in SHAPES.items():
        took = Played(definition_of(text)).took
        mean, p99 = statistics.mean(took) * 1e6, statistics.quantiles(took, n=100)[-1] * 1e6
        good &= mean <= MOST_US
        print(f"{name:24}{len(took):8}{mean:10.0f}{p99:10.0f}{max(took) * 1e3:10.1f}")
    return good


def measure_semaphore() -> bool:
    queue, took = Semaphore(), list[float]()
    while queue.waiting:
        began = time.process_time()
        queue.step()
        took.append(time.process_time() - began)
        queue.end()
    first, mean = statistics.median(took[:50]) * 1e3, statistics.mean(took) * 1e3
    print(f"semaphore: {REQUESTS} waiting, {first:.2f} ms a pass; {mean:.2f} ms in the mean until all had it")
    return first <= MOST_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    check: bool = parser.parse_args().check
    good = measure_decide() & measure_semaphore()
    return 0 if good or not check else 1


if __name__ == "__main__":
    sys.exit(main())
