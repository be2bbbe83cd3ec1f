"""The live pages in a real browser: they follow what happens, and the content policy holds."""

import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import uvicorn

from formicary.runner.core import logframes
from formicary.runner.core.states import State
from formicary.runner.queen.changes import Change
from formicary.webhook.app import build_app
from formicary.webhook.pages.routes import page_routes
from formicary.webhook.parts import Settings


@pytest.fixture
def chromium_path():
    for path in (os.environ.get("FORMICARY_CHROMIUM", ""), "/usr/bin/chromium", "/usr/bin/chromium-browser"):
        if path and Path(path).exists():
            return path
    if "chromium" in os.environ.get("FORMICARY_REQUIRE", ""):
        pytest.fail("FORMICARY_REQUIRE names chromium, but it is not installed")
    pytest.skip("chromium is not installed (apt install chromium), so nothing was looked at in a browser")


class Quiet(uvicorn.Server):
    """Without signal handlers, and able to say that it has started."""

    def __init__(self, config):
        super().__init__(config)
        self.up = anyio.Event()

    def install_signal_handlers(self):
        pass

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def served(door):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        door.settings = Settings(url=f"http://127.0.0.1:{port}", host="127.0.0.1", port=port)
        door.pages = page_routes(door)
        config = uvicorn.Config(
            build_app(door), log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=2
        )
        server = Quiet(config)
        async with anyio.create_task_group() as group:
            group.start_soon(server._serve, [listener])
            await server.up.wait()
            yield
            door.close()
            server.should_exit = True


@asynccontextmanager
async def browsing(executable):
    from playwright.async_api import async_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=arguments)
        context = await browser.new_context(viewport={"width": 1200, "height": 800})
        page = await context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        yield page
        await browser.close()


def advanced(execution, state):
    build = execution.tasks["build"]
    attempt = build.last.model_copy(
        update={
            "state": state,
            "started_at": execution.started_at,
            "ended_at": execution.started_at + 3,
            "exit_code": 0,
        }
    )
    tasks = dict(execution.tasks) | {"build": build.model_copy(update={"state": state, "attempts": (attempt,)})}
    return execution.model_copy(update={"state": state, "tasks": tasks, "ended_at": execution.started_at + 3})


@pytest.mark.timeout(120)
async def test_pages_follow_what_happens(door, store, queen, make_request, make_execution, chromium_path):
    request = await make_request()
    execution = await make_execution(request, State.EXECUTING)
    one = f"{execution.id}-1"

    def write(text):
        queen.logs.append(one, queen.logs.size(one), logframes.frame(execution.started_at + 1, "out", text.encode()))
        queen.changes.publish(Change("log", request_id=request.id, task_execution_id=one))

    async with served(door), browsing(chromium_path) as page:
        await page.goto(door.login_link())
        await page.wait_for_selector("#pulse.on")
        assert await page.title() == "Overview · Formicary"
        fresh = await make_request(params={"GitCommitMessage": "Arrived <i>live</i>"})
        queen.changes.publish(Change("request", request_id=fresh.id))
        await page.wait_for_selector("text=Arrived <i>live</i>")

        write("first\n::group::a group\ninside\n")
        await page.goto(f"{door.settings.url}/tasks/{one}/log")
        await page.wait_for_selector("#pulse.on")
        write("also inside\n::endgroup::\n\x1b[31mred\x1b[0m <b>text</b>\n::group::later\nwithin\n")
        await page.wait_for_selector("text=within")
        assert await page.locator(".grp").count() == 2
        assert await page.locator(".grp").first.locator(".l").all_inner_texts() == [
            "3\n0:00.0\ninside",
            "4\n0:00.0\nalso inside",
        ]
        assert await page.locator("#log > .l").last.inner_text() == "6\n0:00.0\nred <b>text</b>"
        assert await page.inner_text("#count") == "8"

        other = await page.context.new_page()
        await other.goto(f"{door.settings.url}/requests/{request.id}")
        await other.wait_for_selector("#pulse.on")
        await other.locator("details.task summary").first.click()
        write("the end")
        await store.write(lambda tx: tx.save_execution(advanced(execution, State.COMPLETED)))
        queen.changes.publish(Change("task", request_id=request.id, task_execution_id=one))
        await other.wait_for_selector(".st.big:has-text('Completed')")
        assert await other.locator("details.task").first.get_attribute("open") is not None
        await page.wait_for_selector(".st.big:has-text('Completed')")
        assert "the end" in await page.inner_text("#log")
        await page.goto(f"{door.settings.url}/requests/{request.id}")
        await page.click("text=Run again")
        await page.wait_for_url(f"**/requests/{request.id}")
        assert queen.calls[-1][:2] == ("restart", request.id)
        assert page.said == []
