"""Durations, sizes, quantiles and bars, by example."""

import pytest

from formicary.runner.core.states import State
from formicary.site import stats, times
from formicary.site.render import _percent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 ms"), (0, "0 ms"), (0.0849, "85 ms"), (0.9996, "1.0 s"), (4.2, "4.2 s"), (9.96, "10 s"),
        (59.6, "1 min"), (185, "3 min 5 s"), (3600, "1 h"), (3601, "1 h"), (3840, "1 h 4 min"),
        (2 * 86400 + 3 * 3600 + 59, "2 d 3 h"),
    ],
)  # fmt: skip
def test_durations_have_at_most_two_units(seconds, text):
    assert times.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (48211, "48.2 KB"), (999_999, "1.0 MB"), (5e15, "5000 TB")],
)
def test_sizes(count, text):
    assert times.size(count) == text


def test_times_are_utc_and_absolute():
    assert times.stamp(0) == "1970-01-01T00:00:00Z"
    assert times.shown(1_790_000_000) == "2026-09-21 14:13:20 UTC"
    assert times.clock(0.26) == "0:00.3" and times.clock(751) == "12:31.0" and times.clock(3723.4) == "1:02:03.4"


def test_quantiles_lie_between_ranks():
    assert stats.quantile([], 0.5) is None
    assert stats.quantile([7], 0.95) == 7
    assert stats.quantile([3, 1, 2], 0.5) == 2
    assert stats.quantile([0, 10], 0.95) == pytest.approx(9.5)


def test_success_rate_leaves_out_what_says_nothing():
    assert stats.success_rate([State.CANCELLED, State.EXECUTING]) is None
    assert stats.success_rate([State.COMPLETED, State.SKIPPED, State.FAILED, State.CANCELLED]) == pytest.approx(2 / 3)


def test_a_rate_is_never_rounded_to_all_or_nothing():
    assert _percent(0.999) == "99 %" and _percent(0.001) == "1 %" and _percent(1) == "100 %" and _percent(0) == "0 %"


def test_bars_are_as_high_as_runs_were_long():
    assert stats.heights([]) == []
    assert stats.heights([None, None]) == [5.0, 5.0]
    low, high, none = stats.heights([10, 20, None])
    assert (low, high, none) == (22.5, 40.0, 5.0)
