"""When a schedule fires: croniter's arithmetic, with the forms and daylight-saving rules of the definition language.

Five fields are minute, hour, day, month, weekday; a sixth is the year; seven begin with the second. Day and weekday
both given: either suffices. A time that the clock skips fires once, at the end of the gap. A time that the clock shows
twice fires the first time only, unless the hour is `*`: what runs every hour runs in both. Only croniter's forward
search is used (its backward one misses times when the clock is set back by half an hour).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from difflib import get_close_matches
from functools import lru_cache
from itertools import takewhile
from math import inf
from typing import Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

#: a run that is this late is not missed yet
GRACE: Final = 60.0

ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

#: the seven fields in order, and what each may hold
FIELDS: Final = (
    ("a second", "0 to 59"),
    ("a minute", "0 to 59"),
    ("an hour", "0 to 23"),
    ("a day of the month", "1 to 31, or L"),
    ("a month", "1 to 12, or jan to dec"),
    ("a weekday", "0 to 7, or sun to sat"),
    ("a year", "1970 to 2099"),
)
_FORMS: Final = (
    "write 5 fields (minute hour day month weekday), 6 (and the year), 7 (second first, year last), or one of "
    + ", ".join(ALIASES)
)
_YEARS: Final = 130
_DAY: Final = 86_400


class _Schedule:
    """A schedule in its zone: an endless series of times, from any moment on."""

    def __init__(self, expression: str, zone: str) -> None:
        self.seven = seven_fields(expression)
        self.zone = _zone(zone)
        self.every_hour = _expand(self.seven)[1] == ["*"]

    def after(self, moment: float) -> Iterator[float]:
        """The times it fires, strictly after `moment`."""
        if self.every_hour:
            yield from self._each_hour(moment)
            return
        for at in self._series(datetime.fromtimestamp(moment, self.zone)):
            if not _second_time(at):
                yield at.timestamp()

    def _each_hour(self, moment: float) -> Iterator[float]:
        """Between two changes of the clock it is an ordinary one; croniter alone misses some times after them."""
        offset = self._offset(moment)
        while True:
            change: float | None = None
            for at in self._series(datetime.fromtimestamp(moment, timezone(offset))):
                fires = at.timestamp()
                change = self._change(moment, fires, offset)
                if change is not None:
                    moment, offset = change - 1, self._offset(change)
                    break
                yield fires
                moment = fires
            if change is None:
                return

    def _series(self, start: datetime) -> Iterator[datetime]:
        """What croniter finds, until there is no more."""
        series = croniter(
            self.seven, start, ret_type=datetime, second_at_beginning=True, max_years_between_matches=_YEARS
        )
        while True:
            try:
                at: datetime = series.get_next(datetime)
            except CroniterBadDateError:
                return
            yield at

    def _offset(self, moment: float) -> timedelta:
        return datetime.fromtimestamp(moment, self.zone).utcoffset() or timedelta()

    def _change(self, since: float, until: float, offset: timedelta) -> float | None:
        """The second in (since, until] from which on the offset is another one; no day has two."""
        low, end = int(since), int(until)
        while low < end:
            high = min(low + _DAY, end)
            if self._offset(high) == offset:
                low = high
                continue
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._offset(middle) == offset else (low, middle)
            return float(high)
        return None


def _second_time(at: datetime) -> bool:
    """Whether the clock has shown this time already, before it was set back."""
    return at.fold == 1 and at.replace(fold=0).utcoffset() != at.utcoffset()


def seven_fields(expression: str) -> str:
    """The expression with all its fields. Raises ValueError with a sentence for the user."""
    text = expression.strip()
    fields = ALIASES.get(text.lower(), text).split()
    if len(fields) == 5:
        fields.append("*")
    if len(fields) == 6:
        fields.insert(0, "0")
    if len(fields) != 7:
        raise ValueError(f"`{text}` is not a schedule; {_FORMS}")
    return " ".join(fields)


def _expand(seven: str) -> list[list[int | str]]:
    """The values of each field: minute, hour, day, month, weekday, second, year."""
    expanded: list[list[int | str]] = [list(values) for values in croniter.expand(seven, second_at_beginning=True)[0]]
    return expanded


def _bad_field(seven: str) -> str:
    """Which field is wrong, as a sentence; "" if none is wrong alone."""
    for index, (field, (name, values)) in enumerate(zip(seven.split(), FIELDS, strict=True)):
        alone = ["*"] * 7
        alone[index] = field
        try:
            _expand(" ".join(alone))
        except (CroniterError, ValueError, KeyError):
            return f"`{field}` is not {name}; write {values}, a list, a range, or a step (*/5)"
        if any(part[:1] in "hHrR" for part in field.split(",")):
            return f"`{field}` is not {name}: hashed and random times are not supported; write {values}"
    return ""


def _zone(timezone: str) -> ZoneInfo:
    """Raises ValueError with a sentence for the user."""
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        near = get_close_matches(timezone, available_timezones(), n=1)
        remedy = f"did you mean `{near[0]}`?" if near else "write an IANA name such as Europe/Berlin or UTC"
        raise ValueError(f"`{timezone}` is not a time zone; {remedy}") from None


@lru_cache(maxsize=256)
def _schedule(expression: str, timezone: str) -> _Schedule:
    return _Schedule(expression, timezone)


def validate(expression: str, timezone: str) -> str | None:
    """What is wrong with the schedule, as a sentence with its remedy; None if nothing is."""
    try:
        seven = seven_fields(expression)
        _zone(timezone)
    except ValueError as error:
        return str(error)
    if problem := _bad_field(seven):
        return problem
    try:
        if next(_schedule(expression, timezone).after(0.0), None) is None:
            return f"`{expression}` never comes: no such month has that day in those years"
    except (CroniterError, ValueError, KeyError):
        return f"`{expression}` is not a schedule; {_FORMS}"
    return None


def next_after(expression: str, timezone: str, after: float) -> float:
    """The first time it fires after `after`; infinity if it never does again. Raises ValueError if it is invalid."""
    return next(_schedule(expression, timezone).after(after), inf)


def due(
    expression: str,
    timezone: str,
    last: float,
    now: float,
    missed: Literal["latest", "all", "none"] = "latest",
    limit: int = 100,
) -> list[float]:
    """The times in (last, now] for which a run is owed, oldest first.

    `latest`: the newest one; `all`: the newest `limit`; `none`: the newest one, if it is not later than GRACE.
    """
    schedule = _schedule(expression, timezone)
    found = _newest(schedule, last, now, limit if missed == "all" else 1)
    return [at for at in found if missed != "none" or now - at <= GRACE]


def _newest(schedule: _Schedule, last: float, now: float, count: int) -> list[float]:
    """Look at ever longer times before `now`, so that a long absence costs no more than what is kept."""
    window = GRACE
    while True:
        since = max(last, now - window)
        found = deque(takewhile(lambda at: at <= now, schedule.after(since)), maxlen=count)
        if len(found) >= count or since <= last:
            return list(found)
        window *= 4
