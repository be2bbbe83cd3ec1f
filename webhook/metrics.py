"""The figures, gathered when they are asked for: between two looks they cost nothing.

Durations of jobs are read from the store: a look goes through the requests that are new since the last one, and through
those that had not ended then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import TERMINAL, State
from formicary.webhook.parts import Door

_BUCKETS: Final = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 7200)
_LOOK_AT_MOST: Final = 5000
_PAGE: Final = 1000


class Metrics:
    """A registry of its own: no figure of another library gets in."""

    def __init__(self, door: Door) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Now(door))
        self._durations = _Durations(door, self._registry)

    def page(self) -> tuple[bytes, str]:
        """(the page, its content type)"""
        self._durations.look()
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Now(Collector):
    """What can be read at once."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def collect(self) -> Iterator[Metric]:
        counts = self._door.store.read().counts()
        yield _family("formicary_requests", "Job requests by state.", "state", {s: counts.get(s, 0) for s in State})
        yield GaugeMetricFamily("formicary_queue_length", "Requests that wait.", counts.get(State.PENDING, 0))
        ants = self._door.queen.ants()
        hands, free = sum(ant.hands for ant in ants), sum(ant.free for ant in ants)
        states = Counter(ant.state for ant in ants)
        yield _family("formicary_ants", "Ants by state.", "state", dict(states))
        yield GaugeMetricFamily("formicary_ant_hands", "Hands of all ants.", hands)
        yield GaugeMetricFamily("formicary_ant_hands_free", "Hands that have nothing to do.", free)
        yield GaugeMetricFamily("formicary_tasks_running", "Tasks at the ants.", sum(len(ant.running) for ant in ants))
        health = {part: int(not reason) for part, reason in self._door.queen.health().items()}
        yield _family("formicary_part_healthy", "1 where the part is well.", "part", health)
        yield from self._outbox()
        yield from self._deliveries()

    def _outbox(self) -> Iterator[Metric]:
        owed = self._door.store.read().outbox_counts()
        counts = {"waiting": owed.living, "dead": owed.dead}
        yield _family("formicary_outbox", "Messages to the outside: to be sent, given up.", "state", counts)
        age = max(self._door.clock() - owed.since, 0.0) if owed.since is not None else 0.0
        yield GaugeMetricFamily("formicary_outbox_age_seconds", "How long the oldest one waits.", age)

    def _deliveries(self) -> Iterator[Metric]:
        verdicts = self._door.verdicts
        family = CounterMetricFamily("formicary_deliveries", "Hook calls by verdict.", labels=["verdict"])
        for verdict in ("accepted", "duplicate", "bad_signature", "limited"):
            family.add_metric([verdict], verdicts[verdict])
        yield family
        bad = verdicts["bad_signature"]
        yield CounterMetricFamily("formicary_webhook_bad_signatures", "Hook calls that nobody signed.", bad)


def _family(name: str, text: str, label: str, values: dict[State, int] | dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([str(value)], count)
    return family


class _Durations:
    def __init__(self, door: Door, registry: CollectorRegistry) -> None:
        self._door = door
        self._newest = 0
        self._living: set[int] = set()
        self._histogram = Histogram(
            "formicary_job_duration_seconds",
            "From a job's start to its end.",
            ["state"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def look(self) -> None:
        reader, newest = self._door.store.read(), self._newest
        again = [found for found in map(reader.request, sorted(self._living)) if found]
        self._living.clear()
        for request in (*again, *self._since(newest)):
            self._observe(request)

    def _since(self, newest: int) -> Iterator[JobRequest]:
        """Requests above this id, newest first, and no more than a few thousand."""
        for page in range(_LOOK_AT_MOST // _PAGE):
            records = self._door.store.read().requests(order="-id", page=page, page_size=_PAGE).records
            yield from (request for request in records if request.id > newest)
            if len(records) < _PAGE or records[-1].id <= newest:
                return

    def _observe(self, request: JobRequest) -> None:
        self._newest = max(self._newest, request.id)
        if request.state not in TERMINAL:
            self._living.add(request.id)
        elif request.started_at is not None and request.ended_at is not None:
            self._histogram.labels(request.state).observe(max(request.ended_at - request.started_at, 0.0))
