"""The page while servers go away: nothing is lost, nothing comes twice."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import WebSocketRoute, expect

import chat
import proxy

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_page_survives_proxy_restart(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await ada.say("before")
    await ada.sees("before")

    await servers.stop_proxy()
    await expect(ada.banner).to_contain_text("Connection lost. Reconnecting…")
    await expect(ada.banner).to_contain_text("Shown as of ")
    await ada.say("during, one")
    await ada.say("during, two")
    await expect(ada.message("during, two")).to_have_attribute("data-state", "sending")
    async with proxy.serve(replace(servers.proxy_config, port=0)) as other:
        await servers.post("lobby", "bob", ["from elsewhere"], url=other.url)

    await servers.start_proxy()
    await ada.sees("before", "from elsewhere", "during, one", "during, two")
    await expect(ada.banner).to_be_hidden()
    await ada.page.reload()
    await ada.sees("before", "from elsewhere", "during, one", "during, two")


async def test_page_survives_server_restart(visit: Visit, servers: Servers) -> None:
    ada, bob = await visit(), await visit()
    await ada.enter("ada", "lobby")
    await bob.enter("bob", "lobby")
    await ada.say("before")
    await bob.sees("before")

    await servers.stop_chat()
    await ada.say("during, one")
    await ada.say("during, two")
    await expect(ada.message("during, one")).to_have_attribute("data-state", "sending")
    await expect(ada.banner).to_contain_text("What you send is kept.")

    await servers.start_chat()
    for visitor in (ada, bob):
        await visitor.sees("before", "during, one", "during, two")
    await expect(ada.banner).to_be_hidden()
    await bob.say("after")
    await ada.sees("before", "during, one", "during, two", "after")


async def test_unconfirmed_message_outlives_reload(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    asked: list[str] = []
    ada.page.on("dialog", lambda dialog: asked.append(dialog.type))
    await ada.say("sent")
    await ada.sees("sent")
    await ada.page.reload()
    await ada.sees("sent")
    assert asked == []
    await servers.stop_chat()
    await ada.say("kept")
    await expect(ada.message("kept")).to_have_attribute("data-state", "sending")
    await ada.page.reload()
    assert asked == ["beforeunload"]
    await expect(ada.message("kept")).to_have_attribute("data-state", "sending")
    await servers.start_chat()
    await ada.sees("sent", "kept")


async def test_changes_outlive_an_outage_and_a_reload(visit: Visit, servers: Servers) -> None:
    ada, ben = await visit(), await visit()
    await ada.enter("ada", "lobby")
    await ben.enter("ben", "lobby")
    await ada.say("before")
    for visitor in (ada, ben):
        await visitor.sees("before")
    await servers.stop_chat()
    await ada.input.press("ArrowUp")
    await ada.say("after")
    await ada.messages.first.hover()
    await ada.page.get_by_test_id("bar-react").click()
    await ada.page.locator("#picker-grid").get_by_text("🎉").click()
    await expect(ada.messages.first).to_have_attribute("data-progress", "saving")
    await expect(ada.texts).to_have_text(["after"])
    await ada.page.reload()
    await servers.start_chat()
    for visitor in (ada, ben):
        await visitor.sees("after")
        await expect(visitor.messages.first.get_by_test_id("chip")).to_be_visible()
        await expect(visitor.messages.first).to_have_attribute("data-progress", "")


async def test_offline_browser_is_shown(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await servers.stop_proxy()
    await ada.page.context.set_offline(offline=True)
    await expect(ada.banner).to_contain_text("You are offline.")
    await servers.start_proxy()
    await ada.page.context.set_offline(offline=False)
    await expect(ada.banner).to_be_hidden()
    await ada.say("back")
    await ada.sees("back")


async def test_page_waits_after_final_close(visit: Visit) -> None:
    ada = await visit()
    sockets: list[WebSocketRoute] = []

    def intercept(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    await ada.page.route_web_socket(re.compile("^ws:"), intercept)
    await ada.page.reload()
    await ada.enter("ada", "lobby")
    await sockets[0].close(code=4600, reason="go away")
    await expect(ada.banner).to_contain_text("The server ended this connection: go away.")
    await ada.say("later")
    await ada.banner.get_by_role("button", name="Connect again").click()
    await ada.sees("later")
    await expect(ada.banner).to_be_hidden()
    assert len(sockets) == 2


class TestLostHistory:
    """A server that lost its history: the page shows the new one only."""

    @pytest.fixture
    def database(self) -> str:
        """A history that ends with the server."""
        return chat.IN_MEMORY

    async def test_lost_history_is_removed(self, visit: Visit, servers: Servers) -> None:
        ada = await visit()
        await ada.enter("ada", "lobby")
        await ada.say("soon forgotten")
        await ada.sees("soon forgotten")
        await servers.stop_chat()
        await servers.start_chat()
        await expect(ada.messages).to_have_count(0)
        await ada.say("a new beginning")
        await ada.sees("a new beginning")
        await expect(ada.messages.first).to_have_attribute("data-seq", "1")
