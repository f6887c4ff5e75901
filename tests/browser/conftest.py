"""Users of the page: real browsers before real servers.

All tests of a worker process share one browser, and with it one event loop: each module is marked
so, and each asynchronous fixture names the loop, or it would wait for another one for ever.
"""

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    Dialog,
    Locator,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)

import chat
import proxy
from chat.core.paces import Paces as ServerPaces
from proxy.core.outlet import Paces as ProxyPaces
from tests.kit.ports import free_ports

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_ADVICE: Final = (
    "The page is tested in a Chromium, and none was found: install one "
    "(Debian: apt-get install chromium), or name it in the variable CHROMIUM."
)
PATIENCE_MS: Final = 60_000
_HOLD: Final = PATIENCE_MS / 1000
# Who is there is told at once, not after seconds; who types does so until a message is sent.
_CHAT_PACES: Final = ServerPaces(presence=0.1, typing=0.1, hold=_HOLD)
_PROXY_PACES: Final = ProxyPaces(server=0.1, followers=0.1, gone=0.1, late=0.1, hold=_HOLD)
_DESK: Final = (1280, 800)

_BECOME: Final = """name => {
  const storage = sessionStorage.getItem('chat.apart') ? sessionStorage : localStorage;
  storage.setItem('chat.identity', JSON.stringify({ id: name, name, told: true }));
}"""

# Console errors fail a test.
WATCH_POLICY: Final = """addEventListener('securitypolicyviolation', (event) => {
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI}`);
});"""


class Servers:
    """A chat server and a proxy that can be stopped and restarted on the same ports.

    Attributes:
        url: the address of the page.
        chat_config: settings of the chat server from its next start on.
        proxy_config: settings of the proxy from its next start on.
    """

    def __init__(self, database: str) -> None:
        self.url = ""
        first, second = free_ports(2)
        self.chat_config = chat.Config(host="127.0.0.1", port=first, database=database)
        self.proxy_config = proxy.Config(
            host="127.0.0.1", port=second, upstream=f"127.0.0.1:{first}", drain_seconds=2.0
        )
        self._chat = AsyncExitStack()
        self._proxy = AsyncExitStack()

    async def start_chat(self) -> None:
        """Starts the chat server on its old port."""
        await self._chat.enter_async_context(chat.serve(self.chat_config, _CHAT_PACES))

    async def stop_chat(self) -> None:
        await self._chat.aclose()

    async def start_proxy(self) -> None:
        """Starts the proxy on its old port."""
        running = await self._proxy.enter_async_context(
            proxy.serve(self.proxy_config, _PROXY_PACES)
        )
        self.url = running.url

    async def stop_proxy(self) -> None:
        await self._proxy.aclose()

    async def post(
        self, room: str, sender: str, texts: Iterable[str], *, url: str | None = None
    ) -> None:
        """Sends messages by script, and waits until they are stored.

        Args:
            room: the room.
            sender: the sender's user id.
            texts: the messages.
            url: address of another proxy.
        """
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url or self.url) as socket,
        ):
            for text in texts:
                message = {"id": uuid.uuid4().hex, "room_id": room, "sender_id": sender}
                await socket.send_json({"chat_message": message | {"content": text}})
                # Sending joins the room: messages of others may come first.
                while (await socket.receive_json())["chat_message"]["id"] != message["id"]:
                    pass


class Visitor:
    """One user of the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.name = page.get_by_test_id("name-input")
        self.room = page.get_by_test_id("room-input")
        self.input = page.get_by_test_id("message-input")
        self.banner = page.get_by_test_id("banner")
        self.log = page.get_by_test_id("log")
        self.messages = page.get_by_test_id("message")
        self.texts = page.get_by_test_id("message-text")

    async def enter(self, name: str, room: str, *, guest: bool = False) -> None:
        """Fills in the first dialog, and waits for the room.

        Args:
            name: the name to be shown.
            room: the room.
            guest: whether the page makes up the user's id; otherwise it is the name, so that
                others can be told of the user, as one is who knew the page before it gave ids.
        """
        if not guest:
            await self.page.evaluate(_BECOME, name)
        await self.name.fill(name)
        await self.room.fill(room)
        await self.page.get_by_test_id("enter-button").click()
        await self.is_in(room)

    async def is_in(self, room: str) -> None:
        """Waits until a room is open and loaded."""
        await expect(self.page.get_by_test_id("room-title")).to_have_text(room)
        await expect(self.page.get_by_text("Loading messages…")).to_be_hidden()

    async def leave(self) -> None:
        """Leaves the room by its menu."""
        await self.page.get_by_test_id("room-menu-button").click()
        await self.page.get_by_test_id("leave-button").click()

    async def say(self, text: str) -> None:
        """Writes a message and sends it."""
        await self.input.fill(text)
        await self.page.get_by_test_id("send-button").click()

    async def say_at_once(self, texts: Iterable[str]) -> None:
        """Sends messages faster than a person types."""
        await self.input.evaluate(
            """(input, texts) => {
                for (const text of texts) {
                    input.value = text;
                    input.dispatchEvent(new Event("input"));
                    input.form.requestSubmit();
                }
            }""",
            list(texts),
        )

    def message(self, text: str) -> Locator:
        """The message with this text."""
        return self.messages.filter(has=self.page.get_by_text(text, exact=True))

    def room_item(self, room: str) -> Locator:
        """A room in the side bar."""
        return self.page.locator(f'[data-testid="room-item"][data-room="{room}"]')

    async def sees(self, *texts: str) -> None:
        """Waits until exactly these messages are shown, all of them stored, in order."""
        await expect(self.texts).to_have_text(list(texts))
        for message in await self.messages.all():
            await expect(message).to_have_attribute("data-state", "sent")


Visit = Callable[..., Awaitable[Visitor]]


@pytest.fixture(autouse=True)
def _patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; if missing, fails in CI and skips elsewhere."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(_ADVICE)
    pytest.skip(_ADVICE)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A headless browser: one for all tests, since it takes a second to start."""
    async with async_playwright() as playwright:
        # Root, as in a container, cannot have Chromium's sandbox.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=sandbox, timeout=PATIENCE_MS
        )
        yield browser
        await browser.close()


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The database of `servers`; a test may choose another."""
    return str(tmp_path / "chat.db")


@pytest_asyncio.fixture(loop_scope="session")
async def servers(database: str) -> AsyncIterator[Servers]:
    """A chat server and a proxy, both running."""
    servers = Servers(database)
    await servers.start_chat()
    await servers.start_proxy()
    yield servers
    await servers.stop_proxy()
    await servers.stop_chat()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, servers: Servers) -> AsyncIterator[Visit]:
    """Opens the page for one more user.

    Any error of the page, breach of its Content-Security-Policy, or browser dialog fails
    the test.
    """
    problems: list[str] = []
    contexts = AsyncExitStack()

    async def on_dialog(dialog: Dialog) -> None:
        # The browser's own question before unsent words are lost: a test answers it or goes on.
        if dialog.type == "beforeunload":
            await dialog.accept()
        else:
            problems.append(f"dialog: {dialog.message}")

    async def visit(address: str = "", *, size: tuple[int, int] = _DESK, **options: Any) -> Visitor:
        viewport = ViewportSize(width=size[0], height=size[1])
        # One test is about the service worker; the others need not start one for each page.
        options.setdefault("service_workers", "block")
        options.setdefault("locale", "en-GB")
        context = await contexts.enter_async_context(
            await browser.new_context(viewport=viewport, **options)
        )
        # Of the tabs that a test opens beside, too.
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        await page.add_init_script(WATCH_POLICY)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", on_dialog)
        page.on("console", lambda message: problems.extend(_complaint(message.type, message.text)))
        await page.goto(urljoin(servers.url, address))
        return Visitor(page)

    async with contexts:
        yield visit
    assert problems == []


def _complaint(kind: str, text: str) -> list[str]:
    # The browser itself reports each try to connect that fails.
    expected = "WebSocket connection to" in text
    return [] if kind != "error" or expected else [f"console: {text}"]
