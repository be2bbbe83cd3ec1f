"""Times, durations and sizes as people read them. Pages hold absolute UTC; only the script makes times relative."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_SIZES: Final = ("B", "KB", "MB", "GB", "TB")


def _moment(at: float) -> datetime:
    """A time that no calendar has (of a request stored long ago, say) is its last or first one."""
    return datetime.fromtimestamp(min(max(at, 0.0), _LAST), UTC)


def stamp(at: float) -> str:
    """RFC 3339 in UTC, for `datetime` attributes."""
    return _moment(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(at: float) -> str:
    """What a reader without scripts sees."""
    return _moment(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """At most two units: `85 ms`, `4.2 s`, `3 min 5 s`, `1 h 4 min`, `2 d 3 h`."""
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole, parts = round(seconds), []
    for unit, name in _UNITS:
        count, whole = divmod(whole, unit)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
    return " ".join(parts[:2])


def size(count: int) -> str:
    """Decimal units, one digit behind the point where it helps."""
    value = float(count)
    for unit in _SIZES:
        if value < 999.5 or unit == _SIZES[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes every size")


def clock(seconds: float) -> str:
    """The time of a log line since the log's start: `0:04.2`, `12:31.0`, `1:02:03.4`."""
    tenths = max(round(seconds * 10), 0)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"
