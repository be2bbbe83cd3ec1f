"""docs/events.md says what is sent: every field of every event, and no other."""

import json
import re

import pytest

from formicary.runner.core import events

EVENTS = (
    events.Event,
    events.JobRequestLifecycleEvent,
    events.JobExecutionLifecycleEvent,
    events.TaskExecutionLifecycleEvent,
)
TYPES = {"int": "int", "str": "text", "State": "text", "int | None": "int", "Mapping": "object"}


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "events.md").read_text(encoding="utf-8")


def kind(annotation):
    named = getattr(annotation, "__name__", "") if not str(annotation).startswith("int |") else str(annotation)
    return TYPES[named]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_field_is_in_the_table(page, rows, names, event):
    common = set(events.Event.model_fields) | {"event_type"} if event is not events.Event else set()
    wanted = {name: kind(field.annotation) for name, field in event.model_fields.items() if name not in common}
    assert {names(row[0])[0]: row[1] for row in rows(page, f"event: {event.__name__}")} == wanted


def test_the_example_is_an_event(page):
    """As it stands on the page, read and written again."""
    text = re.search(r"```json\n(.*?)```", page, re.S)[1]
    event = events.TaskExecutionLifecycleEvent.model_validate_json(text)
    assert json.loads(event.model_dump_json()) == json.loads(text)


def test_times_are_rfc_3339():
    assert events.rfc3339(1_795_506_625.1239) == "2026-11-24T07:50:25.123Z"
    assert events.rfc3339(0) == "1970-01-01T00:00:00.000Z"
