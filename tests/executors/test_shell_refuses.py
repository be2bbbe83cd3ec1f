"""What no process can be given is the definition's mistake, and costs no hand (D8, D12)."""

import pytest

from formicary.runner.core.errors import ERR_DEFINITION


@pytest.mark.parametrize(
    "prepared",
    [
        {"environment": {"A": "a\0b"}},
        {"environment": {"A": "\ud800"}},
        {"shell": ("s\0h",)},
        {"environment": {"A=": "b"}},
    ],
)
async def test_what_no_process_takes_is_refused_and_the_hand_lives(hands, shell, prepare, sink, prepared):
    (hand,) = hands._idle
    async with shell.open(prepare(**prepared)) as session:
        outcome = await session.run(["true"], sink)
    assert outcome.error_code == ERR_DEFINITION
    assert hands._idle == [hand] and hand.still_there()
