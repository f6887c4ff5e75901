"""Pages of other origins, and limits of the page itself, in a real browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, expect

import proxy
from tests.browser.conftest import PATIENCE_MS, WATCH_POLICY

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

_EXAMPLES: Final = Path(__file__).parents[2] / "examples"

# Tries to speak as the browser's user; returns whether it was let in.
_HIJACK: Final = """([url, protocols]) => new Promise((resolve) => {
  const socket = new WebSocket(url, protocols);
  socket.onopen = () => socket.send(JSON.stringify({
    chat_message: { room_id: 'lobby', sender_id: 'ada', content: 'hijacked' },
  }));
  socket.onmessage = () => resolve('in');
  socket.onclose = ({ code }) => resolve(`out ${code}`);
})"""

# Each breaks the policy in a way of its own, and returns whether it worked.
_BREACHES: Final = {
    "an inline script": """() => {
      const script = document.createElement('script');
      script.append('window.broken = true');
      document.body.append(script);
      return window.broken === true;
    }""",
    "markup out of a string": """() => {
      document.body.innerHTML = '<b>broken</b>';
      return true;
    }""",
    "a script from elsewhere": """(elsewhere) => new Promise((resolve) => {
      const script = document.createElement('script');
      script.onload = () => resolve(true);
      script.onerror = () => resolve(false);
      script.src = elsewhere;
      document.body.append(script);
    })""",
    "an inline style": """() => {
      const style = document.createElement('style');
      style.append('body { outline: 7px solid red }');
      document.head.append(style);
      return getComputedStyle(document.body).outlineWidth === '7px';
    }""",
    "a request to elsewhere": """async (elsewhere) => {
      await fetch(elsewhere, { mode: 'no-cors' });
      return true;
    }""",
    "a picture from elsewhere": """(elsewhere) => new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve(true);
      image.onerror = () => resolve(false);
      image.src = elsewhere;
    })""",
    "a socket to elsewhere": """(elsewhere) => new Promise((resolve) => {
      const socket = new WebSocket(elsewhere.replace('http', 'ws'));
      socket.onopen = () => resolve(true);
      socket.onerror = () => resolve(false);
    })""",
}


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of a fresh browser context."""
    context = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere() -> AsyncIterator[TestServer]:
    """Another web server, on another port of the same machine."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            text="<!doctype html><title>elsewhere</title>", content_type="text/html"
        )

    app = web.Application()
    app.router.add_get("/", answer)
    server = TestServer(app)
    async with server:
        yield server


def ws(url: str) -> str:
    return url.replace("http", "ws", 1)


async def attempt(page: Page, url: str, protocols: list[str]) -> str:
    told: str = await page.evaluate(_HIJACK, [ws(url), protocols])
    return told


@pytest.mark.parametrize("protocols", [[], ["chat"]], ids=["plain", "with the subprotocol"])
class TestHijacking:
    """A foreign page cannot use the chat of its visitors."""

    async def test_page_of_other_port_is_refused(
        self, page: Page, servers: Servers, elsewhere: TestServer, protocols: list[str]
    ) -> None:
        await page.goto(str(elsewhere.make_url("/")))
        assert await attempt(page, servers.url, protocols) == "out 1006"

    async def test_page_of_other_name_is_refused(
        self, browser: Browser, servers: Servers, protocols: list[str]
    ) -> None:
        # The same server, and even the same page, without the policy that forbids it this.
        await servers.stop_proxy()
        servers.proxy_config = replace(servers.proxy_config, host="localhost")
        await servers.start_proxy()
        async with await browser.new_context(bypass_csp=True) as context:
            context.set_default_timeout(PATIENCE_MS)
            page = await context.new_page()
            await page.goto(servers.url)
            assert await attempt(page, servers.url, protocols) == "in"
            other = servers.url.replace("localhost", "127.0.0.1")
            assert await attempt(page, other, protocols) == "out 1006"

    async def test_sandboxed_page_is_refused(
        self, page: Page, servers: Servers, elsewhere: TestServer, protocols: list[str]
    ) -> None:
        await page.goto(str(elsewhere.make_url("/")))
        await page.evaluate(
            """() => new Promise((resolve) => {
              const frame = document.createElement('iframe');
              frame.sandbox = 'allow-scripts';
              frame.srcdoc = '<title>inside</title>';
              frame.onload = resolve;
              document.body.append(frame);
            })"""
        )
        frame = page.frames[1]
        assert await frame.evaluate("origin") == "null"
        told = await frame.evaluate(_HIJACK, [ws(servers.url), protocols])
        assert told == "out 1006"

    async def test_listed_page_connects(
        self, page: Page, servers: Servers, elsewhere: TestServer, protocols: list[str]
    ) -> None:
        origin = str(elsewhere.make_url("")).rstrip("/")
        await servers.stop_proxy()
        servers.proxy_config = replace(
            servers.proxy_config, admission=proxy.AdmissionRules(origins=(origin,))
        )
        await servers.start_proxy()
        await page.goto(f"{origin}/")
        assert await attempt(page, servers.url, protocols) == "in"


class TestTheExamplePage:
    """examples/page.html, as tried by the author of a page."""

    @pytest_asyncio.fixture(loop_scope="session")
    async def addresses(self) -> AsyncIterator[dict[str, str]]:
        """Addresses of the example page, by the origin that a browser derives."""
        app = web.Application()
        app.router.add_static("/", _EXAMPLES)
        async with TestServer(app) as server:
            origin = str(server.make_url("")).rstrip("/")
            yield {"null": (_EXAMPLES / "page.html").as_uri(), origin: f"{origin}/page.html"}

    @pytest.mark.parametrize("nth", [0, 1], ids=["a file", "another port"])
    async def test_example_page_needs_listed_origin(
        self, page: Page, servers: Servers, addresses: dict[str, str], visit: Visit, nth: int
    ) -> None:
        origin, address = list(addresses.items())[nth]
        address += f"?server={ws(servers.url)}"
        await page.goto(address)
        await expect(page.locator("#state")).to_contain_text("with this origin allowed?")

        await servers.stop_proxy()
        allowed = proxy.AdmissionRules(origins=("self", origin))
        servers.proxy_config = replace(servers.proxy_config, admission=allowed)
        await servers.start_proxy()
        await page.goto(address)
        await expect(page.locator("#state")).to_contain_text("in lobby.")
        await page.locator("#text").fill("<b>hello</b>")
        await page.keyboard.press("Enter")
        await expect(page.locator("li")).to_have_text(re.compile(r"guest-\d+: <b>hello</b>"))

        ada = await visit()
        await ada.enter("ada", "lobby")
        await ada.say("hello, page")
        await expect(page.locator("li").last).to_have_text("ada: hello, page")


@pytest.mark.parametrize("breach", _BREACHES)
async def test_page_refuses_injected_code(
    page: Page, servers: Servers, elsewhere: TestServer, breach: str
) -> None:
    await page.add_init_script(WATCH_POLICY)
    await page.goto(servers.url)
    breaking = f"await ({_BREACHES[breach]})(to)"
    script = f"async (to) => {{ try {{ return {breaking} }} catch {{ return false }} }}"
    async with page.expect_console_message(lambda said: said.text.startswith("policy:")):
        assert await page.evaluate(script, str(elsewhere.make_url("/"))) is False


async def test_page_cannot_be_framed(page: Page, servers: Servers, elsewhere: TestServer) -> None:
    await page.goto(str(elsewhere.make_url("/")))
    await page.evaluate(
        """(url) => new Promise((resolve) => {
          const frame = document.createElement('iframe');
          frame.onload = resolve;
          frame.src = url;
          document.body.append(frame);
        })""",
        servers.url,
    )
    # What became of a frame may be told after what a script of the page returned.
    await page.frames[1].wait_for_url("chrome-error:**", wait_until="commit")


async def test_page_sets_no_cookie(
    visit: Visit,
) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await ada.say("x" * 2000 + " https://example.org")
    await expect(ada.messages).to_have_attribute("data-state", "sent")
    await ada.page.get_by_role("button", name="Show all").click()
    await ada.page.get_by_role("button", name="Show less").click()
    assert await ada.page.context.cookies() == []
