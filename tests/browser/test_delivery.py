"""How the page gets to its visitors: little of it, once, and without a connection, too."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page, expect

import proxy
from proxy.http.page import PageHandlers
from proxy.http.routes import PAGE
from proxy.page.source import STATIC, PageSource
from tests.browser.conftest import Servers, Visit, Visitor

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_REQUESTS = 6
MOST_BYTES = 60 * 1024


@dataclass
class Door:
    """A proxy that serves the page in a folder, counts what it serves, and can be away.

    Attributes:
        config: its settings.
        folder: the folder.
        answers: path, status and bytes of each answer but those of the chat.
    """

    config: proxy.Config
    folder: Path
    answers: list[tuple[str, int, int]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def open(self) -> None:
        app = proxy.create_app(self.config)
        app[PAGE] = PageHandlers(PageSource(self.folder))
        app.on_response_prepare.append(self._count)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.config.host, self.config.port).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _count(self, request: web.Request, response: web.StreamResponse) -> None:
        if response.status != HTTPStatus.SWITCHING_PROTOCOLS:
            size = 0 if response.status == HTTPStatus.NOT_MODIFIED else response.content_length or 0
            self.answers.append((request.path, response.status, size))

    def change(self, name: str, old: str, new: str) -> None:
        """Changes a file of the page."""
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))


@pytest_asyncio.fixture(loop_scope="session")
async def door(servers: Servers, tmp_path: Path) -> AsyncIterator[Door]:
    """Stands in the place of the proxy of `servers`."""
    await servers.stop_proxy()
    shutil.copytree(STATIC, tmp_path / "page")
    door = Door(servers.proxy_config, tmp_path / "page")
    await door.open()
    yield door
    await door.close()


async def test_page_comes_once_and_stays(visit: Visit, door: Door) -> None:
    """One visitor for all of it: to start a browser costs more than any of its steps."""
    ada = await visit(service_workers="allow")
    await ada.enter("ada", "lobby")
    await ada.say("before")
    await ada.sees("before")
    await _kept(ada.page)
    assert len(door.answers) <= MOST_REQUESTS, door.answers
    assert sum(size for _, _, size in door.answers) <= MOST_BYTES, door.answers

    door.answers.clear()
    await ada.page.reload()
    await ada.sees("before")
    # The browser itself looks for a new worker now and then.
    asked = [answer for answer in door.answers if answer[0] != "/static/sw.js"]
    assert [(path, status) for path, status, _ in asked] == [("/", 304)]

    # The words of another language than the browser's come by themselves.
    await ada.page.evaluate("localStorage.setItem('chat.language', 'fr')")
    await ada.page.reload()
    await expect(ada.page.get_by_test_id("join-button")).to_contain_text("Rejoindre")
    await ada.page.evaluate("localStorage.removeItem('chat.language')")

    await door.close()
    await ada.page.reload()
    await ada.is_in("lobby")
    await ada.sees("before")
    await expect(ada.banner).to_contain_text("Shown as of")

    door.change("index.html", 'class="app"', 'class="app renewed"')
    door.change("js/main.js", "start();\n", "start();\ndocument.body.dataset.renewed = 'yes';\n")
    await door.open()
    await ada.page.reload()
    await _is_renewed(ada)
    await _kept(ada.page)
    # What is kept goes together.
    await door.close()
    await ada.page.reload()
    await _is_renewed(ada)

    door.change("index.html", '<script type="module" src="static/js/main.js"></script>', "")
    await door.open()
    await ada.page.reload()
    # Where another page has taken its place, the worker goes.
    await ada.page.wait_for_function(
        "async () => !(await navigator.serviceWorker.getRegistration())"
        " && (await caches.keys()).length === 0"
    )


async def _is_renewed(visitor: Visitor) -> None:
    await expect(visitor.page.locator("body[data-renewed=yes] .app.renewed")).to_be_attached()


async def _kept(page: Page) -> None:
    """Waits until the worker has kept the document that is shown, and nothing else."""
    await page.wait_for_function(
        """async () => {
            await navigator.serviceWorker.ready;
            const kept = await (await caches.open('chat.page')).keys();
            const names = kept.map(({ url }) => url.replace(location.origin, ''));
            const script = document.querySelector('script').getAttribute('src');
            return names.includes('/') && names.includes('/' + script)
                && names.filter((name) => name.includes('/main-')).length === 1;
        }"""
    )
