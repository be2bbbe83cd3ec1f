"""The static site in a real browser: from disk, without network, on a phone, in both colours."""

import anyio
import anyio.to_thread
import pytest

from formicary.site.links import Paths

PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 800}


def look(executable, site, paths):
    """(page, scheme, width) → what is wrong with it."""
    from playwright.sync_api import sync_playwright

    wrong = {}
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        for scheme in ("light", "dark"):
            for size in (PHONE, DESK):
                context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
                page = context.new_page()
                said = []
                page.on("console", lambda message, said=said: said.append(message.text))
                page.on("pageerror", lambda error, said=said: said.append(str(error)))
                page.on(
                    "request",
                    lambda asked, said=said: (
                        said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None
                    ),
                )
                for path in paths:
                    page.goto((site / path).as_uri())
                    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    times = page.evaluate(
                        "[...document.querySelectorAll('time')].filter(t => /UTC/.test(t.textContent)).length"
                    )
                    if over > 0 or said or times:
                        wrong[path, scheme, size["width"]] = (over, list(said), times)
                        said.clear()
                context.close()
        toggle(browser, site, wrong)
        browser.close()
    return wrong


def toggle(browser, site, wrong):
    page = browser.new_context(viewport=DESK, color_scheme="light", offline=True).new_page()
    page.goto((site / "index.html").as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    page.click("#theme")
    dark = page.evaluate(colour)
    page.reload()
    if light == dark or page.evaluate(colour) != dark:
        wrong["toggle"] = (light, dark, page.evaluate(colour))


@pytest.mark.timeout(180)
async def test_pages_work_from_disk_in_both_colours_and_on_a_phone(nest, populated, chromium_path):
    made = await populated(nest)
    nest.writer.publish_all()
    failing = made["failing"].id
    paths = [
        Paths.overview(),
        Paths.repository("honeydew"),
        Paths.repository("queen-cell"),
        Paths.job("honeydew", "ci"),
        Paths.job("honeydew", "release"),
        Paths.request(failing),
        Paths.request(made["live"].id),
        Paths.log(f"{failing}-6"),
    ]
    assert await anyio.to_thread.run_sync(look, chromium_path, nest.site, paths) == {}
