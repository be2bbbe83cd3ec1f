"""The outbox worker: lanes, order, retries, waits, dead letters (D10). Time is skipped, so that days are short."""

from itertools import pairwise

import anyio
import pytest
from clocks import run_skipping
from ledgers import Destination, Ledger, now

from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.publish.outbox import LONGEST_DELAY, LONGEST_WAIT, MOST_TRIES, TRY, Outbox

AWAY = (0.0, False, WorldError("the forge is away"), 0.0)


def play(owed, *publishers, seconds=3600.0, later=None):
    """Owe (key, n, due) at the start, run for so long, and give the ledger. `later(ledger)` runs beside it."""

    async def main():
        ledger = Ledger()
        outbox = Outbox(ledger, publishers, now)
        ledger.wake = outbox.wake
        for key, number, due_at in owed:
            ledger.owe("status", key, {"n": number}, due_at=due_at)
        async with anyio.create_task_group() as group:
            group.start_soon(outbox.run)
            if later:
                group.start_soon(later, ledger)
            await anyio.sleep(seconds)
            group.cancel_scope.cancel()
        return ledger

    return run_skipping(main)


def test_a_dead_destination_holds_up_no_other():
    """D10: a lane each; a hundred entries that hang do not delay the one beside them."""
    slow = [(f"dead/{number}", number, 0.0) for number in range(100)]

    class Half(Destination):
        async def _one(self, key, payload):
            if key.startswith("dead"):
                await anyio.sleep(TRY * 10)
            await super()._one(key, payload)

    there = Half()
    ledger = play([*slow, ("alive/1", 1, 0.0)], there, seconds=10)
    assert there.landed == {"alive/1": [1]}
    assert len(ledger.entries) == 100 and there.most <= 3


def test_a_newer_state_waits_for_the_older_ones_landing():
    """D10: never two at a time of one key, never an older one after a newer one."""
    there = Destination([(5.0, True, None, 0.0)])

    async def later(ledger):
        await anyio.sleep(1)
        ledger.owe("status", "a/1", {"n": 2})
        await anyio.sleep(1)
        ledger.owe("status", "a/1", {"n": 3})

    assert play([("a/1", 1, 0.0)], there, later=later).entries == {}
    assert there.landed == {"a/1": [1, 3]}
    assert [round(at) for at, _, _ in there.calls] == [0, 5]


def test_states_within_a_second_coalesce():
    """D10: what is due later is replaced by what is due at once."""
    there = Destination()

    async def later(ledger):
        await anyio.sleep(0.5)
        ledger.owe("status", "a/1", {"n": 2})

    play([("a/1", 1, 1.0)], there, later=later)
    assert there.calls == [(0.5, "a/1", 2)]


def test_failures_back_off_and_end_as_a_dead_letter_after_a_day():
    """D10: retry with backoff and jitter, then a dead letter that says why."""
    there = Destination([AWAY] * 1000)
    (letter,) = play([("a/1", 1, 0.0)], there, seconds=10 * 86400).entries.values()
    assert (letter.dead, letter.attempts, letter.error) == (True, MOST_TRIES, "the forge is away")
    times = [at for at, _, _ in there.calls]
    gaps = [then - before for before, then in pairwise(times)]
    assert len(times) == MOST_TRIES and 20 * 3600 < times[-1] < 36 * 3600
    assert 1.0 <= gaps[0] <= 1.5 and max(gaps) <= LONGEST_DELAY * 1.5 and gaps[5] >= 30.0


def test_a_destination_that_comes_back_gets_everything():
    """D10: away for an hour; its lane sends one at a time until one arrives."""

    class Away(Destination):
        async def _one(self, key, payload):
            if now() < 3600:
                self.calls.append((now(), key, payload["n"]))
                raise WorldError("away")
            await super()._one(key, payload)

    there = Away()
    assert play([(f"a/{number}", number, 0.0) for number in range(50)], there, seconds=3 * 3600).entries == {}
    assert len(there.landed) == 50
    first = [at for at, _, _ in there.calls if at < 3600]
    assert len(first) < 250, "a dead destination is asked about every half minute, whatever is owed to it"


def test_what_can_never_work_is_a_dead_letter_at_once():
    there = Destination([(0.0, False, Undeliverable("no commit abc there; push it, then resend"), 0.0)])
    (letter,) = play([("a/1", 1, 0.0)], there).entries.values()
    assert (letter.dead, letter.error, len(there.calls)) == (True, "no commit abc there; push it, then resend", 1)


def test_a_dead_letter_is_sent_when_somebody_resends_it():
    there = Destination([(0.0, False, Undeliverable(), 0.0)])

    async def later(ledger):
        await anyio.sleep(100)
        (letter,) = ledger.dead()
        ledger.resend(letter.id)

    assert play([("a/1", 1, 0.0)], there, later=later).entries == {}
    assert there.landed == {"a/1": [1]}


@pytest.mark.parametrize(("told", "waits"), [(90.0, 90.0), (1e9, LONGEST_WAIT), (-5.0, 1.0)])
def test_the_whole_lane_waits_as_long_as_it_is_told(told, waits):
    """D10: Retry-After is honoured, counts as no try, and holds up no other lane."""
    there = Destination([(0.0, False, ToldToWait("slow down", retry_after=told), 0.0)])

    async def later(ledger):
        await anyio.sleep(1)
        for key in ("a/2", "b/1"):
            ledger.owe("status", key, {"n": 2})

    assert play([("a/1", 1, 0.0)], there, seconds=2 * 3600, later=later).entries == {}
    at = {key: round(at) for at, key, _ in there.calls}
    assert at == {"a/1": round(waits), "a/2": max(round(waits), 1), "b/1": 1}


def test_being_told_to_wait_for_days_kills_nothing():
    there = Destination([(0.0, False, ToldToWait(retry_after=60.0), 0.0)] * 1000)
    (entry,) = play([("a/1", 1, 0.0)], there, seconds=500 * 60).entries.values()
    assert (entry.dead, entry.attempts) == (False, 0) and len(there.calls) > 400


def test_whoever_says_at_once_again_and_again_is_not_asked_all_the_time():
    there = Destination([(0.0, False, ToldToWait(retry_after=0.0), 0.0)] * 1000)
    play([("a/1", 1, 0.0)], there, seconds=3600)
    assert 100 < len(there.calls) < 150


def test_one_entry_that_is_always_refused_delays_no_other_of_its_lane():
    """D8: a poisoned entry fails alone, whatever its publisher raises."""

    class Picky(Destination):
        async def _one(self, key, payload):
            if payload["n"] == 1:
                self.calls.append((now(), key, 1))
                raise KeyError("request_id")
            await super()._one(key, payload)

    there = Picky()
    ledger = play([("a/1", 1, 0.0), *[(f"a/{number}", number, 0.0) for number in range(2, 20)]], there, seconds=60)
    assert [entry.error for entry in ledger.entries.values()] == ["KeyError: 'request_id'"]
    assert len(there.landed) == 18 and max(at for at, _, n in there.calls if n > 1) < 5


def test_a_try_has_an_end():
    there = Destination([(TRY * 3, True, None, 0.0)])
    play([("a/1", 1, 0.0)], there, seconds=TRY * 4)
    assert there.landed == {"a/1": [1]} and TRY < there.calls[1][0] < TRY + 3


def test_what_nobody_publishes_any_more_is_forgotten():
    assert play([("a/1", 1, 0.0)], seconds=1).entries == {}


def test_an_entry_without_a_lane_fails_alone():
    """D8: a payload of another version, for one."""

    class Lost(Destination):
        def lane(self, entry):
            return {}[entry.key]

    there = Lost()
    play([("a/1", 1, 0.0)], there, seconds=1)
    assert there.landed == {"a/1": [1]}


def test_a_publisher_without_lanes_is_asked_for_one_thing_at_a_time():
    class Plain:
        kind = "status"

        def __init__(self):
            self.inner = Destination()

        async def publish(self, key, payload):
            await self.inner.publish(key, payload)

    there = Plain()
    play([(f"a/{number}", number, 0.0) for number in range(5)], there, seconds=5)
    assert len(there.inner.landed) == 5 and there.inner.most == 1
