"""The status page in a real browser, while people talk."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

import chat
import proxy
from tests.browser.conftest import PATIENCE_MS

if TYPE_CHECKING:
    from tests.browser.conftest import Servers

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

_PHONE: Final = {"width": 340, "height": 700}
# The browser itself reports requests to a server that has ended, or ended meanwhile.
_FAILED_REQUEST: Final = re.compile(r"net::ERR_(CONNECTION_(REFUSED|RESET|CLOSED)|EMPTY_RESPONSE)")
_HOSTILE: Final = "<img src=x onerror=alert(1)>"


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that may have no error and no breach of its policy."""
    problems: list[str] = []
    page = await browser.new_page(locale="en-GB")
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
    page.on("console", lambda said: problems.append(f"console: {said.text}"))
    yield page
    await page.close()
    assert [each for each in problems if not _FAILED_REQUEST.search(each)] == []


@pytest_asyncio.fixture(loop_scope="session")
async def watched(servers: Servers) -> tuple[chat.Config, proxy.Config]:
    """Settings of both servers with status pages, before the same history."""
    database = chat.IN_MEMORY
    return (
        replace(servers.chat_config, port=0, database=database, metrics_port=0),
        replace(servers.proxy_config, port=0, metrics_port=0),
    )


def chart(page: Page, title: str) -> Locator:
    """The drawing of one chart, by its accessible name."""
    return page.get_by_role("img", name=re.compile(f"^{re.escape(title)}: "))


async def test_proxy_status_page_is_live(
    page: Page, servers: Servers, watched: tuple[chat.Config, proxy.Config]
) -> None:
    chat_config, proxy_config = watched
    async with (
        chat.serve(chat_config) as server,
        proxy.serve(replace(proxy_config, upstream=server.address)) as running,
    ):
        await page.goto(running.status_url)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Proxy")
        await expect(page.get_by_role("status")).to_have_text("Live")
        await expect(page.get_by_text("No messages lately.")).to_be_visible()
        line = chart(page, "Messages").locator("path").first
        await expect(line).to_have_attribute("d", re.compile("M"))
        before = await line.get_attribute("d")
        await servers.post("lobby", "ada", ["one", "two"], url=running.url)
        await servers.post(_HOSTILE, "ada", ["three"], url=running.url)
        rooms = page.get_by_role("rowheader")
        await expect(rooms).to_have_text(["lobby", _HOSTILE])
        await expect(page.get_by_text("No messages lately.")).to_be_hidden()
        latency = chart(page, "Latency, frame to members")
        await expect(latency.locator("path").first).to_have_attribute("d", re.compile("M"))
        assert await line.get_attribute("d") != before


async def test_server_status_page_is_live(
    page: Page, servers: Servers, watched: tuple[chat.Config, proxy.Config]
) -> None:
    chat_config, proxy_config = watched
    async with (
        chat.serve(chat_config) as server,
        proxy.serve(replace(proxy_config, upstream=server.address)) as running,
    ):
        await page.goto(server.status_url)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Chat server")
        await servers.post("lobby", "ada", ["one"], url=running.url)
        await expect(page.get_by_role("rowheader")).to_have_text(["lobby"])
        for title in ("Connected", "Messages", "Latency, arrival to mailboxes", "Commit time"):
            await expect(chart(page, title)).to_be_visible()
        await expect(
            page.get_by_role("img", name=re.compile("^Connected: connections 1,"))
        ).to_be_visible()


async def test_status_page_shows_earlier_history(
    page: Page, watched: tuple[chat.Config, proxy.Config]
) -> None:
    async with chat.serve(watched[0]) as server:
        await page.goto(server.status_url)
        line = chart(page, "Connected").locator("path").first
        await expect(line).to_have_attribute("d", re.compile("L.*L"))
        await page.reload()
        await expect(line).to_have_attribute("d", re.compile("M"))
        # At once, as a line of three points: by itself the page has one to begin with.
        assert (await line.get_attribute("d") or "").count("L") >= 2


async def test_status_page_reports_lost_process(
    page: Page, watched: tuple[chat.Config, proxy.Config]
) -> None:
    async with chat.serve(watched[0]) as server:
        await page.goto(server.status_url)
        await expect(page.get_by_role("status")).to_have_text("Live")
    await expect(page.get_by_role("status")).to_contain_text("does not answer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_status_page_fits_a_phone(
    page: Page, watched: tuple[chat.Config, proxy.Config], scheme: str
) -> None:
    await page.set_viewport_size({"width": _PHONE["width"], "height": _PHONE["height"]})
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    async with chat.serve(watched[0]) as server:
        await page.goto(server.status_url)
        await expect(chart(page, "Connected")).to_be_visible()
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= _PHONE["width"]
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
        assert light == (scheme == "light")
