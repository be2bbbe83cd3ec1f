"""An HTTP task at the ant: secrets filled and masked, the answer kept, outputs, on and off the operator's networks."""

import pytest

from formicary.runner.core.definition import Artifacts
from formicary.runner.core.errors import ERR_ADDRESS, ERR_TIMEOUT
from formicary.runner.core.names import secret_token

SECRET = "s3cret/with &"
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def an_http_order(an_order):
    def make(url, method="HTTP_GET", **more):
        return an_order(method, url=url, script=(), **more)

    return make


async def test_secrets_are_filled_at_the_ant_and_masked_in_the_log(colony, an_http_order, receive):
    """T8: in URL, query, headers and body; and what the server repeats is masked too."""
    receiver, token = receive(), secret_token("KEY")
    receiver.answers.append((200, {}, f"you said {SECRET}".encode()))
    order = an_http_order(
        receiver.url(path=f"/{secret_token('PATH_KEY')}"),
        "HTTP_POST_JSON",
        query={"key": token},
        headers={"Authorization": f"Bearer {token}"},
        body={"deep": [{"key": token}], "n": 1},
        order={"secrets": {"KEY": SECRET, "PATH_KEY": "hidden-path"}},
    )
    report = await colony.do(order, allow_networks=LOOPBACK)
    assert (report.kind, report.result.exit_code, report.result.error_code) == ("FINISHED", 200, "")
    assert report.result.completed
    (one,) = receiver.calls
    assert one.path == "/hidden-path?key=s3cret%2Fwith+%26" and one.headers["Authorization"] == f"Bearer {SECRET}"
    assert one.body == b'{"deep":[{"key":"s3cret/with &"}],"n":1}'
    log = bytes(colony.desk.logs[order.task_execution_id])
    assert b"s3cret" not in log and b"hidden-path" not in log
    assert b"/***?key=***" in log and b"you said ***" in log


async def test_the_answer_is_an_artifact_and_its_fields_are_outputs(colony, an_http_order, receive):
    receiver = receive()
    receiver.answers.append((201, {"content-type": "application/json"}, b'{"id": 7, "note": "a\\nb"}'))
    order = an_http_order(receiver.url(), artifacts=Artifacts(paths=("response",)))
    result = (await colony.do(order, allow_networks=LOOPBACK)).result
    assert result.outputs == {"id": "7", "note": "a\nb", "http_status": "201"} and result.warnings == ()
    (kept,) = result.artifacts
    assert (kept.name, kept.size) == ("response", 25)


async def test_an_answer_gives_no_workflow_commands(colony, an_http_order, receive):
    """What a server says is no script: it sets no outputs but the documented ones, and makes no warnings."""
    receiver = receive()
    receiver.answers.append((200, {}, b"::set-output name=PATH::evil\n::warning::evil\n"))
    result = (await colony.do(an_http_order(receiver.url()), allow_networks=LOOPBACK)).result
    assert result.outputs == {"http_status": "200"} and result.warnings == ()


async def test_an_ant_without_the_operators_word_calls_nobody_inside(colony, an_http_order, receive):
    """T14."""
    receiver = receive()
    result = (await colony.do(an_http_order(receiver.url()))).result
    assert result.error_code == ERR_ADDRESS and "`allow_networks`" in result.error_message
    assert result.exit_code is None and receiver.calls == []


async def test_the_timeout_is_the_task_s(colony, an_http_order, answers):
    async def silent(stream, head):
        await stream.receive()

    async with answers(silent) as server:
        result = (await colony.do(an_http_order(server.url(), timeout=0.2), allow_networks=LOOPBACK)).result
    assert result.error_code == ERR_TIMEOUT


async def test_a_cancel_ends_it(colony, an_http_order, answers):
    async def silent(stream, head):
        colony.ant._tasks[order.task_execution_id].stop()
        await stream.receive()

    async with answers(silent) as server:
        order = an_http_order(server.url())
        result = (await colony.do(order, allow_networks=LOOPBACK)).result
    assert result.error_code == "ERR_CANCELLED"
