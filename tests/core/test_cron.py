"""Schedules: the forms of the language, and what happens when the clock is changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.runner.core.cron import GRACE, due, next_after, seven_fields, validate

BERLIN, NEW_YORK, HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def at(text, zone="UTC"):
    """A moment: with an offset as written, else in the zone."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).timestamp()


def fires(expression, zone, after, count):
    moment, times = at(after, zone), []
    for _ in range(count):
        moment = next_after(expression, zone, moment)
        times.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat(timespec="minutes"))
    return times


@pytest.mark.parametrize(
    ("expression", "seven"),
    [
        ("0 3 * * *", "0 0 3 * * * *"),
        ("0 3 * * * 2030", "0 0 3 * * * 2030"),
        ("15 0 3 * * * 2030", "15 0 3 * * * 2030"),
        ("  0   3 * * 1-5 ", "0 0 3 * * 1-5 *"),
        ("@daily", "0 0 0 * * * *"),
        ("@Hourly", "0 0 * * * * *"),
    ],
)
def test_forms(expression, seven):
    assert seven_fields(expression) == seven


@pytest.mark.parametrize(
    ("expression", "after", "times"),
    [
        ("0 3 * * *", "2026-01-01T03:00", ["2026-01-02T03:00+00:00", "2026-01-03T03:00+00:00"]),
        ("0 0/30 * * * * *", "2026-01-01T00:10", ["2026-01-01T00:30+00:00", "2026-01-01T01:00+00:00"]),
        ("30 4 1 1 * 2030", "2026-01-01T00:00", ["2030-01-01T04:30+00:00"]),
        ("0 30 4 1 1 * 2030-2031", "2026-01-01T00:00", ["2030-01-01T04:30+00:00", "2031-01-01T04:30+00:00"]),
        ("0 0 29 2 *", "2096-03-01T00:00", ["2104-02-29T00:00+00:00"]),
        ("0 0 13 * 5", "2026-01-09T00:00", ["2026-01-13T00:00+00:00", "2026-01-16T00:00+00:00"]),
        ("0 0 L * *", "2026-01-01T00:00", ["2026-01-31T00:00+00:00", "2026-02-28T00:00+00:00"]),
        ("@weekly", "2026-01-01T00:00", ["2026-01-04T00:00+00:00"]),
        ("0 22-2/2 * * *", "2026-01-01T12:00", ["2026-01-01T22:00+00:00", "2026-01-02T00:00+00:00"]),
    ],
)  # fmt: skip
def test_when_it_fires(expression, after, times):
    assert validate(expression, "UTC") is None
    assert fires(expression, "UTC", after, len(times)) == times


def test_seconds_come_first():
    assert next_after("*/20 * * * * * *", "UTC", 1000.0) == 1020.0
    assert next_after("*/20 * * * * * *", "UTC", 1020.0) == 1040.0
    assert next_after("*/20 * * * * * *", "UTC", 1019.75) == 1020.0


@pytest.mark.parametrize(
    ("expression", "zone", "after", "times"),
    [
        # the clock skips 02:00 to 03:00: once, at the end of the gap
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        ("*/15 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
        ("0 2,3 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"]),
        ("15 2 * * *", HOWE, "2026-10-03T12:00", ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"]),
        # every hour: the hour that does not exist is left out
        ("15 * * * *", BERLIN, "2026-03-29T00:30", ["2026-03-29T01:15+01:00", "2026-03-29T03:15+02:00"]),
        # the clock shows 02:00 to 03:00 twice: fixed times fire the first time
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("0 */2 * * *", BERLIN, "2026-10-25T00:30", ["2026-10-25T02:00+02:00", "2026-10-25T04:00+01:00"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
        ("45 1 * * *", HOWE, "2026-04-04T12:00", ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"]),
        # every hour: both times
        ("30 * * * *", BERLIN, "2026-10-25T01:45",
         ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00"]),
        ("30 * * * *", NEW_YORK, "2026-11-01T00:45",
         ["2026-11-01T01:30-04:00", "2026-11-01T01:30-05:00", "2026-11-01T02:30-05:00"]),
    ],
)  # fmt: skip
def test_when_the_clock_is_changed(expression, zone, after, times):
    assert fires(expression, zone, after, len(times)) == times


def test_between_the_two_showings_of_an_hour_a_fixed_time_is_over():
    after = at("2026-10-25T02:40+02:00")
    assert next_after("30 2 * * *", BERLIN, after) == at("2026-10-26T02:30", BERLIN)


@pytest.mark.parametrize(
    ("expression", "zone", "says"),
    [
        ("61 0 * * *", "UTC", "`61` is not a minute; write 0 to 59"),
        ("0 24 * * *", "UTC", "`24` is not an hour; write 0 to 23"),
        ("0 0 * * foo", "UTC", "`foo` is not a weekday; write 0 to 7, or sun to sat"),
        ("*/0 * * * *", "UTC", "`*/0` is not a minute"),
        ("60 0 0 * * * *", "UTC", "`60` is not a second"),
        ("0 0 1 1 * 2199", "UTC", "`2199` is not a year; write 1970 to 2099"),
        ("R 0 * * *", "UTC", "hashed and random times are not supported"),
        ("H 0 * * *", "UTC", "`H` is not a minute"),
        ("* * *", "UTC", "write 5 fields"),
        ("", "UTC", "write 5 fields"),
        ("@reboot", "UTC", "or one of @hourly"),
        ("0 0 30 2 *", "UTC", "never comes"),
        ("0 3 * * *", "Europe/Berln", "did you mean `Europe/Berlin`?"),
        ("0 3 * * *", "../../etc/passwd", "is not a time zone"),
        ("0 3 * * *", "", "write an IANA name"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(expression, zone, says):
    assert says in (validate(expression, zone) or "")


def test_a_year_that_is_over_never_comes_again():
    expression = "0 0 1 1 * 2020"
    assert validate(expression, "UTC") is None
    assert next_after(expression, "UTC", at("2026-01-01T00:00")) == inf
    assert due(expression, "UTC", at("2026-01-01T00:00"), at("2027-01-01T00:00"), "all") == []


# -- missed runs ------------------------------------------------------------------------------------------------------

LAST, NOON = at("2026-01-01T00:00"), at("2026-01-05T12:00")


@pytest.mark.parametrize(
    ("missed", "days"), [("latest", ["05"]), ("all", ["01", "02", "03", "04", "05"]), ("none", [])]
)
def test_missed_runs(missed, days):
    assert due("0 3 * * *", "UTC", LAST, NOON, missed) == [at(f"2026-01-{day}T03:00") for day in days]


@pytest.mark.parametrize("missed", ["latest", "all", "none"])
def test_a_run_that_is_on_time_is_not_missed(missed):
    three = at("2026-01-05T03:00")
    assert due("0 3 * * *", "UTC", three - 3600, three, missed) == [three]
    assert due("0 3 * * *", "UTC", three - 3600, three + GRACE, missed) == [three]
    assert due("0 3 * * *", "UTC", three, three + 1, missed) == []
    assert due("0 3 * * *", "UTC", three - 3600, three - 1, missed) == []


def test_all_keeps_the_newest_of_too_many():
    times = due("* * * * *", "UTC", 0.0, 1_700_000_000.0, "all", limit=3)
    assert times == [1_699_999_860.0, 1_699_999_920.0, 1_699_999_980.0]


FIVE = ("30 2 * * *", "*/20 1-3 * * *", "15 * * * *", "0 */3 * * *", "0 0 * * 0", "30 1,2 * 3,10,11 *", "0 2 L * *")
MORE = ("0 45 1 * * * *", "30 2 * * * 2026-2035", "20 30 2 * * * 2026-2035", "0 0/30 * * * * *", "@daily", "@hourly")
EXPRESSIONS = st.sampled_from(FIVE + MORE)
ZONES = st.sampled_from((BERLIN, NEW_YORK, HOWE, "UTC", "Africa/Casablanca", "America/Santiago", "Asia/Kathmandu"))
CHANGES = st.sampled_from(("2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"))


@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS, ZONES, CHANGES, st.integers(-86_400, 86_400))
def test_the_series_is_the_same_from_wherever_it_is_asked(expression, zone, day, offset):
    """Around a change of the clock: times rise, and no moment between two of them finds another one."""
    moment = at(day) + offset
    times = [moment]
    for _ in range(6):
        times.append(next_after(expression, zone, times[-1]))
    assert all(one < other for one, other in pairwise(times))
    for one, other in pairwise(times[1:]):
        assert next_after(expression, zone, (one + other) / 2) == other
        assert next_after(expression, zone, other - 0.5) == other
    assert due(expression, zone, moment, times[-1], "all") == times[1:]
    assert due(expression, zone, moment, times[-1], "latest") == times[-1:]
    assert due(expression, zone, moment, times[-1], "none") == times[-1:]
    assert due(expression, zone, moment, times[-1] + GRACE + 1, "none") in (
        [],
        [next_after(expression, zone, times[-1])],
    )


MINUTES = st.sampled_from(("0", "30", "15,45", "*/20", "*"))
HOURS = st.sampled_from(("*", "2", "1-3", "*/2", "0,23"))
HOUR, DAY = 3600, 86_400


def values(field, size):
    """What a field of a minute or an hour stands for: another way than croniter's."""
    low, _, high = field.partition("-")
    if field.startswith("*"):
        return set(range(0, size, int(field.partition("/")[2] or 1)))
    return set(range(int(low), int(high) + 1)) if high else set(map(int, field.split(",")))


def by_the_clock(minute, hour, zone, since, until):
    """Look at the clock on the wall minute by minute, and at every time of day whether it was shown."""
    minutes, hours, place = values(minute, 60), values(hour, 24), ZoneInfo(zone)
    shown, found = set(), []
    before = datetime.fromtimestamp(since - HOUR * 3, place).replace(tzinfo=None)
    for moment in range(int(since) - HOUR * 3, int(until), 60):
        now = datetime.fromtimestamp(moment, place).replace(tzinfo=None)
        skipped = [before + timedelta(minutes=n) for n in range(1, max(int((now - before).total_seconds()) // 60, 1))]
        fits = [one for one in (*skipped, now) if one.minute in minutes and one.hour in hours and one not in shown]
        if hour == "*":
            fits = [now] if now.minute in minutes else []
        shown |= {now, *skipped}
        before = max(before, now) if hour != "*" else now
        if fits and moment > since:
            found.append(float(moment))
    return found


@settings(max_examples=40, deadline=None)
@given(MINUTES, HOURS, ZONES, CHANGES)
def test_it_fires_as_the_clock_on_the_wall_shows(minute, hour, zone, day):
    """A time that is skipped counts at the end of the gap, one that comes twice the first time; every hour is each."""
    since = at(day) - HOUR * 18
    until = since + HOUR * 44
    expected = by_the_clock(minute, hour, zone, since, until)
    assert due(f"{minute} {hour} * * *", zone, since, until - 1, "all", limit=10_000) == expected
