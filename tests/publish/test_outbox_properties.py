"""D10, whatever happens in whatever order: nothing older lands after newer, and the last state is what stays."""

import anyio
import pytest
from clocks import run_skipping
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import Destination, Ledger, now

from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.publish.outbox import TRY, Outbox

DELAYS = st.sampled_from([0.0, 0.1, 1.0, 5.0, TRY * 2])
ERRORS = st.sampled_from(
    [None, None, WorldError("away"), ValueError("bug"), Undeliverable("never"), ToldToWait(retry_after=7.0)]
)
BEHAVIOURS = st.tuples(DELAYS, st.booleans(), ERRORS, DELAYS).filter(lambda one: one[1] or one[2] is not None)
STATES = st.tuples(st.just("owe"), st.sampled_from(["a/1", "a/2", "b/1"]), st.sampled_from([0.0, 1.0]))
STEPS = st.one_of(STATES, STATES, st.tuples(st.just("wait"), DELAYS), st.just(("restart",)))


async def _play(steps, script):
    ledger, destination, stored = Ledger(), Destination(script), {}
    async with anyio.create_task_group() as group:
        scope = _start(group, ledger, destination)
        for number, step in enumerate(steps):
            if step[0] == "owe":
                stored[step[1]] = number
                ledger.owe("status", step[1], {"n": number}, due_at=now() + step[2])
            elif step[0] == "wait":
                await anyio.sleep(step[1])
            else:
                scope.cancel()
                await anyio.sleep(0.001)
                scope = _start(group, ledger, destination)
        await _until_told(ledger)
        group.cancel_scope.cancel()
    return destination.landed, stored


def _start(group, ledger, destination):
    """A new process finds what the last one left in the ledger."""
    outbox, scope = Outbox(ledger, [destination], now), anyio.CancelScope()
    ledger.wake = outbox.wake

    async def run():
        with scope:
            await outbox.run()

    group.start_soon(run)
    return scope


async def _until_told(ledger):
    """People resend dead letters until there are none, and nothing is owed."""
    with anyio.fail_after(10 * 86400):
        while ledger.entries:
            for letter in ledger.dead():
                ledger.resend(letter.id)
            await anyio.sleep(60)


def _check(steps, script):
    landed, stored = run_skipping(lambda: _play(steps, script))
    assert {key: sent[-1] for key, sent in landed.items()} == stored
    for sent in landed.values():
        assert sent == sorted(sent), "an older state landed after a newer one"


@given(st.lists(STEPS, max_size=25), st.lists(BEHAVIOURS, max_size=25))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_the_last_state_stays_and_nothing_older_comes_after_it(steps, script):
    _check(steps, script)


@pytest.mark.soak
@given(st.lists(STEPS, max_size=80), st.lists(BEHAVIOURS, max_size=80))
@settings(deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_for_longer(steps, script):
    _check(steps, script)
