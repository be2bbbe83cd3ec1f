"""The five shapes: what they return, and what is left when a part fails or all are cancelled."""

import anyio
import pytest

from formicary.executors.shapes import fork_join, poll_until, race, watch_while, with_deadline


class Part:
    """A piece of work that tells whether it began and how it ended."""

    def __init__(self, *, result=None, error=None, forever=False):
        self.result, self.error, self.forever = result, error, forever
        self.began = anyio.Event()
        self.end = ""

    async def __call__(self):
        self.began.set()
        try:
            if self.forever:
                await anyio.sleep_forever()
            await anyio.lowlevel.checkpoint()
            if self.error:
                raise self.error
            self.end = "done"
            return self.result
        except anyio.get_cancelled_exc_class():
            self.end = "cancelled"
            raise


async def cancel_once_begun(shape, *parts):
    """Run `shape`, cancel it when all parts have begun."""
    async with anyio.create_task_group() as group:
        group.start_soon(shape)
        for part in parts:
            await part.began.wait()
        group.cancel_scope.cancel()


async def test_with_deadline_returns_what_came_in_time():
    assert await with_deadline(10, Part(result=1), "counting") == 1


async def test_with_deadline_names_what_took_too_long():
    part = Part(forever=True)
    with pytest.raises(TimeoutError, match=r"counting took longer than 0\.01 s"):
        await with_deadline(0.01, part, "counting")
    assert part.end == "cancelled"


async def test_with_deadline_passes_errors_and_cancellation():
    with pytest.raises(KeyError):
        await with_deadline(10, Part(error=KeyError()), "counting")
    part = Part(forever=True)
    await cancel_once_begun(lambda: with_deadline(10, part, "counting"), part)
    assert part.end == "cancelled"


async def test_race_returns_the_first_and_cancels_the_others():
    slow = Part(forever=True)
    assert await race(slow, Part(result=2)) == 2
    assert slow.end == "cancelled"


async def test_race_raises_what_the_first_raised():
    slow = Part(forever=True)
    with pytest.raises(KeyError):
        await race(slow, Part(error=KeyError()))
    assert slow.end == "cancelled"


async def test_race_under_cancel_ends_all():
    parts = [Part(forever=True), Part(forever=True)]
    await cancel_once_begun(lambda: race(*parts), *parts)
    assert [part.end for part in parts] == ["cancelled"] * 2


async def test_poll_until_asks_again_with_growing_waits(monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr("formicary.executors.shapes.anyio.sleep", sleep)
    answers = iter([None, None, None, None, 0])

    async def check():
        return next(answers)

    assert await poll_until(check, 1, factor=2, at_most=3) == 0
    assert waits == [1, 2, 3, 3]


async def test_poll_until_passes_errors():
    with pytest.raises(KeyError):
        await poll_until(Part(error=KeyError()), 1)


async def test_poll_until_under_cancel_stops_asking():
    asked = Part()
    times = []

    async def check():
        times.append(1)
        asked.began.set()

    with anyio.fail_after(10):
        await cancel_once_begun(lambda: poll_until(check, 600), asked)
    assert times == [1]


async def test_watch_while_ends_the_watch():
    watch = Part(forever=True)
    assert await watch_while(watch, Part(result=3)) == 3
    assert watch.end == "cancelled" or not watch.began.is_set()


async def test_watch_while_goes_on_when_the_watch_has_ended():
    watch = Part()

    async def run():
        await watch.began.wait()
        while not watch.end:
            await anyio.lowlevel.checkpoint()
        return watch.end

    assert await watch_while(watch, run) == "done"


async def test_watch_while_fails_with_its_watch():
    run = Part(forever=True)
    with pytest.raises(KeyError):
        await watch_while(Part(error=KeyError()), run)
    assert run.end == "cancelled"


async def test_watch_while_fails_with_what_it_runs():
    watch = Part(forever=True)

    async def run():
        await watch.began.wait()
        raise KeyError

    with pytest.raises(KeyError):
        await watch_while(watch, run)
    assert watch.end == "cancelled"


async def test_watch_while_under_cancel_ends_both():
    parts = [Part(forever=True), Part(forever=True)]
    await cancel_once_begun(lambda: watch_while(*parts), *parts)
    assert [part.end for part in parts] == ["cancelled"] * 2


async def test_fork_join_keeps_the_order():
    late = anyio.Event()

    async def first():
        await late.wait()
        return 1

    async def second():
        late.set()
        return 2

    assert await fork_join([first, second]) == [1, 2]
    assert await fork_join([]) == []


async def test_fork_join_cancels_the_others_when_one_fails():
    slow = Part(forever=True)
    with pytest.raises(KeyError):
        await fork_join([slow, Part(error=KeyError())])
    assert slow.end == "cancelled"


async def test_fork_join_raises_all_errors_that_came_together():
    with pytest.raises(ExceptionGroup) as caught:
        await fork_join([Part(error=KeyError()), Part(error=ValueError())])
    assert {type(error) for error in caught.value.exceptions} == {KeyError, ValueError}


async def test_fork_join_under_cancel_ends_all():
    parts = [Part(forever=True), Part(forever=True)]
    await cancel_once_begun(lambda: fork_join(parts), *parts)
    assert [part.end for part in parts] == ["cancelled"] * 2
