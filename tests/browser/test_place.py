"""The place where reading stopped: it is found again, and nothing unseen counts as read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
from playwright.async_api import expect

import chat
from tests.browser.conftest import Visitor

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

_SCROLL_TO_END: Final = """() => {
  const log = document.getElementById('log');
  log.scrollTop = log.scrollHeight;
  return log.querySelector('.message:last-of-type').dataset.seq === '393';
}"""
# One minute may end between the first message that is new and the last one.
_TIMES: Final = """list => list.map((one) => ['message-text', 'message-time'].map(
  (part) => one.querySelector(`[data-testid="${part}"]`).textContent,
))"""


@pytest.fixture
def database() -> str:
    return chat.IN_MEMORY


async def test_reading_goes_on_where_it_stopped(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "bob", [f"old {i}" for i in range(1, 31)])
    ada = await visit()
    await ada.enter("ada", "lobby")
    await expect(ada.messages).to_have_count(30)
    address = ada.page.url
    await ada.page.goto("about:blank")
    await servers.post("lobby", "bob", ["one", "two", "three"])
    await ada.page.goto(address)
    await expect(ada.message("three")).to_be_in_viewport()
    line = ada.page.get_by_test_id("new-mark")
    await expect(line).to_be_in_viewport()
    assert await line.evaluate("e => e.nextElementSibling.dataset.seq") == "31"
    await expect(ada.page).to_have_title("lobby · Chat")

    await ada.page.goto("about:blank")
    await servers.post("lobby", "bob", [f"new {i}" for i in range(1, 361)])
    await ada.page.goto(address)
    await _finds_its_way(ada)


async def _finds_its_way(ada: Visitor) -> None:
    pill, jump = ada.page.get_by_test_id("pill"), ada.page.get_by_test_id("pill-jump")
    await expect(ada.message("new 1")).to_be_in_viewport()
    await expect(ada.message("three")).to_be_in_viewport()
    await expect(ada.message("new 40")).not_to_be_in_viewport()
    await expect(jump).to_contain_text("new since")
    times = await _times(ada)

    await ada.page.get_by_test_id("jump-button").click()
    await expect(ada.message("new 360")).to_be_in_viewport()
    # What was skipped is not read: from here on it stays as it is.
    left = await _unread(ada)
    assert 330 < left < 360
    await expect(jump).to_have_text(f"{left} new since {times[f'new {361 - left}']}")
    await ada.input.press("Enter")
    await expect(ada.message(f"new {361 - left}")).to_be_in_viewport()
    await expect(ada.message("new 360")).to_have_count(0)
    assert await _unread(ada) < left

    await ada.page.wait_for_function(_SCROLL_TO_END)
    await expect(ada.message("new 360")).to_have_count(1)
    assert await ada.messages.count() <= 300
    await ada.input.press("Shift+Escape")
    await expect(pill).to_be_hidden()
    await expect(ada.page).to_have_title("lobby · Chat")
    await ada.page.get_by_test_id("toast-button").click()
    await expect(pill).to_be_visible()
    await expect(ada.page).to_have_title(re.compile(r"^\(\d+\) lobby · Chat$"))
    assert 0 < await _unread(ada) < left
    # A page that is closed has no way back: it holds.
    await ada.input.press("Shift+Escape")
    await ada.page.reload()
    await expect(ada.message("new 360")).to_be_in_viewport()
    await expect(ada.page).to_have_title("lobby · Chat")
    await expect(ada.page.get_by_test_id("new-mark")).to_have_count(0)


async def _unread(visitor: Visitor) -> int:
    title = await visitor.page.title()
    return int(title[1 : title.index(")")])


async def _times(visitor: Visitor) -> dict[str, str]:
    """When the messages that are loaded were sent, as they show it; by their texts."""
    return dict(await visitor.messages.evaluate_all(_TIMES))


async def test_window_without_focus_is_not_read(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await ada.page.evaluate("document.hasFocus = () => false")
    await ada.page.evaluate("dispatchEvent(new Event('blur'))")
    await servers.post("lobby", "bob", ["while ada looks elsewhere"])
    await expect(ada.message("while ada looks elsewhere")).to_be_in_viewport()
    await expect(ada.page).to_have_title("(1) lobby · Chat")
    await ada.page.evaluate("delete document.hasFocus")
    await ada.page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(ada.page).to_have_title("lobby · Chat")
    await expect(ada.page.get_by_test_id("new-mark")).to_be_visible()


async def test_devices_share_marks_and_mentions(visit: Visit, servers: Servers) -> None:
    desk, phone = await visit(), await visit(size=(390, 780))
    for device in (desk, phone):
        await device.enter("ada", "lobby")
        await device.page.evaluate("location.hash = '#ops'")
        await device.is_in("ops")
    async with aiohttp.ClientSession() as session, session.ws_connect(servers.url) as socket:
        for number, extra in enumerate(({"mentions": ["ada"]}, {"mentions": ["eve"]})):
            message = {"room_id": "lobby", "sender_id": "bob", "content": f"message {number}"}
            await socket.send_json({"chat_message": message | {"extra": extra}})
            await socket.receive_json()
    for device in (desk, phone):
        await expect(device.room_item("lobby").get_by_test_id("unread-count")).to_have_text("@1")
    await phone.page.reload()
    await phone.is_in("ops")
    await expect(phone.room_item("lobby").get_by_test_id("unread-count")).to_have_text("@1")
    await desk.room_item("lobby").click()
    await expect(desk.message("message 1")).to_be_in_viewport()
    for device in (desk, phone):
        await expect(device.room_item("lobby").get_by_test_id("unread-count")).to_be_hidden()
    # A device that was never in the room finds the place, too.
    await desk.page.close()
    await servers.post("lobby", "bob", ["news"])
    await expect(phone.page).to_have_title("(1) ops · Chat")
    other = await visit()
    await other.enter("ada", "lobby")
    line = other.page.get_by_test_id("new-mark")
    await expect(line).to_be_visible()
    assert await line.evaluate("e => e.nextElementSibling.dataset.seq") == "3"
    await expect(phone.page).to_have_title("ops · Chat")
